"""Made-up pictures to move between, and ways to watch an engine work."""

import cv2
import numpy as np

from kf2v.engines import Scene
from kf2v.errors import Canceled
from kf2v.video import Frame

SIZE = (192, 320)


def texture(seed: int, shape: tuple[int, int] = SIZE) -> Frame:
    """Coloured fractal noise: something to recognise everywhere, at every scale."""
    dice = np.random.default_rng(seed)
    total = np.zeros((*shape, 3), np.float32)
    for cells in (4, 8, 16, 32, 64):
        layer = dice.standard_normal((cells, cells * 2, 3)).astype(np.float32)
        total += cv2.resize(layer, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC) / np.sqrt(cells)
    return np.clip(128 + 70 * total, 0, 255).astype(np.uint8)


def flat(level: int, shape: tuple[int, int] = SIZE) -> Frame:
    """One grey, nothing on it."""
    return np.full((*shape, 3), level, np.uint8)


def shifted(picture: Frame, x: int, y: int) -> Frame:
    """The same view through a camera that moved: what was at (0, 0) is at (x, y)."""
    return np.roll(picture, (y, x), (0, 1))


def cut(picture: Frame, left: int, top: int, shape: tuple[int, int] = SIZE) -> Frame:
    """A window of ``shape`` out of a larger picture."""
    return np.ascontiguousarray(picture[top : top + shape[0], left : left + shape[1]])


def scene(first: Frame, last: Frame, seed: int = 0) -> Scene:
    """Two frames without words."""
    return Scene(first=first, last=last, prompt="", negative_prompt="", seed=seed)


class Notebook:
    """A watch that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float]] = []

    def report(self, phase: str, done: float) -> None:
        self.told.append((phase, done))


class CallOff:
    """A watch that calls the work off when a phase has come far enough."""

    def __init__(self, phase: str, done: float) -> None:
        self._phase, self._done = phase, done

    def report(self, phase: str, done: float) -> None:
        if phase == self._phase and done >= self._done:
            raise Canceled

"""Made-up pictures to move between, and ways to watch an engine work."""

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from kf2v.engines import Scene
from kf2v.errors import Canceled
from kf2v.video import Frame

SIZE = (192, 320)

#: (3, 3), a projective motion in pixels
Plan: TypeAlias = npt.NDArray[np.floating]


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


def zoom_and_turn(zoom: float, degrees: float, x: float = 0.0, y: float = 0.0, shape: tuple[int, int] = SIZE) -> Plan:
    """(3, 3), pixels: nearer by ``zoom`` and turned about the middle of a picture of ``shape``, then moved."""
    across, up = zoom * np.cos(np.radians(degrees)), zoom * np.sin(np.radians(degrees))
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    plan = np.array([[across, -up, 0.0], [up, across, 0.0], [0.0, 0.0, 1.0]])
    plan[:2, 2] = middle - plan[:2, :2] @ middle + (x, y)
    return plan


def viewed(world: Frame, plan: Plan, shape: tuple[int, int] = SIZE) -> Frame:
    """The middle of a larger ``world`` after ``plan`` has moved it."""
    height, width = shape
    window = np.eye(3)
    window[:2, 2] = (width - world.shape[1]) / 2, (height - world.shape[0]) / 2
    return np.asarray(cv2.warpPerspective(world, plan @ window, (width, height), flags=cv2.INTER_CUBIC), np.uint8)


def with_disc(picture: Frame, x: float, y: float, radius: int = 24) -> Frame:
    """A red disc with a pattern of its own before ``picture``, at a place finer than a pixel."""
    height, width = picture.shape[:2]
    disc = texture(9, (2 * radius + 16, 2 * radius + 16)) // 2
    disc[..., 0] = 255
    shift = np.array([[1, 0, x - radius - 8], [0, 1, y - radius - 8]], np.float32)
    mask = np.zeros(disc.shape[:2], np.float32)
    cv2.circle(mask, (radius + 8, radius + 8), radius, 1.0, -1, cv2.LINE_AA)
    cover = np.asarray(cv2.warpAffine(mask, shift, (width, height)), np.float32)[..., None]
    front = np.asarray(cv2.warpAffine(disc, shift, (width, height)), np.float32)
    return np.asarray(picture * (1 - cover) + front * cover, np.uint8)


def luma(picture: Frame) -> Frame:
    """(h, w), Y'."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)[..., 0], np.uint8)


def chroma(picture: Frame) -> Frame:
    """(h/2, w/2, 2), Cr and Cb as coarse as a film keeps them."""
    height, width = picture.shape[:2]
    colours = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)[..., 1:]
    return np.asarray(cv2.resize(colours, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8)


def apart(one: Frame, other: Frame) -> float:
    """Mean difference of what a film keeps of two pictures, in levels."""
    sizes = [np.abs(part(one).astype(float) - part(other)) for part in (luma, chroma)]
    return float(sum(size.sum() for size in sizes) / sum(size.size for size in sizes))


def psnr(one: Frame, other: Frame) -> float:
    """In dB, 99 at the most."""
    return float(10 * np.log10(255**2 / max(1e-5, np.mean((one.astype(float) - other) ** 2))))


def scene(first: Frame, last: Frame, seed: int = 0) -> Scene:
    """Two frames without words."""
    return Scene(first=first, last=last, prompt="", negative_prompt="", seed=seed)


class Notebook:
    """A watch that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float]] = []
        self.notes: list[str] = []

    def report(self, phase: str, done: float) -> None:
        self.told.append((phase, done))

    def note(self, text: str) -> None:
        self.notes.append(text)


class CallOff:
    """A watch that calls the work off when a phase has come far enough."""

    def __init__(self, phase: str, done: float) -> None:
        self._phase, self._done = phase, done

    def report(self, phase: str, done: float) -> None:
        if phase == self._phase and done >= self._done:
            raise Canceled

    def note(self, text: str) -> None:
        del text

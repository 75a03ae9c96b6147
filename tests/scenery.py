"""Pictures and clips to film, drawn from numbers, and a way to count how many of their frames are still held."""

import weakref
from collections.abc import Iterable, Iterator

import numpy as np

from kf2v.video import Clip, Frame, Size


def landscape(size: Size, *, seed: int = 1, shift: float = 0.0) -> Frame:
    """Hills, a disc and fine texture; ``shift`` pixels further to the right the same scene goes on."""
    random = np.random.default_rng(seed)
    ys, xs = np.mgrid[: size.height, : size.width].astype(np.float32)
    xs = xs + np.float32(shift)
    unit = min(size.width, size.height)
    picture = np.empty((size.height, size.width, 3), np.float32)
    for channel in range(3):
        waves = random.uniform(2, 24, (6, 2)) / unit * (2 * np.pi)
        phases = random.uniform(0, 2 * np.pi, 6)
        layers = [np.sin(a * xs + b * ys + p) for (a, b), p in zip(waves, phases, strict=True)]
        picture[..., channel] = 128 + 14 * sum(layers)
    disc = (xs - size.width / 2) ** 2 + (ys - size.height / 2) ** 2 < (unit / 4) ** 2
    picture[disc] = 0.4 * picture[disc] + random.uniform(60, 200, 3)
    return np.clip(picture, 0, 255).astype(np.uint8)


def snow(size: Size, *, seed: int = 1, spread: float = 40.0) -> Frame:
    """Grey noise without any structure: the worst an encoder can meet."""
    random = np.random.default_rng(seed)
    return np.clip(random.normal(128, spread, (size.height, size.width, 3)), 0, 255).astype(np.uint8)


def plain(size: Size, colour: tuple[int, int, int]) -> Frame:
    """One colour all over."""
    return np.full((size.height, size.width, 3), colour, np.uint8)


def clip_of(frames: Iterable[Frame], *, size: Size, count: int, fps: float = 30.0) -> Clip:
    """A clip of whatever ``frames`` yields."""
    return Clip(size=size, fps=fps, count=count, frames=iter(frames))


class Held:
    """Counts frames that somebody still holds."""

    def __init__(self) -> None:
        self._held: set[int] = set()
        #: the most that were held at once
        self.most = 0

    def add(self, frame: Frame) -> None:
        """From now on ``frame`` counts, once, until nobody holds it."""
        if id(frame) not in self._held:
            self._held.add(id(frame))
            self.most = max(self.most, len(self._held))
            weakref.finalize(frame, self._held.discard, id(frame))

    def passing(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """``frames``, each counted from the moment it passes."""
        for frame in frames:
            self.add(frame)
            yield frame
            del frame

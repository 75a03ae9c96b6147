"""What a frame is, and a clip: frames that pass by once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

#: (height, width, 3) uint8, R'G'B' (sRGB), C-contiguous; whoever is given one leaves it as it is
Frame: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Pixels; both even, and multiples of 16 where a video is meant."""

    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Frames on their way. ``frames`` can be walked once and yields exactly ``count`` frames of ``size``."""

    size: Size
    #: frames per second
    fps: float
    count: int
    frames: Iterator[Frame]


def size_of(frame: Frame) -> Size:
    """Its width and height."""
    height, width = frame.shape[:2]
    return Size(width=width, height=height)


def reduced(frame: Frame, *, long_side: int) -> Frame:
    """``frame`` with sides of ``long_side`` at most and 16 at least, in its own ratio; areas are averaged."""
    import cv2

    height, width = frame.shape[:2]
    scale = min(1.0, long_side / max(height, width))
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def fit(frame: Frame, size: Size) -> Frame:
    """``frame`` scaled until it covers ``size``, then cropped around its centre; never stretched, never padded.

    The ratio is kept to within the rounding of one pixel. Shrinking averages areas, enlarging is Lanczos over 8x8
    pixels. A frame that has the size already comes back as it is.
    """
    given = size_of(frame)
    if given == size:
        return frame
    import cv2

    scale = max(size.width / given.width, size.height / given.height)
    width = max(size.width, round(given.width * scale))
    height = max(size.height, round(given.height * scale))
    kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_LANCZOS4
    scaled = cv2.resize(frame, (width, height), interpolation=kernel)
    left, top = (width - size.width) // 2, (height - size.height) // 2
    return np.ascontiguousarray(scaled[top : top + size.height, left : left + size.width], dtype=np.uint8)

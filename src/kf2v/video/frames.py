"""What a frame is, and a clip: frames that pass by once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

#: (height, width, 3) uint8, R'G'B' (sRGB), C-contiguous
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

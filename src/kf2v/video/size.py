"""How large a video becomes: the tier's area in the first frame's ratio, both sides floored to multiples of 16."""

from math import isqrt

from kf2v.video.frames import Size

#: the side of a macroblock; the vendor's example (750x1000 at 720P gives 816x1104) floors to it
STEP = 16


def output_size(width: int, height: int, area: int) -> Size:
    """The size of a video whose first frame is ``width`` x ``height`` pixels, at a tier of ``area`` pixels.

    Each side is √(area · ratio), floored to a multiple of 16 and never below 16. Floors survive nesting
    (⌊√⌊x⌋⌋ = ⌊√x⌋), so whole numbers give the exact answer. Raises ValueError unless all three are positive.
    """
    if min(width, height, area) <= 0:
        raise ValueError(f"width, height and area should be positive, not {width}, {height}, {area}")
    return Size(width=_side(area * width // height), height=_side(area * height // width))


def _side(squared: int) -> int:
    return max(STEP, isqrt(squared) // STEP * STEP)

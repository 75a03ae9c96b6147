"""A value for every pixel, and pictures read at places given by such values.

Places are (x, y) in pixels, centres at integers.
"""

from typing import Any, TypeAlias, cast

import cv2
import numpy as np
import numpy.typing as npt

#: (h, w) or (h, w, n); float32 at run time, which the type checker cannot follow through arithmetic
Field: TypeAlias = npt.NDArray[np.floating[Any]]


def grid(height: int, width: int) -> Field:
    """(h, w, 2): every pixel's own place."""
    return np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))


def sample(
    picture: npt.NDArray[Any], at: Field, *, border: int = cv2.BORDER_REPLICATE, kernel: int = cv2.INTER_LINEAR
) -> npt.NDArray[Any]:
    """``picture`` read at ``at`` (h, w, 2), by ``kernel`` between pixels; beyond its edge as ``border`` says."""
    whole = cast(Field, None)  # both coordinates come in one map, which OpenCV's annotations do not know
    return cv2.remap(picture, at.astype(np.float32, copy=False), whole, kernel, borderMode=border)


def resize(field: Field, shape: tuple[int, int]) -> Field:
    """``field`` stretched to ``shape`` (h, w), its values unchanged."""
    size = (shape[1], shape[0])
    return np.asarray(
        cv2.resize(field.astype(np.float32, copy=False), size, interpolation=cv2.INTER_LINEAR), np.float32
    )

"""A value for every pixel, and pictures read at places given by such values.

Places are (x, y) in pixels, centres at integers.
"""

from collections.abc import Sequence
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


def length(flow: Field) -> Field:
    """(h, w), of every vector of ``flow`` (h, w, 2)."""
    return np.hypot(flow[..., 0], flow[..., 1])


def scattered(at: Field, loads: Sequence[npt.NDArray[np.float64]]) -> Field:
    """(h, w, n): the sums of what comes down in each cell when pixel k, flat, lands at ``at`` (h, w, 2), rounded.

    ``loads`` are n flat arrays of what the pixels carry; what lands outside is gone.
    """
    height, width = at.shape[:2]
    x, y = np.rint(at[..., 0]), np.rint(at[..., 1])
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    outside = height * width
    cell = np.asarray(np.where(inside, y * width + x, outside), np.intp).ravel()
    sums = np.empty((height, width, len(loads)), np.float32)
    for layer, load in enumerate(loads):
        sums[..., layer] = np.bincount(cell, load, minlength=outside + 1)[:outside].reshape(height, width)
    return sums

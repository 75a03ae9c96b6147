"""The way of the whole picture: where a projective motion stands by a moment."""

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kf2v.video.motion.field import Field

#: (3, 3), maps homogeneous pixel coordinates of the first frame to the last
Homography: TypeAlias = npt.NDArray[np.floating[Any]]


class Geodesic:
    """A homography as a steady motion: ``at(s)`` is exp(s·log H), so that turning turns and zooming zooms evenly.

    Linear blending of matrix entries would shrink the picture halfway through a turn and rush the far end of a zoom.
    """

    def __init__(self, whole: Homography) -> None:
        """Raises ValueError where ``whole`` has no real logarithm (it mirrors, or turns by half a circle)."""
        determinant = float(np.linalg.det(whole))
        if not determinant > 0:
            raise ValueError("a mirroring motion has no path")
        unit = whole / np.cbrt(determinant)
        self._log = _logarithm(unit)
        if not np.allclose(_exponential(self._log), unit, rtol=1e-4, atol=1e-4):
            raise ValueError("this motion has no path")

    def at(self, position: float) -> Homography:
        """The part of the motion done at ``position`` 0 … 1 (other numbers extrapolate it)."""
        return _exponential(position * self._log)

    @property
    def rate(self) -> Homography:
        """The logarithm: what is done in each moment."""
        return self._log.copy()


def _logarithm(matrix: Homography) -> Homography:
    """Inverse scaling and squaring (Higham 2008, ch. 11): take roots until next to 1, then a short series."""
    roots = 12
    near = matrix
    for _ in range(roots):
        near = _square_root(near)
    rest = near - np.eye(3)
    return (rest - rest @ rest / 2 + rest @ rest @ rest / 3) * 2.0**roots


def _square_root(matrix: Homography) -> Homography:
    """Denman and Beavers' iteration; what does not converge is found out by the caller's check."""
    root, inverse = matrix, np.eye(3)
    for _ in range(30):
        try:
            root, inverse = (root + np.linalg.inv(inverse)) / 2, (inverse + np.linalg.inv(root)) / 2
        except np.linalg.LinAlgError:
            raise ValueError("this motion has no path") from None
        if np.allclose(root @ root, matrix, rtol=1e-13, atol=1e-13):
            break
    return root


def _exponential(matrix: Homography) -> Homography:
    """Scaling and squaring with a Taylor series of the small part."""
    halvings = max(0, math.ceil(math.log2(max(float(np.abs(matrix).sum()), 1e-9))) + 4)
    small = matrix / 2.0**halvings
    total, term = np.eye(3), np.eye(3)
    for order in range(1, 9):
        term = term @ small / order
        total = total + term
    for _ in range(halvings):
        total = total @ total
    return total


def in_units(motion: Homography, shape: tuple[int, int]) -> Homography:
    """What ``in_pixels`` makes ``motion``, a homography or a rate, of."""
    to_pixels = _pixels(shape)
    return np.linalg.inv(to_pixels) @ motion @ to_pixels


def in_pixels(motion: Homography, shape: tuple[int, int]) -> Homography:
    """``motion`` for pixel coordinates of a picture of ``shape`` (height, width), pixel centres at integers.

    It comes in units that fit every size: half of the long side, from the picture's centre.
    """
    to_pixels = _pixels(shape)
    return to_pixels @ motion @ np.linalg.inv(to_pixels)


def _pixels(shape: tuple[int, int]) -> Homography:
    """From half long sides around the centre to pixels of a picture of ``shape`` (height, width)."""
    height, width = shape
    unit = max(height, width) / 2
    return np.array([[unit, 0, (width - 1) / 2], [0, unit, (height - 1) / 2], [0, 0, 1]])


def project(motion: Homography, points: Field) -> Field:
    """Move ``points`` (…, 2) by ``motion``; what would pass behind the eye is held at a far distance instead."""
    m = (motion / motion[2, 2]).astype(np.float32)
    x, y = points[..., 0], points[..., 1]
    depth = np.maximum(m[2, 0] * x + m[2, 1] * y + m[2, 2], np.float32(0.1))
    moved = np.empty_like(points)
    moved[..., 0] = (m[0, 0] * x + m[0, 1] * y + m[0, 2]) / depth
    moved[..., 1] = (m[1, 0] * x + m[1, 1] * y + m[1, 2]) / depth
    return moved

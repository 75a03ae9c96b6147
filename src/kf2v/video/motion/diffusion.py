"""Edge-aware spreading of what is known to where nothing is: the fast global smoother (Min et al. 2014)."""

import numpy as np
import numpy.typing as npt

from kf2v.video.motion.field import Field

#: passes over rows and columns; each is a quarter as stiff as the one before
PASSES = 3


def spread(values: Field, weights: Field, guide: npt.NDArray[np.uint8], *, stiffness: float, contrast: float) -> Field:
    """Smooth ``values`` (h, w, n), believed by ``weights`` (h, w), within the edges of ``guide`` (h, w, 3).

    Minimises weighted distance to ``values`` plus ``stiffness`` times the squared difference of neighbours, where
    neighbours ``contrast`` grey levels apart count 1/e. Weights must be positive somewhere.
    """
    carried = np.concatenate([values * weights[..., None], weights[..., None]], axis=2)
    picture = guide.astype(np.float32)
    across = _bond(np.abs(np.diff(picture, axis=1)), contrast)
    down = _bond(np.abs(np.diff(picture, axis=0)), contrast)
    for step in range(PASSES):
        pull = np.float32(1.5 * 4.0 ** (PASSES - 1 - step) / (4.0**PASSES - 1) * stiffness)
        carried = _solve(carried.swapaxes(0, 1), pull * across.T).swapaxes(0, 1)
        carried = _solve(carried, pull * down)
    return carried[..., :-1] / np.maximum(carried[..., -1:], 1e-9)


def _bond(difference: Field, contrast: float) -> Field:
    """How much neighbours hold together, by the channel (h, w, 3) they differ most in."""
    most = np.maximum(np.maximum(difference[..., 0], difference[..., 1]), difference[..., 2])
    return np.exp(-most / contrast) + np.float32(1e-6)


def _solve(right: Field, bonds: Field) -> Field:
    """Thomas's algorithm down axis 0 for all lines at once.

    Each line is (1 + b[i-1] + b[i])·u[i] - b[i-1]·u[i-1] - b[i]·u[i+1] = right[i], with ``bonds`` b (n - 1, lines).
    """
    count = right.shape[0]
    out = np.ascontiguousarray(right)
    if out is right:
        out = right.copy()
    factor = np.empty_like(bonds)
    diagonal = np.ones((count, bonds.shape[1]), np.float32)
    diagonal[:-1] += bonds
    diagonal[1:] += bonds
    pivot = diagonal[0]
    for i in range(count):
        if i:
            pivot = diagonal[i] - bonds[i - 1] * factor[i - 1]
            out[i] += bonds[i - 1][:, None] * out[i - 1]
        out[i] /= pivot[:, None]
        if i < count - 1:
            factor[i] = bonds[i] / pivot
    for i in range(count - 2, -1, -1):
        out[i] += factor[i][:, None] * out[i + 1]
    return out

"""Rough pictures of what is coming, straight from latents, without the VAE.

A latent's 16 channels say a place's colour nearly linearly. How they do is not written here: it is fitted to the first
picture, of which both the pixels and the latents are known before the first step. So it suits any VAE.
Knows no torch.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from kf2v.video import Frame

#: pixels of a preview per latent: half of the film's size
SCALE = 4
#: against channels that hardly vary, as a share of the mean variance
RIDGE = 1e-3

Latent = npt.NDArray[np.floating[Any]]


class Projection:
    """The linear map from a place's latent (16) to its colour (3)."""

    def __init__(self, latent: Latent, picture: Frame) -> None:
        """Fit it to ``picture`` (8h,8w,3) and its own ``latent`` (16,h,w): ridge regression over all places."""
        height, width = latent.shape[1:]
        seen = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).reshape(-1, 3).astype(np.float64)
        places = latent.reshape(latent.shape[0], -1).T.astype(np.float64)  # (h·w,16)
        self._centre, self._colour = places.mean(axis=0), seen.mean(axis=0)
        spread = places - self._centre
        gram = spread.T @ spread
        gram += np.eye(len(gram)) * (RIDGE * np.trace(gram) / len(gram) + 1e-9)
        self._map = np.linalg.solve(gram, spread.T @ (seen - self._colour))  # (16,3)

    def picture(self, latent: Latent) -> Frame:
        """(16,h,w) as (4h,4w,3)."""
        channels, height, width = latent.shape
        places = latent.reshape(channels, -1).T.astype(np.float64) - self._centre
        colours = (places @ self._map + self._colour).reshape(height, width, 3).astype(np.float32)
        large = cv2.resize(colours, (width * SCALE, height * SCALE), interpolation=cv2.INTER_CUBIC)
        return np.clip(np.rint(np.nan_to_num(large)), 0, 255).astype(np.uint8)

"""Previews: colours from latents by a fitted projection."""

import numpy as np
import numpy.typing as npt

from kf2v.engines.wan.preview import SCALE, Projection
from kf2v.video import Frame, Size
from scenery import landscape, plain


def mixed(picture: Frame, seed: int = 0) -> npt.NDArray[np.float32]:
    """(16,h,w): a picture's colours, seen every eighth pixel, hidden among sixteen channels and noise."""
    random = np.random.default_rng(seed)
    height, width = picture.shape[0] // 8, picture.shape[1] // 8
    small = picture.reshape(height, 8, width, 8, 3).mean(axis=(1, 3)) / 64 - 2
    blend = np.random.default_rng(99).normal(size=(3, 16))
    latent = small @ blend + 0.3 + random.normal(size=(height, width, 16)) * 0.05
    return np.ascontiguousarray(latent.transpose(2, 0, 1), np.float32)


SIZE = Size(width=320, height=192)


def test_a_projection_fitted_to_one_picture_shows_another() -> None:
    projection = Projection(mixed(landscape(SIZE)), landscape(SIZE))
    other = landscape(SIZE, seed=5)
    shown = projection.picture(mixed(other, seed=1))
    assert shown.shape == (192 // 8 * SCALE, 320 // 8 * SCALE, 3)
    assert shown.dtype == np.uint8
    seen = shown.reshape(24, SCALE, 40, SCALE, 3).mean(axis=(1, 3))
    given = other.reshape(24, 8, 40, 8, 3).mean(axis=(1, 3))
    assert np.abs(seen - given).mean() < 0.2 * np.abs(given.mean(axis=(0, 1)) - given).mean()


def test_a_picture_of_one_colour_can_be_fitted_too() -> None:
    grey = plain(SIZE, (90, 90, 90))
    shown = Projection(mixed(grey), grey).picture(mixed(grey, seed=2))
    assert np.abs(shown.astype(int) - 90).mean() < 3


def test_wild_latents_still_give_a_picture() -> None:
    projection = Projection(mixed(landscape(SIZE)), landscape(SIZE))
    wild = np.full((16, 24, 40), np.nan)
    wild[:, ::2] = 1e9
    assert projection.picture(wild).shape == (96, 160, 3)

"""Sizes of a take as pure functions."""

import numpy as np
import pytest

from kf2v.catalog.models import AREAS
from kf2v.engines.wan.geometry import (
    FRAMES,
    frames_of,
    generation_size,
    latent_shape,
    latents_of,
    resized,
    tokens,
)
from kf2v.video import Size
from kf2v.video.frames import size_of
from kf2v.video.size import output_size
from scenery import landscape


def size(width: int, height: int) -> Size:
    return Size(width=width, height=height)


def test_81_frames_are_21_latents() -> None:
    assert latents_of(FRAMES) == 21
    assert [frames_of(latents_of(frames)) for frames in (1, 5, 9, 81)] == [1, 5, 9, 81]


@pytest.mark.parametrize("frames", [-3, 0, 2, 4, 80, 82])
def test_a_take_has_one_frame_more_than_a_multiple_of_four(frames: int) -> None:
    with pytest.raises(ValueError, match="4k"):
        latents_of(frames)


def test_the_documented_example_has_816_by_1104_pixels() -> None:
    film = output_size(750, 1000, AREAS["720P"])
    assert film == size(816, 1104)
    assert latent_shape(film, 81) == (21, 138, 102)


@pytest.mark.parametrize(
    ("film", "expected"), [(size(832, 480), 32_760), (size(1280, 720), 75_600), (size(1920, 1072), 168_840)]
)
def test_tokens_of_the_tiers(film: Size, expected: int) -> None:
    assert tokens(film) == expected


def test_sides_that_the_patches_do_not_fill_are_refused() -> None:
    with pytest.raises(ValueError, match="16"):
        tokens(size(1280, 728))


def test_up_to_720p_a_film_is_generated_in_its_own_size() -> None:
    for width, height in ((750, 1000), (1280, 720), (2000, 360), (360, 2000)):
        film = output_size(width, height, AREAS["720P"])
        assert generation_size(film, native=False) == film


def test_1080p_is_generated_two_thirds_as_wide_and_as_high() -> None:
    film = output_size(1920, 1080, AREAS["1080P"])
    assert film == size(1920, 1072)
    assert generation_size(film, native=False) == size(1280, 720)
    assert generation_size(film, native=True) == film


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (1000, 1000), (2000, 360), (750, 1000)])
def test_what_is_enlarged_is_squeezed_by_less_than_two_percent(width: int, height: int) -> None:
    film = output_size(width, height, AREAS["1080P"])
    made = generation_size(film, native=False)
    assert (made.width % 16, made.height % 16) == (0, 0)
    assert made.width * made.height <= 1.02 * AREAS["720P"]
    assert (made.width / made.height) / (film.width / film.height) == pytest.approx(1, abs=0.02)


def test_a_picture_there_and_back_is_where_it_was() -> None:
    film = size(480, 272)
    picture = landscape(film)
    back = resized(resized(picture, size(320, 176)), film)
    assert size_of(back) == film
    assert back.flags.c_contiguous
    assert np.abs(back.astype(int) - picture).mean() < 2.0


def test_a_picture_of_the_right_size_is_left_alone() -> None:
    picture = landscape(size(64, 48))
    assert resized(picture, size(64, 48)) is picture

"""How colours change on the way: none at the start, all at the end, evenly to the eye between, and no cyan suns."""

import numpy as np
import pytest

from kf2v.video.motion.field import grid
from kf2v.video.motion.light import light_of, oklab, rgb
from stage import SIZE, flat, texture

HERE = grid(*SIZE)
SURE = np.ones(SIZE, np.float32)


def test_a_known_colour_has_its_known_place() -> None:
    """White and red, as published with the space."""
    found = oklab(np.array([[[255, 255, 255], [255, 0, 0]]], np.float32))
    assert np.allclose(found, [[[1.0, 0.0, 0.0], [0.628, 0.225, 0.126]]], atol=1e-3)


def test_colours_come_back_from_oklab_as_they_went() -> None:
    colours = texture(1).astype(np.float32)
    assert np.abs(rgb(oklab(colours)) - colours).max() < 0.1


def test_no_light_is_added_at_the_start_and_all_of_it_at_the_end() -> None:
    light = light_of(flat(90), flat(150), HERE, SURE, 1.0)
    assert np.abs(light.at(0.0)).max() == 0
    assert light.at(1.0).mean() == pytest.approx(60, abs=5)


def test_half_way_between_blue_and_orange_is_as_bright_as_both_on_the_mean() -> None:
    blue, orange = (np.full((*SIZE, 3), colour, np.uint8) for colour in ([40, 90, 230], [240, 140, 30]))
    there = light_of(blue, orange, HERE, SURE, 0.0)
    start, middle, end = (oklab(np.float32([40, 90, 230]) + there.at(part))[0, 0] for part in (0.0, 0.5, 1.0))
    assert np.allclose(middle, (start + end) / 2, atol=0.005)


def test_between_strangers_what_glares_keeps_its_own_light() -> None:
    dusk, day = np.full((*SIZE, 3), [150, 70, 40], np.uint8), np.full((*SIZE, 3), [60, 130, 230], np.uint8)
    sun = np.hypot(HERE[..., 0] - 160, HERE[..., 1] - 96) < 25
    dusk[sun] = [255, 250, 150]
    added = np.abs(light_of(dusk, day, HERE, SURE, 0.0).at(1.0)).max(axis=2)
    assert added[12, 20] < 10 < 50 < added[2, 2]


def test_a_white_wall_takes_on_the_light_as_any_other_does() -> None:
    added = light_of(flat(250), flat(120), HERE, SURE, 0.0).at(1.0)
    assert added.max() < -110

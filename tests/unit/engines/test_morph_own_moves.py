"""A move that two frames make by themselves is not made once more because a prompt names it."""

import math

import numpy as np
import pytest

from kf2v.engines import Scene
from kf2v.engines.morph import Morph
from kf2v.engines.morph.camera import Camera
from kf2v.engines.morph.words import Direction, read
from kf2v.rewriting.language import Language
from kf2v.rewriting.rules import Rules
from kf2v.video import Frame
from kf2v.video.motion.path import Geodesic, Homography, in_pixels, in_units
from stage import SIZE, Notebook, texture, viewed, zoom_and_turn

WORLD = texture(5, (420, 700))
#: zoom, degrees the picture turns, where its middle goes, in pixels
PLANS = {
    "pushes in": (1.3, 0.0, 0.0, 0.0),
    "pulls back": (1 / 1.3, 0.0, 0.0, 0.0),
    "pans to the right": (1.0, 0.0, -40.0, 0.0),
    "tilts down": (1.0, 0.0, 0.0, -24.0),
    "rolls clockwise": (1.0, -9.0, 0.0, 0.0),
    "pushes in and pans": (1.25, 0.0, 30.0, 0.0),
}
#: what each plan is, in words that were not heard yet
DIRECTIONS = {
    "pushes in": Direction(zoom=1),
    "pulls back": Direction(zoom=-1),
    "pans to the right": Direction(pan=1),
    "tilts down": Direction(tilt=-1),
    "rolls clockwise": Direction(roll=1),
    "pushes in and pans": Direction(zoom=1, pan=-1),
}


def pair(name: str) -> tuple[Frame, Frame]:
    return viewed(WORLD, np.eye(3)), viewed(WORLD, zoom_and_turn(*PLANS[name]))


def rate(name: str) -> Homography:
    return in_units(Geodesic(zoom_and_turn(*PLANS[name])).rate, SIZE)


def bends(camera: Camera) -> list[Homography]:
    return [camera.bend(s) for s in np.linspace(0, 1, 11)]


def same(one: Camera, other: Camera) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(bends(one), bends(other), strict=True))


def silent(_: float) -> None:
    pass


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_a_move_that_is_there_is_not_added(name: str, seed: int) -> None:
    said = Camera(DIRECTIONS[name], seed, shape=SIZE)
    assert same(said.beyond(rate(name)), Camera(Direction(), seed, shape=SIZE))


@pytest.mark.parametrize("name", PLANS)
def test_a_move_the_other_way_is_added(name: str) -> None:
    said = Camera(DIRECTIONS[name], 1, shape=SIZE)
    assert same(said.beyond(-rate(name)), said)


def test_a_move_that_is_smaller_than_the_words_is_added() -> None:
    said = Camera(Direction(zoom=1), 1, shape=SIZE)
    assert same(said.beyond(np.diag([0.02, 0.02, 0.0])), said)


def test_only_what_is_there_is_left_out() -> None:
    both = Camera(Direction(zoom=1, roll=1, handheld=0.5), 1, shape=SIZE)
    rest = Camera(Direction(roll=1, handheld=0.5), 1, shape=SIZE)
    assert same(both.beyond(rate("pushes in")), rest)


def test_a_rate_in_pixels_comes_back_from_them() -> None:
    turn = np.array([[0.0, -0.1, 0.2], [0.1, 0.0, -0.05], [0.01, 0.0, 0.0]])
    assert np.allclose(in_units(in_pixels(turn, SIZE), SIZE), turn)


def test_a_path_knows_its_rate() -> None:
    way = Geodesic(np.diag([1.44, 1.44, 1.0]))
    assert math.isclose(way.rate[0, 0] - way.rate[2, 2], math.log(1.44), rel_tol=1e-4)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", ["pushes in and pans", "rolls clockwise"])
def test_a_film_is_the_same_with_the_words_of_the_rules_as_without(name: str, language: Language) -> None:
    first, last = pair(name)
    told = Rules(language).rewrite("", first, last, silent)
    assert read(told).names_a_move
    films = [
        Morph().generate(Scene(first=first, last=last, prompt=prompt, negative_prompt="", seed=2), Notebook())
        for prompt in ("", told)
    ]
    for index, (bare, worded) in enumerate(zip(films[0].frames, films[1].frames, strict=True)):
        assert np.array_equal(bare, worded), index
        if index == 20:
            break

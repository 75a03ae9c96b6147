"""What a film shows of the camera words in its prompt: the picture in it moves as they say, and its ends stay."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from kf2v.engines import Scene
from kf2v.engines.morph import Morph
from kf2v.video import Frame
from kf2v.video.motion.path import Homography
from stage import Notebook, cut, luma, psnr, texture

SIZE = (96, 160)
WIDE = texture(5, (150, 240))
FIRST = cut(WIDE, 20, 15, SIZE)
#: by what the frames alone do: nothing, and a little
PAIRS = {"still": (FIRST, FIRST), "gently moving": (FIRST, cut(WIDE, 17, 17, SIZE))}
#: the frames between which a move is in full swing
FROM, TO = 50, 85

Points = npt.NDArray[np.floating]


@lru_cache(maxsize=4)
def film(pair: str, prompt: str) -> list[Frame]:
    first, last = PAIRS[pair]
    order = Scene(first=first, last=last, prompt=prompt, negative_prompt="", seed=0)
    return list(Morph().generate(order, Notebook()).frames)


@dataclass(frozen=True, kw_only=True)
class Move:
    """How one picture lies in another."""

    zoom: float
    #: pixels, of the middle
    x: float
    y: float
    #: degrees, clockwise
    turn: float
    #: the right side's length over the left side's
    yaw: float


def homography(one: Frame, other: Frame) -> Homography:
    """Where what ``one`` shows is in ``other`` (Evangelidis and Psarakis 2008)."""
    steps = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-6)
    none = np.full(SIZE, 255, np.uint8)
    _, found = cv2.findTransformECC(
        luma(one), luma(other), np.eye(3, dtype=np.float32), cv2.MOTION_HOMOGRAPHY, steps, none, 5
    )
    return np.asarray(found, np.float64)


def move(motion: Homography) -> Move:
    height, width = SIZE
    middle = ((width - 1) / 2, (height - 1) / 2)
    points = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1], middle], np.float64)
    a, b, c, d, at = cv2.perspectiveTransform(points[None], motion)[0]
    area = cv2.contourArea(np.array([a, b, c, d], np.float32)) / ((width - 1) * (height - 1))
    along = b + c - a - d
    return Move(
        zoom=math.sqrt(area),
        x=float(at[0] - middle[0]),
        y=float(at[1] - middle[1]),
        turn=math.degrees(math.atan2(along[1], along[0])),
        yaw=float(np.linalg.norm(b - c) / np.linalg.norm(a - d)),
    )


def shown(pair: str, prompt: str) -> Move:
    """What the words add to the motion from ``FROM`` to ``TO``."""
    worded, bare = film(pair, prompt), film(pair, "fixed camera")
    first, last = PAIRS[pair]
    assert np.array_equal(worded[0], first)
    assert np.array_equal(worded[-1], last)
    before, after = (homography(bare[at], worded[at]) for at in (FROM, TO))
    return move(after @ np.linalg.inv(before))


#: what is said, in English and in Chinese, and what must be seen
MOVES: dict[str, tuple[str, str, Callable[[Move], bool]]] = {
    "push in": ("push in", "镜头推近", lambda seen: seen.zoom > 1.03),
    "pull out": ("pull out", "镜头拉远", lambda seen: seen.zoom < 0.99),
    "pan left": ("pan left", "镜头向左平移", lambda seen: seen.x > 2.5),
    "pan right": ("pan right", "镜头向右平移", lambda seen: seen.x < -2.5),
    "tilt up": ("tilt up", "镜头向上摇", lambda seen: seen.y > 1.5),
    "tilt down": ("tilt down", "镜头向下摇", lambda seen: seen.y < -1.5),
    "roll": ("the camera rolls clockwise", "镜头旋转", lambda seen: seen.turn < -1),
    "orbit": ("the camera orbits right", "镜头环绕", lambda seen: seen.yaw > 1.04),
}


@pytest.mark.parametrize("name", MOVES)
def test_words_move_a_picture_that_stands_still(name: str) -> None:
    _, chinese, shows = MOVES[name]
    seen = shown("still", chinese)
    assert shows(seen), seen
    assert not any(other(seen) for also, (_, _, other) in MOVES.items() if also not in {name, "push in"}), seen


@pytest.mark.parametrize("name", MOVES)
def test_words_bend_the_way_of_a_picture_that_moves(name: str) -> None:
    english, _, shows = MOVES[name]
    seen = shown("gently moving", english)
    assert shows(seen), seen
    assert not any(other(seen) for also, (_, _, other) in MOVES.items() if also not in {name, "push in"}), seen


@pytest.mark.parametrize(
    ("slow", "plain", "fast"),
    [("slowly push in", "push in", "quickly push in"), ("镜头缓慢推近", "镜头推近", "镜头快速推近")],
)
def test_a_slow_move_goes_less_far_and_a_fast_one_farther(slow: str, plain: str, fast: str) -> None:
    reached = [
        max(move(homography(FIRST, film("still", prompt)[at])).zoom for at in range(70, 120, 5))
        for prompt in (slow, plain, fast)
    ]
    assert reached[0] + 0.005 < reached[1] < reached[2] - 0.005, reached


@pytest.mark.parametrize(("pair", "prompt"), [("still", "手持镜头"), ("gently moving", "handheld camera")])
def test_a_hand_shakes_a_picture_a_little_and_never_stops(pair: str, prompt: str) -> None:
    worded, bare = film(pair, prompt), film(pair, "fixed camera")
    first, last = PAIRS[pair]
    assert np.array_equal(worded[0], first)
    assert np.array_equal(worded[-1], last)
    track = [move(homography(bare[at], worded[at])) for at in range(35, 116, 8)]
    way = np.array([(at.x, at.y) for at in track])
    assert 0.5 < np.ptp(way, axis=0).max() < 4
    assert min(np.linalg.norm(b - a) for a, b in pairwise(way)) > 0.02
    turns = np.diff(np.sign(np.diff(way, axis=0)), axis=0) != 0
    assert turns.any(axis=0).all(), "it goes back and forth"


@pytest.mark.parametrize("prompt", ["fixed camera", "固定镜头"])
def test_before_a_fixed_camera_nothing_stirs_that_stands_still(prompt: str) -> None:
    for frame in film("still", prompt):
        assert psnr(luma(frame), luma(FIRST)) > 55


def test_a_fixed_camera_leaves_things_their_motion() -> None:
    seen = move(homography(FIRST, film("gently moving", "固定镜头")[75]))
    assert seen.x == pytest.approx(1.5, abs=0.3)
    assert seen.y == pytest.approx(-1, abs=0.3)
    assert seen.zoom == pytest.approx(1, abs=0.005)

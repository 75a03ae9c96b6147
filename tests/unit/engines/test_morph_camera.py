import math
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kf2v.engines.morph.camera import Camera
from kf2v.engines.morph.words import Direction
from kf2v.video.motion.alignment import is_sane
from kf2v.video.motion.path import Geodesic, Homography, in_pixels
from stage import texture

SHAPE = (480, 854)
SHAPES = [SHAPE, (854, 480), (640, 640), (288, 1008)]
MOVES = {
    "push in": Direction(zoom=1),
    "pull out": Direction(zoom=-1),
    "pan left": Direction(pan=-1),
    "pan right": Direction(pan=1),
    "up": Direction(tilt=1),
    "down": Direction(tilt=-1),
    "orbit left": Direction(orbit=-1),
    "orbit right": Direction(orbit=1),
    "roll": Direction(roll=1),
    "slow": Direction(zoom=1, pan=1, pace=-1),
    "fast": Direction(zoom=-1, roll=-1, pace=1),
}
HAND = Direction(handheld=1)
SILENT = Direction()
FIXED = Direction(fixed=True)

Points = npt.NDArray[np.floating]

either_way = st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0])
directions = st.builds(
    Direction,
    zoom=either_way,
    pan=either_way,
    tilt=either_way,
    orbit=either_way,
    roll=either_way,
    handheld=st.sampled_from([0.0, 0.5, 1.0]),
    pace=either_way,
)
seeds = st.integers(0, 2**31 - 1)


def camera(direction: Direction, seed: int = 3, shape: tuple[int, int] = SHAPE) -> Camera:
    return Camera(direction, seed, shape=shape)


def bends(direction: Direction) -> list[Homography]:
    """At 101 even moments."""
    one = camera(direction)
    return [one.bend(s) for s in np.linspace(0, 1, 101)]


def corners(shape: tuple[int, int] = SHAPE) -> Points:
    x, y = shape[1] / max(shape), shape[0] / max(shape)
    return np.array([(-x, -y), (x, -y), (x, y), (-x, y)])


def moved(motion: Homography, points: Points) -> Points:
    image = np.column_stack([points, np.ones(len(points))]) @ motion.T
    assert (image[:, 2] > 0).all()
    return image[:, :2] / image[:, 2:]


def centre(motion: Homography) -> Points:
    return moved(motion, np.zeros((1, 2)))[0]


def size(motion: Homography) -> float:
    """How much larger a small square at the centre becomes, per side."""
    return math.sqrt(np.linalg.det(motion / motion[2, 2]))


def track(motion: Callable[[float], Homography]) -> Points:
    """(501, 4, 2): where the corners are at so many even moments."""
    return np.array([moved(motion(s), corners()) for s in np.linspace(0, 1, 501)])


def speeds(motion: Callable[[float], Homography]) -> Points:
    """(500,): of the fastest corner, per clip."""
    return np.linalg.norm(np.diff(track(motion), axis=0), axis=2).max(axis=1) * 500


def beyond(motion: Homography, shape: tuple[int, int]) -> float:
    """By which share of its half side the window reaches over the border of the moved picture; 0 when covered."""
    seen = np.abs(moved(np.linalg.inv(motion), corners(shape))) / np.abs(corners(shape))
    return max(0.0, float(seen.max()) - 1)


@settings(deadline=None, max_examples=150)
@given(directions, seeds, st.sampled_from(SHAPES), st.floats(0, 1))
@example(Direction(zoom=-1, pan=1), 0, SHAPE, 0.99)
@example(Direction(roll=1, pan=1, tilt=1, orbit=1, handheld=1, pace=1), 0, SHAPES[3], 0.6)
def test_no_bend_shows_what_lies_beyond_the_border(
    direction: Direction, seed: int, shape: tuple[int, int], s: float
) -> None:
    one = camera(direction, seed, shape)
    for motion in (one.bend(s), one.breath(s), one.shake(s)):
        assert beyond(motion, shape) < 0.005


@pytest.mark.parametrize("direction", [Direction(pan=1), Direction(roll=1), Direction(orbit=1), HAND], ids=str)
def test_no_pixel_of_a_bent_picture_comes_from_outside_it(direction: Direction) -> None:
    picture = np.maximum(texture(1), 1)
    shape = picture.shape[:2]
    one = camera(direction, shape=shape)
    for s in np.linspace(0, 1, 21):
        motion = in_pixels(one.bend(s), shape)
        bent = cv2.warpPerspective(picture, motion, shape[::-1], flags=cv2.INTER_NEAREST, borderValue=(0, 0, 0))
        assert (bent > 0).all()


@pytest.mark.parametrize("direction", [*MOVES.values(), HAND, SILENT, FIXED], ids=str)
def test_a_bend_and_a_breath_begin_and_end_with_the_picture_as_it_is(direction: Direction) -> None:
    one = camera(direction)
    for motion in (one.bend, one.breath, one.shake):
        for end in (0.0, 1.0):
            assert np.array_equal(motion(end), np.eye(3))
        assert np.allclose(motion(1e-9), np.eye(3), atol=1e-7)
        assert np.allclose(motion(1 - 1e-9), np.eye(3), atol=1e-7)


@pytest.mark.parametrize("direction", MOVES.values(), ids=MOVES)
def test_a_bend_never_hurries_nor_jerks(direction: Direction) -> None:
    speed = speeds(camera(direction).bend)
    assert speed.max() < 1.7 * speed.mean()
    way = track(camera(direction).bend)
    kinks = np.linalg.norm(np.diff(way, n=2, axis=0), axis=2).max() * 500
    assert kinks < 0.04 * speed.max()


def test_a_hand_trembles_at_less_than_three_cycles_a_second() -> None:
    # Five seconds, and in the middle the eased position runs up to 1.2 times as fast as time.
    for seed in range(3):
        one = camera(HAND, seed)
        way = np.array([centre(one.bend(s)) for s in np.linspace(0, 1, 512, endpoint=False)])
        power = np.abs(np.fft.rfft(way - way.mean(axis=0), axis=0)) ** 2
        cycles_a_second = np.fft.rfftfreq(512, 5 / 1.2 / 512)
        assert power[cycles_a_second > 3.3].sum() < 0.01 * power.sum()
        assert 0.003 < np.ptp(way, axis=0).max() / 2 < 0.02


def test_a_push_in_takes_most_of_the_clip() -> None:
    zoom = [size(motion) for motion in bends(MOVES["push in"])]
    assert 55 <= np.argmax(zoom) <= 70
    assert 1.07 < max(zoom) < 1.14


def test_a_pull_out_comes_near_quickly_and_then_leaves_for_most_of_the_clip() -> None:
    zoom = [size(motion) for motion in bends(MOVES["pull out"])]
    assert 30 <= np.argmax(zoom) <= 45
    assert 1.07 < max(zoom) < 1.14


def test_a_picture_moves_against_the_camera() -> None:
    middle = {name: centre(camera(direction).bend(0.6)) for name, direction in MOVES.items()}
    assert -0.12 < middle["pan right"][0] < -0.07
    assert 0.07 < middle["pan left"][0] < 0.12
    assert 0.04 < middle["up"][1] < 0.09
    assert -0.09 < middle["down"][1] < -0.04


def test_a_picture_turns_against_a_camera_that_rolls() -> None:
    # y points down, so a picture that turns counter-clockwise lifts its right side.
    motion = camera(MOVES["roll"]).bend(0.6)
    turn = math.degrees(math.atan2(motion[1, 0], motion[0, 0]))
    assert -4.5 < turn < -2.5


@pytest.mark.parametrize("shape", SHAPES)
def test_an_orbit_to_the_right_brings_the_right_side_nearer(shape: tuple[int, int]) -> None:
    right, left = (camera(MOVES[f"orbit {side}"], shape=shape).bend(0.6) for side in ("right", "left"))
    for motion, sign in ((right, 1), (left, -1)):
        a, b, c, d = moved(motion, corners(shape))
        assert sign * (np.linalg.norm(b - c) - np.linalg.norm(a - d)) > 0.02 * np.linalg.norm(a - d)


def test_without_words_a_path_is_all_but_left_alone_and_the_same_from_both_ends() -> None:
    for seed in range(10):
        one = camera(SILENT, seed)
        for s in np.linspace(0, 0.5, 11):
            assert np.abs(moved(one.bend(s), corners()) - corners()).max() / 2 < 0.006
            assert np.allclose(one.bend(s), one.bend(1 - s), atol=1e-12)
        assert not np.array_equal(one.bend(0.5), np.eye(3))


def test_a_fixed_camera_does_not_move_whatever_the_seed() -> None:
    for seed in range(5):
        one = camera(FIXED, seed)
        for s in np.linspace(0, 1, 11):
            for motion in (one.bend(s), one.breath(s), one.shake(s), one.journey):
                assert np.array_equal(motion, np.eye(3))


@pytest.mark.parametrize("direction", [*MOVES.values(), HAND, SILENT], ids=str)
def test_a_seed_decides_and_decides_alike(direction: Direction) -> None:
    one, same, other = camera(direction, 11), camera(direction, 11), camera(direction, 12)
    for s in (0.2, 0.5, 0.9):
        assert np.array_equal(one.bend(s), same.bend(s))
        assert np.array_equal(one.breath(s), same.breath(s))
        assert not np.array_equal(one.bend(s), other.bend(s))
    assert np.array_equal(one.journey, same.journey)


def test_a_seed_varies_a_move_by_a_fifth_at_most() -> None:
    zooms = [math.log(size(camera(MOVES["push in"], seed).bend(0.63))) for seed in range(60)]
    assert 0.078 < min(zooms) < 0.09
    assert 0.11 < max(zooms) < 0.121


def test_pace_makes_a_move_larger_and_its_main_part_shorter() -> None:
    def furthest(pace: float) -> tuple[float, float]:
        zoom = [size(motion) for motion in bends(Direction(zoom=1, pace=pace))]
        return max(zoom), float(np.argmax(zoom))

    (slow, late), (even, middle), (fast, early) = furthest(-1), furthest(0), furthest(1)
    assert slow < even < fast
    assert late > middle > early


def test_a_picture_that_ends_as_it_began_breathes_without_a_stop() -> None:
    for seed in range(10):
        one = camera(SILENT, seed)
        speed = speeds(one.breath)
        assert max(speed[0], speed[-1]) < 0.03 * speed.max()
        assert speed[50:-50].min() > 0.3 * speed.max()
        assert 1.028 < max(size(one.breath(s)) for s in np.linspace(0, 1, 101)) < 1.042


def test_words_replace_the_breath() -> None:
    one = camera(MOVES["pan left"])
    assert np.array_equal(one.breath(0.4), one.bend(0.4))


def test_a_bend_is_the_words_and_the_hand() -> None:
    both, words = camera(Direction(pan=1, handheld=1)), camera(Direction(pan=1))
    assert np.allclose(both.bend(0.4), both.shake(0.4) @ words.bend(0.4))
    assert np.array_equal(words.shake(0.4), np.eye(3))


@settings(deadline=None, max_examples=40)
@given(directions, seeds, st.sampled_from(SHAPES))
def test_every_journey_has_a_path_that_a_camera_could_take(
    direction: Direction, seed: int, shape: tuple[int, int]
) -> None:
    journey = in_pixels(camera(direction, seed, shape).journey, shape)
    path = Geodesic(journey)
    arrived, halfway = path.at(1.0), path.at(0.5)
    assert np.allclose(arrived / arrived[2, 2], journey / journey[2, 2], rtol=1e-3, atol=1e-3)
    assert is_sane(journey, shape)
    assert is_sane(halfway / halfway[2, 2], shape)


def test_a_journey_goes_where_the_words_say() -> None:
    for seed in range(10):
        whole = {name: camera(direction, seed).journey for name, direction in MOVES.items()}
        assert 1.21 < size(whole["push in"]) < 1.29
        assert size(whole["pull out"]) == pytest.approx(1 / size(whole["push in"]))
        assert -0.44 <= centre(whole["pan right"])[0] <= -0.36
        assert 0.36 <= centre(whole["pan left"])[0] <= 0.44
        assert 0.2 < centre(whole["up"])[1] < 0.25
        assert -9 < math.degrees(math.atan2(whole["roll"][1, 0], whole["roll"][0, 0])) < -7
        assert centre(whole["orbit right"])[0] > 0.05


def test_a_journey_nobody_described_is_a_gentle_push_in_that_drifts_as_the_seed_likes() -> None:
    journeys = [camera(SILENT, seed).journey for seed in range(20)]
    assert all(1.1 < size(journey) < 1.14 for journey in journeys)
    drifts = np.array([centre(journey) for journey in journeys])
    assert np.linalg.norm(drifts, axis=1).max() < 0.05
    assert (np.ptp(drifts, axis=0) > 0.03).all()


def test_in_pixels_the_centre_lies_between_the_middle_pixels() -> None:
    zoom, shift = np.diag([1.5, 1.5, 1.0]), np.eye(3)
    shift[0, 2] = 0.1
    assert np.allclose(moved(in_pixels(zoom, (4, 6)), np.array([[2.5, 1.5], [3.5, 1.5]])), [[2.5, 1.5], [4, 1.5]])
    assert np.allclose(moved(in_pixels(shift, (100, 200)), np.array([[7.0, 9.0]])), [[17.0, 9.0]])

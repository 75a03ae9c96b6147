import cv2
import numpy as np
import pytest

from kf2v.video import Frame
from kf2v.video.motion.alignment import FEWEST, fit, in_company, is_sane, landmarks, planes, rough
from kf2v.video.motion.field import Field
from kf2v.video.motion.path import Homography, project
from stage import SIZE, flat, texture, viewed, zoom_and_turn


def align(one: Frame, other: Frame) -> Homography | None:
    corners, _ = landmarks(one, other)
    return fit(*corners, SIZE, share=0.2)


ZOOM_AND_TURN = np.array([[1.25, -0.3, 10], [0.3, 1.25, -60], [2e-4, 0, 1.0]])


def test_a_known_camera_move_is_found() -> None:
    one = texture(1)
    other = cv2.warpPerspective(one, ZOOM_AND_TURN, (SIZE[1], SIZE[0]))
    found = align(one, other)
    assert found is not None
    points = np.array([[60, 60], [200, 60], [200, 150], [60, 150]], np.float32)
    assert np.abs(project(found, points) - project(ZOOM_AND_TURN, points)).max() < 1.5


def test_nothing_is_found_where_there_is_nothing() -> None:
    assert align(flat(90), flat(90)) is None


def test_nothing_is_found_between_strangers() -> None:
    assert align(texture(1), texture(2)) is None


@pytest.mark.parametrize(
    "motion",
    [
        np.diag([-1.0, 1, 1]),
        np.diag([10.0, 10, 1]),
        np.diag([0.1, 0.1, 1]),
        np.array([[1, 0, 0], [0, 1, 0], [-4e-3, 0, 1.0]]),
    ],
    ids=["mirror", "far too near", "far too far", "horizon inside"],
)
def test_what_no_camera_does_is_refused(motion: np.ndarray) -> None:
    assert not is_sane(motion, SIZE)


def test_what_a_camera_does_is_accepted() -> None:
    assert is_sane(np.eye(3), SIZE)
    assert is_sane(ZOOM_AND_TURN, SIZE)


def landmarks_in_depth(count: int, astray: int = 0) -> tuple[Field, Field]:
    """Points that a camera's move takes along, the nearer ones further, and some that go anywhere."""
    dice = np.random.default_rng(4)
    points = dice.uniform((0, 0), SIZE[::-1], (count + astray, 2)).astype(np.float32)
    targets = project(zoom_and_turn(1.3, 10, 25, -12), points) + dice.uniform(-9, 9, points.shape).astype(np.float32)
    targets[count:] = dice.uniform((0, 0), SIZE[::-1], (astray, 2))
    return points, targets


@pytest.mark.parametrize("astray", [0, 5])
def test_a_camera_move_through_a_deep_scene_is_found_roughly_where_no_plane_is(astray: int) -> None:
    points, targets = landmarks_in_depth(FEWEST - 3, astray)
    assert not planes(points, targets, SIZE)
    found = rough(points, targets)
    assert found is not None
    corners = np.array([[60, 40], [260, 40], [260, 150], [60, 150]], np.float32)
    off = np.linalg.norm(project(found, corners) - project(zoom_and_turn(1.3, 10, 25, -12), corners), axis=1)
    assert off.max() < 16
    assert np.allclose(found[:2, :2] @ found[:2, :2].T, np.eye(2) * np.linalg.det(found), atol=1e-6), "turn and zoom"


@pytest.mark.parametrize("seed", range(4))
def test_not_even_a_rough_motion_is_found_between_strangers(seed: int) -> None:
    corners, _ = landmarks(texture(20 + seed), texture(40 + seed))
    assert rough(*corners) is None


@pytest.mark.parametrize("count", [0, 2, 6])
def test_a_handful_of_points_says_nothing(count: int) -> None:
    points, targets = landmarks_in_depth(count)
    assert rough(points, targets) is None
    assert not planes(points, targets, SIZE)
    assert not in_company(points, targets).any()


def test_two_planes_are_told_apart() -> None:
    dice = np.random.default_rng(1)
    points = dice.uniform((0, 0), SIZE[::-1], (120, 2)).astype(np.float32)
    far, near = zoom_and_turn(1.05, 0), zoom_and_turn(1.2, 0, 30, 0)
    targets = np.concatenate([project(far, points[:80]), project(near, points[80:])])
    found = planes(points, targets, SIZE)
    assert len(found) == 2
    assert np.abs(project(found[0], points[:80]) - targets[:80]).max() < 1
    assert np.abs(project(found[1], points[80:]) - targets[80:]).max() < 1


def test_who_moves_like_nobody_around_is_in_no_company() -> None:
    points = np.dstack(np.meshgrid(np.arange(0, 300, 20), np.arange(0, 180, 20))).reshape(-1, 2).astype(np.float32)
    targets = points + np.float32([12, 3])
    targets[67] += 40
    kept = in_company(points, targets)
    assert not kept[67]
    assert kept.sum() == len(points) - 1


def test_points_at_corners_and_on_the_grid_go_where_the_camera_goes() -> None:
    plan = zoom_and_turn(1, 0, 14, -8)
    world = texture(5, (300, 480))
    for points, targets in landmarks(viewed(world, np.eye(3)), viewed(world, plan)):
        off = np.linalg.norm(project(plan, points) - targets, axis=1)
        assert len(points) > 30
        assert np.median(off) < 4, "a node's neighbour is six pixels away"

import cv2
import numpy as np
import pytest

from kf2v.video import Frame
from kf2v.video.motion.alignment import fit, is_sane, landmarks
from kf2v.video.motion.path import Homography, project
from stage import SIZE, flat, texture


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

import cv2
import numpy as np
import pytest

from kf2v.video.motion.path import Geodesic, project


def turn(degrees: float, zoom: float = 1.0) -> np.ndarray:
    across, up = zoom * np.cos(np.radians(degrees)), zoom * np.sin(np.radians(degrees))
    return np.array([[across, -up, 30], [up, across, -12], [0, 0, 1.0]])


TILT = np.array([[1.1, 0.05, -20], [-0.02, 0.95, 14], [3e-4, -2e-4, 1.0]])
SLIDE = np.array([[1, 0, 40], [0, 1, -9], [0, 0, 1.0]])
MOTIONS = [np.eye(3), SLIDE, turn(90), turn(-170), turn(20, 3.0), TILT, 7 * TILT]


def unit(motion: np.ndarray) -> np.ndarray:
    return motion / np.cbrt(np.linalg.det(motion))


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_geodesic_goes_the_whole_way(motion: np.ndarray) -> None:
    path = Geodesic(motion)
    assert np.allclose(path.at(0), np.eye(3))
    assert np.allclose(path.at(1), unit(motion), atol=1e-4)


@pytest.mark.parametrize("motion", MOTIONS)
def test_half_the_way_twice_is_the_whole_way(motion: np.ndarray) -> None:
    path = Geodesic(motion)
    assert np.allclose(path.at(0.5) @ path.at(0.5), unit(motion), atol=1e-4)


def test_nothing_shrinks_halfway_through_a_turn() -> None:
    half = Geodesic(turn(90)).at(0.5)
    assert np.linalg.det(half[:2, :2] / half[2, 2]) == pytest.approx(1.0)


def test_a_mirror_has_no_path() -> None:
    with pytest.raises(ValueError, match="no path"):
        Geodesic(np.diag([-1.0, 1, 1]))


def test_half_a_turn_has_no_path() -> None:
    with pytest.raises(ValueError, match="no path"):
        Geodesic(turn(180))


def test_points_move_as_projective_geometry_has_it() -> None:
    points = np.random.default_rng(1).uniform(0, 400, (50, 2)).astype(np.float32)
    expected = cv2.perspectiveTransform(points[None], TILT)[0]
    assert np.allclose(project(7 * TILT, points), expected, atol=1e-3)


def test_what_would_pass_behind_the_eye_stays_finite() -> None:
    steep = np.array([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1.0]])
    assert np.isfinite(project(steep, np.array([[100, 5], [300, 5]], np.float32))).all()

import numpy as np
import pytest

from kf2v.video.motion.diffusion import spread


def two_rooms(height: int = 40, width: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """A dark and a bright half, and their truth: 3 on the left, -5 on the right."""
    guide = np.zeros((height, width, 3), np.uint8)
    guide[:, width // 2 :] = 220
    truth = np.where(np.arange(width) < width // 2, 3.0, -5.0).astype(np.float32)
    return guide, np.broadcast_to(truth[None, :, None], (height, width, 1)).copy()


def test_what_is_known_everywhere_and_even_stays() -> None:
    guide = np.random.default_rng(0).integers(0, 255, (30, 50, 3), np.uint8)
    values = np.full((30, 50, 2), 4.25, np.float32)
    assert np.allclose(spread(values, np.ones((30, 50), np.float32), guide, stiffness=900, contrast=9), 4.25, atol=1e-3)


def test_one_known_pixel_fills_its_room_and_not_the_next() -> None:
    guide, truth = two_rooms()
    weights = np.full(truth.shape[:2], 1e-6, np.float32)
    weights[20, 10] = weights[12, 45] = 1
    values = np.where(weights[..., None] == 1, truth, 0)
    filled = spread(values, weights, guide, stiffness=5000, contrast=9)
    assert np.allclose(filled[:, 2:28], 3, atol=0.5)
    assert np.allclose(filled[:, 32:-2], -5, atol=0.5)


def test_an_outlier_nobody_believes_leaves_no_trace() -> None:
    guide, truth = two_rooms()
    values, weights = truth.copy(), np.ones(truth.shape[:2], np.float32)
    values[10:14, 10:14] = 90
    weights[10:14, 10:14] = 1e-4
    assert np.abs(spread(values, weights, guide, stiffness=60, contrast=9) - truth)[8:16, 8:16].max() < 0.5


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_was_given_is_not_written_on(order: str) -> None:
    guide, truth = two_rooms()
    values = np.asarray(truth, order=order)
    before = values.copy()
    spread(values, np.ones(truth.shape[:2], np.float32), guide, stiffness=60, contrast=9)
    assert np.array_equal(values, before)

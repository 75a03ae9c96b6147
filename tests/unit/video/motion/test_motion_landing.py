"""What is seen where pixels land: all of a surface that grows, and nothing in the gap behind a thing that moves."""

import numpy as np
import pytest

from kf2v.video.motion.correspondence import Strand
from kf2v.video.motion.field import Field, grid
from kf2v.video.motion.landing import Swarm, visible

SIDE = 96
REST = np.eye(3)


def seen_after(drift: Field) -> Field:
    """How visible each place is when pixels that nobody trusts have moved by ``drift``."""
    here = grid(SIDE, SIDE)
    swarm = Swarm(Strand(anchor=here, drift=drift, trust=np.zeros((SIDE, SIDE), np.float32)))
    middle = np.full((SIDE, SIDE, 2), SIDE / 2, np.float32)
    return visible(swarm.land(REST, 1.0, zoom=1.0).seen, middle, 0.0)


@pytest.mark.parametrize("growth", [1.02, 1.1, 1.2, 1.3])
def test_a_surface_that_grows_is_seen_without_rings(growth: float) -> None:
    drift = ((growth - 1) * (grid(SIDE, SIDE) - SIDE / 2)).astype(np.float32)
    assert seen_after(drift)[8:-8, 8:-8].min() > 0.95


def test_the_gap_behind_a_moving_thing_is_not_seen() -> None:
    drift = np.zeros((SIDE, SIDE, 2), np.float32)
    drift[:, SIDE // 2 :, 0] = 12
    gap = seen_after(drift)[8:-8, SIDE // 2 + 3 : SIDE // 2 + 9]
    assert gap.max() < 0.05

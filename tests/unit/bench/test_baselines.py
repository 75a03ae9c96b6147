"""What morph is measured against is what it claims to be: whole clips that begin and end right, and move."""

from collections.abc import Callable

import numpy as np
import pytest
from bench.baselines import BASELINES, COUNT, dis_flow, dissolve, minterpolate

from kf2v.video import Clip, Frame, Size
from stage import cut, texture

Maker = Callable[[Frame, Frame], Clip]

SHAPE = (96, 160)
WIDE = texture(3, (96, 200))
FIRST, LAST = cut(WIDE, 8, 0, SHAPE), cut(WIDE, 16, 0, SHAPE)
#: where the camera is half way
MIDDLE = cut(WIDE, 12, 0, SHAPE)


@pytest.mark.parametrize("maker", BASELINES.values(), ids=BASELINES)
def test_a_baseline_is_a_whole_clip_between_the_very_pictures(maker: Maker) -> None:
    clip = maker(FIRST, LAST)
    frames = list(clip.frames)
    assert (clip.size, clip.fps, clip.count, len(frames)) == (Size(width=160, height=96), 30, COUNT, COUNT)
    assert np.array_equal(frames[0], FIRST)
    assert np.array_equal(frames[-1], LAST)
    assert all(frame.shape == FIRST.shape and frame.dtype == np.uint8 for frame in frames)


def inner_error(maker: Maker, wanted: Frame) -> float:
    """Mean absolute difference, away from the border, of the frame half way to ``wanted``."""
    frames = list(maker(FIRST, LAST).frames)
    half = (frames[74].astype(float) + frames[75]) / 2
    return float(np.abs(half - wanted)[16:-16, 16:-16].mean())


@pytest.mark.parametrize("maker", [minterpolate, dis_flow])
def test_what_follows_motion_is_half_way_in_the_middle_where_a_dissolve_is_not(maker: Maker) -> None:
    assert inner_error(maker, MIDDLE) < 0.5 * inner_error(dissolve, MIDDLE)


def test_a_dissolve_is_the_mean_of_both_in_the_middle() -> None:
    assert inner_error(dissolve, ((FIRST.astype(int) + LAST + 1) // 2).astype(np.uint8)) < 1

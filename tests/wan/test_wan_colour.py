"""Ends that are exact and that nobody sees coming."""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from kf2v.engines.wan.colour import HELD, Closeness, Ends, delta_e, psnr
from kf2v.video import Frame, Size
from scenery import Held, landscape, plain

SIZE = Size(width=256, height=160)
FRAMES = 81


@cache
def truth(index: int) -> Frame:
    """A camera that moves half a pixel per frame."""
    return landscape(SIZE, shift=0.5 * index)


@cache
def decoded(index: int) -> Frame:
    """What a VAE might make of it: blurred, darker and bluer towards the ends, as its own colours drift."""
    drift = abs(index / (FRAMES - 1) - 0.5) * 2
    soft = np.asarray(cv2.GaussianBlur(truth(index), (0, 0), 1.0), np.float32)
    return np.clip(np.rint(soft + drift * np.array([-12.0, -6.0, 9.0], np.float32)), 0, 255).astype(np.uint8)


def take() -> Iterator[Frame]:
    return (decoded(index) for index in range(FRAMES))


def steps(frames: list[Frame]) -> npt.NDArray[np.float64]:
    """Mean change from each frame to the next, in levels."""
    return np.array([np.abs(a.astype(float) - b).mean() for a, b in pairwise(frames)])


@pytest.fixture(scope="module")
def ends() -> Ends:
    return Ends(truth(0), truth(FRAMES - 1), frames=FRAMES)


@pytest.fixture(scope="module")
def corrected(ends: Ends) -> list[Frame]:
    return list(ends.correct(take()))


@pytest.fixture(scope="module")
def uncorrected() -> list[Frame]:
    return list(Ends(truth(0), truth(FRAMES - 1), frames=FRAMES, drift=False).correct(take()))


@pytest.mark.parametrize("which", ["corrected", "uncorrected"])
def test_both_ends_are_exact_and_none_is_lost(which: str, request: pytest.FixtureRequest) -> None:
    frames: list[Frame] = request.getfixturevalue(which)
    assert len(frames) == FRAMES
    assert np.array_equal(frames[0], truth(0))
    assert np.array_equal(frames[-1], truth(FRAMES - 1))
    assert all(frame.flags.c_contiguous and frame.dtype == np.uint8 for frame in frames)


def test_nothing_jumps_where_replaced_ends_would(corrected: list[Frame]) -> None:
    replaced = [truth(0), *(decoded(index) for index in range(1, FRAMES - 1)), truth(FRAMES - 1)]
    moves = float(np.median(steps([truth(index) for index in range(FRAMES)])))
    assert steps(replaced).max() > 2.0 * moves  # the test can tell
    assert steps(corrected).max() < 1.1 * moves
    assert np.abs(np.diff(steps(corrected))).max() < 0.2 * moves


def test_colours_come_back_far_from_the_ends_too(corrected: list[Frame], uncorrected: list[Frame]) -> None:
    def off(frames: list[Frame], index: int) -> float:
        return float(np.abs((frames[index].astype(float) - truth(index)).mean(axis=(0, 1))).max())

    for index in (6, 12, FRAMES - 7):
        assert off(uncorrected, index) > 8.0 * abs(index / (FRAMES - 1) - 0.5) * 2
        assert off(corrected, index) < 0.5 * off(uncorrected, index)


def test_the_middle_of_a_take_is_nobodys_end(corrected: list[Frame]) -> None:
    for index in range(FRAMES // 2, FRAMES - HELD):
        assert np.array_equal(corrected[index], decoded(index))


def test_switched_off_only_the_frames_next_to_an_end_change(uncorrected: list[Frame]) -> None:
    for index in range(4, FRAMES - 4):
        assert np.array_equal(uncorrected[index], decoded(index))
    for index in (1, FRAMES - 2):
        assert psnr(uncorrected[index], truth(index)) > psnr(decoded(index), truth(index)) + 3


def test_detail_moves_along_with_what_it_belongs_to(corrected: list[Frame]) -> None:
    """Laid on where it was instead, the second frame would be worse than the one that was decoded."""
    moved = truth(1).astype(float)
    stays = decoded(1).astype(float) + 0.75 * (truth(0).astype(float) - decoded(0))
    assert np.abs(corrected[1] - moved).mean() < 0.6 * np.abs(stays - moved).mean()


def test_detail_is_not_lent_to_another_scene() -> None:
    other = plain(SIZE, (30, 90, 160))
    frames = list(Ends(truth(0), other, frames=9, drift=False).correct(iter([decoded(0)] + [other] * 8)))
    assert np.abs(frames[1].astype(int) - other).mean() < 0.5


def test_the_metric_says_what_was_found_before(ends: Ends, corrected: list[Frame]) -> None:
    found = ends.closeness
    assert isinstance(found, Closeness)
    assert found.first_psnr == pytest.approx(psnr(truth(0), decoded(0)))
    assert 20 < found.last_psnr < 35
    assert 5 < found.first_delta_e < 20
    assert 5 < found.last_delta_e < 20


def test_equal_pictures_are_infinitely_close() -> None:
    assert psnr(truth(3), truth(3)) == float("inf")
    assert delta_e(truth(3), truth(3)) == 0.0


def test_black_and_white_are_a_hundred_apart() -> None:
    assert delta_e(plain(SIZE, (0, 0, 0)), plain(SIZE, (255, 255, 255))) == pytest.approx(100, abs=0.1)


def test_a_perfect_take_passes_as_it_is() -> None:
    frames = list(Ends(truth(0), truth(FRAMES - 1), frames=FRAMES).correct(truth(i) for i in range(FRAMES)))
    assert all(np.array_equal(frame, truth(index)) for index, frame in enumerate(frames))


@pytest.mark.parametrize("count", [2, 3, 5, 9, 13])
def test_short_takes_have_exact_ends_too(count: int) -> None:
    frames = list(Ends(truth(0), truth(count - 1), frames=count).correct(decoded(index) for index in range(count)))
    assert len(frames) == count
    assert np.array_equal(frames[0], truth(0))
    assert np.array_equal(frames[-1], truth(count - 1))


def test_frames_pass_as_they_come() -> None:
    held, asked = Held(), 0

    def source() -> Iterator[Frame]:
        nonlocal asked
        for index in range(FRAMES):
            asked = index
            frame = decoded(index).copy()
            held.add(frame)
            yield frame
            del frame

    for passed, frame in enumerate(Ends(truth(0), truth(FRAMES - 1), frames=FRAMES).correct(source())):
        if passed < FRAMES - 1 - HELD:
            assert asked <= passed + HELD
        held.add(frame)
        del frame
    assert held.most <= HELD + 4


def test_a_take_that_ends_early_is_told() -> None:
    with pytest.raises(ValueError, match="before its frame 3"):
        list(Ends(truth(0), truth(8), frames=9).correct(decoded(index) for index in range(3)))


def test_one_frame_has_no_two_ends() -> None:
    with pytest.raises(ValueError, match="two"):
        Ends(truth(0), truth(0), frames=1)

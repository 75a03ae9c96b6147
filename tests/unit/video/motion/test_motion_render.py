from dataclasses import replace

import numpy as np
import pytest

from kf2v.video import Frame
from kf2v.video.motion.correspondence import Correspondence, analyse
from kf2v.video.motion.handover import SPAN
from kf2v.video.motion.render import Renderer
from stage import apart, chroma, cut, flat, luma, psnr, texture

WIDE = texture(5, (300, 480))
#: dB that colour keeps where nothing moves: it is read from a grid of half the size and written on one
CHROMA = 38


def renderer(first: Frame, last: Frame) -> Renderer:
    return Renderer(first, last, analyse(first, last))


def square_at(left: int) -> Frame:
    """A red square with a texture of its own before a grey textured wall that stands still."""
    picture = np.repeat(texture(8).mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2) // 2 + 40
    picture[70:130, left : left + 60] = texture(9, (60, 60)) // 4 + np.array([180, 0, 0], np.uint8)
    return picture


def test_halfway_through_a_pan_is_the_view_from_halfway() -> None:
    halfway = renderer(cut(WIDE, 40, 30), cut(WIDE, 22, 42)).frame(0.5)
    assert np.abs(halfway.astype(int) - cut(WIDE, 31, 36))[20:-20, 30:-30].mean() < 3


def test_a_moving_thing_is_in_one_place_at_a_time_and_keeps_its_shape() -> None:
    middle = renderer(square_at(90), square_at(130)).frame(0.5)
    assert psnr(luma(middle), luma(square_at(110))) > 42
    assert psnr(chroma(middle), chroma(square_at(110))) > 35


def test_what_stands_still_behind_a_moving_thing_stays_still() -> None:
    first, last = square_at(90), square_at(130)
    middle = renderer(first, last).frame(0.5).astype(int)
    assert np.abs(middle - first)[:, :80].mean() < 1.5
    assert np.abs(middle - last)[:, -80:].mean() < 1.5
    assert np.abs(middle - last)[80:120, 92:104].mean() < 12, "uncovered by now: only the last frame knows it"


def test_what_only_the_last_frame_sees_comes_from_it_early() -> None:
    early = renderer(cut(WIDE, 0, 30), cut(WIDE, 80, 30)).frame(0.3).astype(int)
    assert np.abs(early - cut(WIDE, 24, 30))[20:-20, -14:].mean() < 8


def test_light_that_changes_changes_evenly() -> None:
    dark = cut(WIDE, 40, 30) // 2 + 20
    between = renderer(dark, dark + np.uint8(60))
    for position in (0.25, 0.5, 0.75):
        assert between.frame(position).mean() == pytest.approx(dark.mean() + 60 * position, abs=2)


def test_any_position_of_equal_frames_is_that_frame() -> None:
    between = renderer(texture(1), texture(1))
    for position in (0.001, 0.5, 0.999):
        shown = between.frame(position)
        assert np.abs(luma(shown).astype(int) - luma(texture(1))).max() <= 3
        assert psnr(luma(shown), luma(texture(1))) > 55
        assert psnr(chroma(shown), chroma(texture(1))) > CHROMA


@pytest.mark.parametrize("position", [1e-4, 1 - 1e-4])
def test_next_to_an_end_the_picture_is_nearly_that_end(position: float) -> None:
    first, last = texture(1), texture(2)
    near, end = renderer(first, last).frame(position), first if position < 0.5 else last
    assert psnr(luma(near), luma(end)) > 45
    assert psnr(chroma(near), chroma(end)) > CHROMA


def black_to_white(pair: Correspondence) -> Renderer:
    """Shows how much of each place is the last frame's."""
    first, last = (replace(light, others=light.own) for light in (pair.first_light, pair.last_light))
    return Renderer(flat(0), flat(255), replace(pair, first_light=first, last_light=last))


def test_what_one_picture_never_saw_the_other_answers_for_however_little_they_share() -> None:
    world = texture(3, (192, 380))
    pair = analyse(cut(world, 0, 0), cut(world, 60, 0))
    distant = replace(pair, coverage=0.05)
    assert not distant.strange
    revealed = luma(black_to_white(distant).frame(0.3))[16:-16, -12:-4]
    assert revealed.min() > 240


@pytest.fixture(scope="module")
def shares() -> Renderer:
    return black_to_white(analyse(texture(1), texture(2)))


def test_between_strangers_most_places_belong_to_one_picture_at_every_moment(shares: Renderer) -> None:
    for position in np.linspace(0.1, 0.9, 9):
        share = luma(shares.frame(float(position))) / 255
        assert ((share > 0.1) & (share < 0.9)).mean() < 0.2
        assert share.mean() == pytest.approx(np.clip(0.5 + (position - 0.5) / SPAN, 0, 1), abs=0.1)


def test_between_strangers_a_place_changes_hands_once(shares: Renderer) -> None:
    course = np.array([luma(shares.frame(float(position))) for position in np.linspace(0.05, 0.95, 19)], int)
    assert np.diff(course, axis=0).min() > -13, "a twentieth of the way back"


def test_what_is_sure_in_both_is_shown_from_both() -> None:
    """Noise that differs between the frames is averaged out, not switched."""
    pair = analyse(cut(WIDE, 40, 30), cut(WIDE, 22, 42))
    share = luma(black_to_white(pair).frame(0.5))[20:-20, 30:-30] / 255
    assert np.abs(share - 0.5).max() < 0.1


def test_time_may_run_backwards() -> None:
    first, last = square_at(90), square_at(98)
    there, back = renderer(first, last), renderer(last, first)
    for position in (0.2, 0.5):
        assert apart(there.frame(position), back.frame(1 - position)) < 0.5

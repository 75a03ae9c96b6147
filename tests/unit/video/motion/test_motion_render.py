import numpy as np
import pytest

from kf2v.video import Frame
from kf2v.video.motion.correspondence import analyse
from kf2v.video.motion.render import Renderer
from stage import cut, texture

WIDE = texture(5, (300, 480))


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


def test_a_moving_thing_is_in_one_place_at_a_time() -> None:
    middle = renderer(square_at(90), square_at(130)).frame(0.5).astype(int)
    red = (middle[..., 0] - middle[..., 1:].max(axis=2))[80:120].mean(axis=0)
    assert red[112:168].min() > 70
    assert np.abs(red[:104]).max() < 25
    assert np.abs(red[176:]).max() < 25


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
        assert np.abs(between.frame(position).astype(int) - texture(1)).max() <= 1


@pytest.mark.parametrize("position", [1e-4, 1 - 1e-4])
def test_next_to_an_end_the_picture_is_nearly_that_end(position: float) -> None:
    first, last = texture(1), texture(2)
    near = renderer(first, last).frame(position).astype(int)
    assert np.abs(near - (first if position < 0.5 else last)).mean() < 1

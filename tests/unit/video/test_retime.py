from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kf2v.video import Clip, Frame, Size
from kf2v.video.retime import retime
from scenery import Held, clip_of, plain

SIZE = Size(width=16, height=16)


def ramp(count: int, *, fps: float = 16.0) -> Clip:
    """Frame i is as bright as i, times as much as 8 bits allow."""
    step = 255 // max(1, count - 1)
    return clip_of((plain(SIZE, (step * i,) * 3) for i in range(count)), size=SIZE, count=count, fps=fps)


def brightness(clip: Clip) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in clip.frames]


def test_a_clip_of_that_rate_and_number_comes_back_itself() -> None:
    clip = ramp(150, fps=30)
    assert retime(clip) is clip


def test_the_models_eighty_one_frames_become_five_seconds() -> None:
    clip = retime(ramp(81))
    assert (clip.fps, clip.count, clip.size) == (30, 150, SIZE)
    assert len(brightness(clip)) == 150


@settings(deadline=None)
@given(before=st.integers(1, 90), after=st.integers(2, 160))
def test_every_frame_stands_where_its_time_is(before: int, after: int) -> None:
    source = ramp(before)
    step = 255 // max(1, before - 1)
    shown = brightness(retime(source, fps=60, count=after))
    expected = [step * j * (before - 1) / (after - 1) for j in range(after)]
    assert np.abs(np.array(shown) - expected).max() <= 0.5 + 1e-9


@settings(deadline=None)
@given(before=st.integers(1, 60), after=st.integers(2, 160))
def test_what_needs_no_blending_passes_through_untouched(before: int, after: int) -> None:
    frames = [plain(SIZE, (i, 0, 0)) for i in range(before)]
    shown = list(retime(clip_of(frames, size=SIZE, count=before, fps=1), count=after).frames)
    for j, frame in enumerate(shown):
        whole, part = divmod(j * (before - 1), after - 1)
        assert part or frame is frames[whole]
    assert shown[0] is frames[0]
    assert shown[-1] is frames[-1]


def test_a_new_rate_alone_changes_no_frame() -> None:
    frames = [plain(SIZE, (i, 0, 0)) for i in range(150)]
    clip = retime(clip_of(frames, size=SIZE, count=150, fps=24))
    assert clip.fps == 30
    assert all(shown is frame for shown, frame in zip(clip.frames, frames, strict=True))


@pytest.mark.parametrize("count", [7, 81, 400])
def test_no_more_than_two_source_frames_are_held(count: int) -> None:
    held = Held()
    source = held.passing(plain(SIZE, (1, 2, 3)) for _ in range(count))
    for frame in retime(clip_of(source, size=SIZE, count=count, fps=16)).frames:
        del frame
    assert 1 <= held.most <= 2


def test_source_frames_are_asked_for_only_when_they_are_needed() -> None:
    asked: list[int] = []

    def source() -> Iterator[Frame]:
        for i in range(10):
            asked.append(i)
            yield plain(SIZE, (i, i, i))

    frames = retime(clip_of(source(), size=SIZE, count=10, fps=2)).frames
    assert asked == []
    next(frames)
    assert asked == [0]
    next(frames)
    assert asked == [0, 1]


@pytest.mark.parametrize("there", [0, 1, 4, 6, 9])
def test_a_clip_of_another_number_than_it_says_is_found_out(there: int) -> None:
    source = clip_of((plain(SIZE, (0, 0, 0)) for _ in range(there)), size=SIZE, count=5, fps=16)
    with pytest.raises(ValueError, match="ended before its frame" if there < 5 else "goes on after its 5 frames"):
        list(retime(source, count=20).frames)


def test_a_source_that_fails_fails_the_whole() -> None:
    def source() -> Iterator[Frame]:
        yield plain(SIZE, (0, 0, 0))
        raise ArithmeticError("no second frame")

    with pytest.raises(ArithmeticError, match="no second frame"):
        list(retime(clip_of(source(), size=SIZE, count=5, fps=16)).frames)


@pytest.mark.parametrize(("before", "after"), [(0, 150), (81, 1), (81, 0)])
def test_no_time_passes_without_a_first_and_a_last_frame(before: int, after: int) -> None:
    with pytest.raises(ValueError, match="at least one frame should become at least two"):
        retime(clip_of((), size=SIZE, count=before, fps=16), count=after)

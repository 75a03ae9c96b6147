from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kf2v.video import Clip, Frame, Size
from kf2v.video.frames import size_of
from kf2v.video.retime import retime
from scenery import Held, clip_of, landscape, plain
from stage import cut, shifted, texture

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


@settings(deadline=None, max_examples=25)
@given(before=st.integers(1, 90), after=st.integers(2, 160))
def test_every_frame_stands_where_its_time_is(before: int, after: int) -> None:
    source = ramp(before)
    step = 255 // max(1, before - 1)
    shown = brightness(retime(source, fps=60, count=after))
    expected = [step * j * (before - 1) / (after - 1) for j in range(after)]
    assert np.abs(np.array(shown) - expected).max() <= 0.51


@settings(deadline=None, max_examples=25)
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


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [7, 81, 400])
def test_few_source_frames_are_held_however_many_there_are(count: int, threads: int) -> None:
    held = Held()
    source = held.passing(plain(SIZE, (1, 2, 3)) for _ in range(count))
    for frame in retime(clip_of(source, size=SIZE, count=count, fps=16), threads=threads).frames:
        del frame
    assert 1 <= held.most <= 2 * threads + 4


def test_source_frames_are_asked_for_only_when_they_are_needed() -> None:
    asked: list[int] = []

    def source() -> Iterator[Frame]:
        for i in range(10):
            asked.append(i)
            yield plain(SIZE, (i, i, i))

    frames = retime(clip_of(source(), size=SIZE, count=10, fps=2), threads=1).frames
    assert asked == []
    next(frames)
    assert asked == [0, 1]
    next(frames)
    assert asked == [0, 1]


def test_the_number_of_threads_changes_no_byte() -> None:
    def film(threads: int) -> list[bytes]:
        frames = [landscape(SIZE, shift=3 * i) for i in range(5)]
        clip = retime(clip_of(frames, size=SIZE, count=5, fps=16), count=13, threads=threads)
        return [frame.tobytes() for frame in clip.frames]

    assert film(1) == film(4)


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


def test_a_frame_of_another_size_than_the_clip_says_is_found_out() -> None:
    other = Size(width=32, height=16)
    source = clip_of((plain(other if i == 2 else SIZE, (0, 0, 0)) for i in range(5)), size=SIZE, count=5, fps=16)
    with pytest.raises(ValueError, match="frame 2 is"):
        list(retime(source).frames)


@pytest.mark.parametrize(("before", "after"), [(0, 150), (81, 1), (81, 0)])
def test_no_time_passes_without_a_first_and_a_last_frame(before: int, after: int) -> None:
    with pytest.raises(ValueError, match="at least one frame should become at least two"):
        retime(clip_of((), size=SIZE, count=before, fps=16), count=after)


def film(frames: list[Frame], *, fps: float = 16.0) -> Clip:
    return clip_of(frames, size=size_of(frames[0]), count=len(frames), fps=fps)


def pan(count: int, *, step: float = 3.0) -> list[Frame]:
    """A camera that travels ``step`` pixels from frame to frame."""
    return [landscape(Size(width=160, height=96), shift=i * step) for i in range(count)]


def distance(one: Frame, other: Frame) -> float:
    """Mean absolute difference, in grey levels."""
    return float(np.abs(one.astype(int) - other).mean())


def test_what_moves_evenly_is_shown_where_it_would_have_been() -> None:
    true = pan(9, step=2.0)
    inside = np.s_[8:-8, 8:-8]
    for shown, expected in zip(retime(film(true[::2]), count=9).frames, true, strict=True):
        assert distance(shown[inside], expected[inside]) < 1.2
    assert distance(true[0][inside], true[2][inside]) > 10


def test_more_frames_stand_closer_together() -> None:
    shown = list(retime(film(pan(5)), count=13).frames)
    steps = [distance(before, after) for before, after in pairwise(shown)]
    assert steps == pytest.approx([distance(*pan(2, step=1.0))] * 12, rel=0.05)


def test_a_clip_that_stands_still_stays_the_very_same_bytes() -> None:
    picture = texture(1)
    shown = list(retime(film([picture.copy() for _ in range(5)])).frames)
    assert len(shown) == 150
    assert all(np.array_equal(frame, picture) for frame in shown)


def test_a_single_frame_stands_for_the_whole_time() -> None:
    picture = texture(1)
    assert all(frame is picture for frame in retime(film([picture]), count=7).frames)


def test_nothing_of_one_scene_is_seen_in_the_other() -> None:
    wide = texture(1, (192, 400)), texture(2, (192, 400))
    frames = [cut(wide[i // 4], 3 * i, 0) for i in range(8)]
    shown = list(retime(film(frames), count=29).frames)
    across = shown[13:16]
    assert [frame is frames[3] for frame in across] == [True, False, False]
    assert [frame is frames[4] for frame in across] == [False, True, True]


def test_a_flash_is_no_cut() -> None:
    calm = cut(texture(1, (192, 400)), 0, 0)
    flash = np.clip(calm.astype(int) + 70, 0, 255).astype(np.uint8)
    shown = list(retime(film([calm, flash, calm]), count=9).frames)
    levels = [frame.mean() for frame in shown]
    assert levels == pytest.approx(np.interp(range(9), (0, 4, 8), (calm.mean(), flash.mean(), calm.mean())), abs=1)


def test_the_same_frames_give_the_same_bytes() -> None:
    frames = [shifted(texture(3), 4 * i, i) for i in range(4)]
    shown = [np.stack(list(retime(film(frames), count=10).frames)) for _ in range(2)]
    assert np.array_equal(*shown)


@pytest.mark.parametrize("size", [Size(width=16, height=16), Size(width=33, height=17), Size(width=402, height=98)])
def test_frames_of_any_size_keep_it(size: Size) -> None:
    frames = [landscape(size, shift=float(i)) for i in range(3)]
    assert all(size_of(frame) == size for frame in retime(film(frames), count=6).frames)

import threading
from itertools import pairwise

import numpy as np
import pytest
from stage import CallOff, Notebook, cut, flat, scene, texture

from kf2v.engines import Scene
from kf2v.engines.morph import Morph
from kf2v.errors import Canceled
from kf2v.video import Frame

SIZE = (96, 160)
WIDE = texture(5, (150, 240))
PAN = scene(cut(WIDE, 20, 15, SIZE), cut(WIDE, 11, 20, SIZE))


def frames(order: Scene, threads: int = 2) -> list[Frame]:
    return list(Morph(threads).generate(order, Notebook()).frames)


@pytest.fixture(scope="module")
def pan() -> list[Frame]:
    return frames(PAN)


def test_five_seconds_of_frames_of_the_right_shape(pan: list[Frame]) -> None:
    clip = Morph().generate(PAN, Notebook())
    assert (clip.count, clip.fps, clip.size.width, clip.size.height) == (150, 30, SIZE[1], SIZE[0])
    assert len(pan) == 150
    for frame in pan:
        assert (frame.shape, frame.dtype) == ((*SIZE, 3), np.uint8)
        assert frame.flags.c_contiguous


def test_both_ends_are_the_given_frames_pixel_for_pixel(pan: list[Frame]) -> None:
    assert np.array_equal(pan[0], PAN.first)
    assert np.array_equal(pan[-1], PAN.last)


def test_no_frame_jumps_least_of_all_at_the_ends(pan: list[Frame]) -> None:
    steps = np.array([np.abs(b.astype(int) - a).mean() for a, b in pairwise(pan)])
    assert steps.max() < 3 * steps.mean()
    assert steps[0] < 1.5 * steps.mean()
    assert steps[-1] < 1.5 * steps.mean()


def test_two_equal_frames_are_a_still() -> None:
    for frame in frames(scene(PAN.first, PAN.first)):
        assert np.abs(frame.astype(int) - PAN.first).max() <= 1


def test_the_same_scene_gives_the_same_bytes_however_many_threads(pan: list[Frame]) -> None:
    for one, other in zip(pan, frames(PAN, threads=1), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (flat(0, SIZE), flat(255, SIZE)),
        (texture(1, SIZE), texture(2, SIZE)),
        (texture(1, SIZE), texture(1, SIZE)[:, ::-1].copy()),
        (texture(1, (224, 48)), texture(2, (224, 48))),
        (texture(1, (48, 224)), flat(10, (48, 224))),
    ],
    ids=["black to white", "strangers", "mirrored", "tall", "wide"],
)
def test_strangers_still_make_a_film_without_a_jump(first: Frame, last: Frame) -> None:
    made = frames(scene(first, last))
    steps = np.array([np.abs(b.astype(int) - a).mean() for a, b in pairwise(made)])
    assert len(made) == 150
    assert steps.max() < 8 * steps.mean()


def test_progress_goes_from_analysis_to_the_last_frame() -> None:
    notebook = Notebook()
    count = sum(1 for _ in Morph().generate(PAN, notebook).frames)
    for phase in ("analyse", "render"):
        done = [part for name, part in notebook.told if name == phase]
        assert done == sorted(done)
        assert (done[0], done[-1]) == (0.0, 1.0)
    assert [name for name, _ in notebook.told] == sorted(name for name, _ in notebook.told)
    assert sum(name == "render" for name, _ in notebook.told) >= count


@pytest.mark.parametrize("done", [0.0, 0.5, 1.0])
def test_work_called_off_during_analysis_stops(done: float) -> None:
    with pytest.raises(Canceled):
        Morph().generate(PAN, CallOff("analyse", done))


def test_work_called_off_while_rendering_stops_there_and_leaves_no_thread() -> None:
    clip = Morph().generate(PAN, CallOff("render", 0.2))
    seen = 0
    with pytest.raises(Canceled):
        for _ in clip.frames:
            seen += 1
    assert 25 <= seen <= 35
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("morph")]


def test_whoever_writes_on_a_frame_spoils_no_other(pan: list[Frame]) -> None:
    for index, frame in enumerate(Morph().generate(PAN, Notebook()).frames):
        assert np.array_equal(frame, pan[index])
        frame[:] = 0

import threading
from itertools import pairwise

import cv2
import numpy as np
import pytest

from kf2v.engines import Scene
from kf2v.engines.morph import Morph
from kf2v.errors import Canceled
from kf2v.video import Frame
from stage import CallOff, Notebook, apart, chroma, cut, flat, luma, psnr, scene, texture, with_disc

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
    steps = np.array([np.abs(luma(b).astype(int) - luma(a)).mean() for a, b in pairwise(pan)])
    assert steps.max() < 3 * steps.mean()
    assert steps[0] < 1.5 * steps.mean()
    assert steps[-1] < 1.5 * steps.mean()


def test_colour_is_no_softer_next_to_an_end_than_at_it(pan: list[Frame]) -> None:
    steps = np.array([np.abs(chroma(b).astype(int) - chroma(a)).mean() for a, b in pairwise(pan)])
    assert steps.max() < 3 * steps.mean()


def test_a_pan_leaves_the_first_frame_and_nears_the_last_with_every_frame(pan: list[Frame]) -> None:
    since, to_go = ([apart(frame, end) for frame in pan] for end in (PAN.first, PAN.last))
    assert (np.diff(since) > 0).all()
    assert (np.diff(to_go) < 0).all()


@pytest.mark.parametrize(
    ("there", "least"),
    [
        (PAN, 45.0),
        (scene(*(with_disc(texture(1, SIZE) // 2, x, 48, 16) for x in (50, 90))), 28.0),
        (scene(texture(1, SIZE), texture(2, SIZE)), 20.0),
    ],
    ids=["pan", "disc", "strangers"],
)
def test_the_way_back_is_the_way_there(there: Scene, least: float) -> None:
    back = frames(scene(there.last, there.first))
    for one, other in zip(frames(there), reversed(back), strict=True):
        assert psnr(luma(one), luma(other)) > least


@pytest.mark.parametrize(
    "pair", [(PAN.first, PAN.last), (texture(1, SIZE), texture(2, SIZE))], ids=["related", "strangers"]
)
def test_another_seed_makes_other_bytes_of_nearly_the_same_film(pair: tuple[Frame, Frame]) -> None:
    one, other = (frames(scene(*pair, seed=seed)) for seed in (3, 4))
    assert sum(not np.array_equal(a, b) for a, b in zip(one, other, strict=True)) > 100
    assert min(psnr(luma(a), luma(b)) for a, b in zip(one, other, strict=True)) > 40


def test_two_equal_frames_are_a_loop_that_breathes_and_has_no_seam() -> None:
    loop = frames(scene(PAN.first, PAN.first))
    assert np.array_equal(loop[0], PAN.first)
    assert np.array_equal(loop[-1], PAN.first)
    away = np.array([psnr(luma(frame), luma(PAN.first)) for frame in loop[1:-1]])
    assert away.min() < 30, "something moves"
    steps = np.array([np.abs(luma(b).astype(int) - luma(a)).mean() for a, b in pairwise(loop)])
    assert steps[:5].max() < 0.3 * steps.max()
    assert steps[-5:].max() < 0.3 * steps.max()
    assert steps.max() < 4 * steps.mean()


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
def test_strangers_make_a_film_without_a_jump(first: Frame, last: Frame) -> None:
    made = frames(scene(first, last))
    steps = np.array([np.abs(b.astype(int) - a).mean() for a, b in pairwise(made)])
    assert len(made) == 150
    assert steps.max() < 8 * steps.mean()


@pytest.mark.parametrize(
    "shape",
    [(54, 96), (96, 54), (64, 64), (60, 80), (80, 60), (42, 98), (98, 42), (16, 16), (16, 256), (256, 16)],
    ids=str,
)
def test_a_film_has_the_shape_of_its_pictures(shape: tuple[int, int]) -> None:
    related = texture(5, (shape[0] + 8, shape[1] + 8))
    for first, last in (
        (texture(1, shape), texture(2, shape)),
        (cut(related, 0, 0, shape), cut(related, 4, 3, shape)),
    ):
        made = frames(scene(first, last))
        assert {frame.shape for frame in made} == {first.shape}
        assert np.array_equal(made[0], first)
        assert np.array_equal(made[-1], last)
        steps = np.array([apart(b, a) for a, b in pairwise(made)])
        assert steps.max() < 8 * steps.mean()


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_that_others_gave_to_opencv_change_nothing(pan: list[Frame], threads: int) -> None:
    cv2.setNumThreads(threads)
    assert np.array_equal(frames(PAN)[70], pan[70])


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


def test_one_picture_saved_twice_breathes_as_if_it_were_saved_once() -> None:
    first = texture(3)
    saved = np.asarray(cv2.imdecode(cv2.imencode(".jpg", first, [cv2.IMWRITE_JPEG_QUALITY, 90])[1], 1), np.uint8)
    film = frames(scene(first, saved))
    assert (film[-1] == saved).all()
    assert np.median([apart(one, other) for one, other in pairwise(film[2:-2])]) > 0.2


def test_a_small_thing_upside_down_is_no_reason_to_fail_or_to_turn_the_whole_picture() -> None:
    first, last = cv2.GaussianBlur(texture(1), (0, 0), 25), cv2.GaussianBlur(texture(2), (0, 0), 25)
    sticker = texture(9, (80, 64))
    first[60:140, 120:184], last[60:140, 120:184] = sticker, sticker[::-1, ::-1]
    film = frames(scene(np.asarray(first, np.uint8), np.asarray(last, np.uint8)))
    assert len(film) == 150
    assert np.abs(luma(film[30])[:40].astype(int) - luma(np.asarray(first, np.uint8))[:40]).mean() < 40

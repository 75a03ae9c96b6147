"""What is seen between two frames of a clip: known motion is found, what has none is left alone, cuts stay cuts."""

import cv2
import numpy as np
import pytest

from kf2v.video import Frame, Size
from kf2v.video.motion.neighbours import Neighbours
from scenery import landscape, snow
from stage import SIZE, cut, flat, psnr, texture, with_disc

MOMENTS = [0.25, 0.5, 0.8]
#: room for a camera to travel in
WIDE = texture(1, (260, 520))


def moved(picture: Frame, x: float, y: float, zoom: float = 1.0) -> Frame:
    """``picture`` seen ``zoom`` times as large around its middle, and ``x`` and ``y`` pixels further."""
    height, width = picture.shape[:2]
    middle = (width - 1) / 2, (height - 1) / 2
    motion = np.array([[zoom, 0, middle[0] * (1 - zoom) + x], [0, zoom, middle[1] * (1 - zoom) + y]])
    return np.asarray(cv2.warpAffine(picture, motion, (width, height), flags=cv2.INTER_CUBIC), np.uint8)


def disc_in(picture: Frame) -> tuple[float, float]:
    """The middle of everything as red as nothing else is."""
    y, x = np.nonzero(picture[..., 0] > 245)
    return float(x.mean()), float(y.mean())


@pytest.mark.parametrize("t", MOMENTS)
@pytest.mark.parametrize(("x", "y"), [(2, 0), (-7, 3), (16, -20)])
def test_a_camera_that_travels_is_where_it_should_be(x: int, y: int, t: float) -> None:
    first, last = (cut(moved(WIDE, x * at, y * at), 100, 30) for at in (0, 1))
    shown, true = Neighbours(first, last).between(t), cut(moved(WIDE, x * t, y * t), 100, 30)
    inside = np.s_[24:-24, 24:-24]
    astray, _ = cv2.phaseCorrelate(*(p[inside].mean(axis=2, dtype=np.float32) for p in (true, shown)))
    assert np.abs(astray).max() < 0.1
    assert psnr(shown[inside], true[inside]) > 33


@pytest.mark.parametrize("t", MOMENTS)
def test_a_camera_that_comes_closer_is_where_it_should_be(t: float) -> None:
    first, last, true = (cut(moved(WIDE, 0, 0, 1 + 0.08 * at), 100, 30) for at in (0, 1, t))
    shown = Neighbours(first, last).between(t)
    assert psnr(shown[8:-8, 8:-8], true[8:-8, 8:-8]) > 33


@pytest.mark.parametrize("t", MOMENTS)
@pytest.mark.parametrize("way", [8, 42])
def test_a_disc_crosses_a_scene_that_stays_as_it_is(way: int, t: float) -> None:
    scene = texture(1) // 2
    first, last, true = (with_disc(scene, 120 + way * at, 96) for at in (0, 1, t))
    shown = Neighbours(first, last).between(t)
    assert disc_in(shown) == pytest.approx(disc_in(true), abs=0.5)
    assert psnr(shown, true) > 26
    far = np.s_[:, 220:]
    assert psnr(shown[far], scene[far]) > 45


def test_a_camera_swept_round_cuts_nothing() -> None:
    wide = texture(4, SIZE)
    wide = np.asarray(cv2.resize(wide, (960, 576), interpolation=cv2.INTER_CUBIC), np.uint8)
    first, last, true = (cut(wide, left, 100) for left in (100, 196, 148))
    pair = Neighbours(first, last)
    assert not pair.parted
    assert psnr(pair.between(0.5)[:, 60:-60], true[:, 60:-60]) > 30


@pytest.mark.parametrize("gain", [0.5, 1.5])
def test_light_that_changes_cuts_nothing_and_changes_evenly(gain: float) -> None:
    first = texture(1) // 2
    last = np.asarray(first * gain, np.uint8)
    pair = Neighbours(first, last)
    assert not pair.parted
    assert psnr(pair.between(0.5), np.asarray(first * (1 + gain) / 2, np.uint8)) > 38


@pytest.mark.parametrize(
    "other", [texture(2), np.ascontiguousarray(texture(1)[:, ::-1]), landscape(Size(width=320, height=192))]
)
def test_of_two_scenes_the_nearer_frame_is_shown(other: Frame) -> None:
    """Also of two that have the very same colours."""
    first = texture(1)
    pair = Neighbours(first, other)
    assert pair.parted
    assert pair.between(0.49) is first
    assert pair.between(0.5) is other


@pytest.mark.parametrize("t", MOMENTS)
def test_without_anything_to_recognise_one_grey_becomes_the_other(t: float) -> None:
    pair = Neighbours(flat(40), flat(200))
    assert not pair.parted
    assert np.abs(pair.between(t).astype(int) - (40 + 160 * t)).max() <= 1


def test_what_stays_as_it_is_passes_untouched() -> None:
    first = texture(1)
    assert Neighbours(first, first.copy()).between(0.3) is first


def test_time_may_run_backwards() -> None:
    first, last = (with_disc(cut(WIDE, left, 30), 2 * left, 96) for left in (70, 76))
    one, other = Neighbours(first, last).between(0.3), Neighbours(last, first).between(0.7)
    assert psnr(one, other) > 40


def test_threads_that_others_gave_to_opencv_change_nothing() -> None:
    first, last = cut(WIDE, 100, 30), cut(WIDE, 109, 34)
    shown: list[Frame] = []
    for threads in (1, 4):
        cv2.setNumThreads(threads)
        shown.append(Neighbours(first, last).between(0.4))
    assert np.array_equal(*shown)


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (17, 31), (16, 640), (301, 33)])
def test_pictures_of_any_shape_have_something_in_between(shape: tuple[int, int]) -> None:
    height, width = shape
    first, last = (landscape(Size(width=width, height=height), shift=float(shift)) for shift in (0, 1))
    shown = Neighbours(first, last).between(0.5)
    assert (shown.shape, shown.dtype) == (first.shape, first.dtype)
    assert psnr(shown, first) > 20


@pytest.mark.parametrize("other", [snow(Size(width=320, height=192)), flat(0), flat(255)])
def test_what_has_nothing_in_common_with_a_frame_breaks_nothing(other: Frame) -> None:
    """Numbers that are none would be warned of, and a warning is an error here."""
    for first, last in ((texture(1), other), (other, texture(1))):
        assert Neighbours(first, last).between(0.5).shape == first.shape

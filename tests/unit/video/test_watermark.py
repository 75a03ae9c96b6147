from typing import get_args

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from kf2v.video import Size
from kf2v.video.size import output_size
from kf2v.video.watermark import Text, Watermark
from scenery import landscape, plain

TEXTS = get_args(Text)
#: 480P to 1080P, landscape and portrait, and the narrowest portrait that frames of 360 to 2000 pixels lead to
SIZES = [
    output_size(width, height, area)
    for width, height, area in (
        (1920, 1080, 832 * 480),
        (1080, 1920, 832 * 480),
        (360, 2000, 832 * 480),
        (750, 1000, 1280 * 720),
        (1920, 1080, 1920 * 1080),
    )
]
GREYS = [0, 128, 200, 255]


def touched(text: Text, size: Size, grey: int = 128) -> npt.NDArray[np.bool_]:
    """Which pixels the mark changes."""
    frame = plain(size, (grey,) * 3)
    return (Watermark(text, size).apply(frame) != frame).any(axis=2)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_mark_keeps_to_the_bottom_right_and_off_the_edges(text: Text, size: Size) -> None:
    ys, xs = np.nonzero(touched(text, size))
    short = min(size.width, size.height)
    assert ys.min() > size.height * 0.85
    assert xs.min() > size.width * 0.3
    assert 0 < size.height - ys.max() < short * 0.06
    assert 0 < size.width - xs.max() < short * 0.06


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("grey", GREYS)
def test_the_mark_stands_out_on_light_and_on_dark(text: Text, size: Size, grey: int) -> None:
    frame = plain(size, (grey,) * 3)
    marked = Watermark(text, size).apply(frame)[touched(text, size)].astype(int)
    assert np.percentile(marked, 95) - np.percentile(marked, 5) > 60


@pytest.mark.parametrize("text", TEXTS)
def test_the_picture_shows_through(text: Text) -> None:
    size = SIZES[0]
    dark, light = (Watermark(text, size).apply(plain(size, (grey,) * 3)).astype(int) for grey in (0, 255))
    assert (light - dark)[touched(text, size)].min() > 20


@pytest.mark.parametrize("text", TEXTS)
def test_the_mark_grows_with_the_video(text: Text) -> None:
    heights = []
    for tier in (Size(width=832, height=480), Size(width=1280, height=720), Size(width=1920, height=1072)):
        rows = np.nonzero(touched(text, tier).any(axis=1))[0]
        heights.append((rows.max() - rows.min() + 1) / tier.height)
    assert max(heights) == pytest.approx(min(heights), rel=0.08)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_letters_are_at_least_twenty_pixels_high(size: Size) -> None:
    rows = np.nonzero(touched("AI生成", size, grey=0).any(axis=1))[0]
    assert rows.max() - rows.min() + 1 >= 20


def test_the_two_texts_are_two_different_marks() -> None:
    size = SIZES[0]
    english, chinese = (touched(text, size).sum() for text in TEXTS)
    assert english > chinese > 0


def test_each_mark_has_as_many_letters_as_its_text() -> None:
    size = Size(width=1920, height=1072)
    for text, letters in (("AI生成", 4), ("AI-generated", 12)):
        ink = Watermark(text, size).apply(plain(size, (0, 0, 0)))[..., 0] > 128
        assert columns_of_ink(ink) == letters


def columns_of_ink(ink: npt.NDArray[np.bool_]) -> int:
    """How many groups of columns have ink in them."""
    columns = ink.any(axis=0).astype(np.int8)
    return int((np.diff(columns, prepend=0) == 1).sum())


def test_the_frame_itself_stays_as_it_was() -> None:
    size = SIZES[0]
    frame = landscape(size)
    before = frame.copy()
    marked = Watermark("AI-generated", size).apply(frame)
    assert np.array_equal(frame, before)
    assert marked is not frame
    assert marked.dtype == np.uint8
    assert marked.flags.c_contiguous


def test_the_rest_of_the_frame_stays_as_it_was() -> None:
    size = SIZES[0]
    frame = landscape(size)
    marked = Watermark("AI-generated", size).apply(frame)
    outside = ~cv2.dilate(touched("AI-generated", size).astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    assert np.array_equal(marked[outside], frame[outside])


@pytest.mark.parametrize("size", [Size(width=16, height=16), Size(width=1600, height=16), Size(width=16, height=1600)])
def test_even_a_stamp_can_be_marked(size: Size) -> None:
    assert touched("AI-generated", size).any()


def test_a_frame_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="64x48 pixels"):
        Watermark("AI生成", SIZES[0]).apply(plain(Size(width=64, height=48), (0, 0, 0)))

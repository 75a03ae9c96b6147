"""A contact sheet shows the frames it says, and its curves show what went wrong and where."""

from collections.abc import Callable
from math import inf
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from kf2v.video import Frame, Size, mp4, sheet
from scenery import Held, clip_of, landscape, plain, snow

SIZE = Size(width=160, height=96)
#: soft, so that a step of two pixels changes little and a leap much
WIDE = cv2.GaussianBlur(landscape(Size(width=400, height=96)), (0, 0), 2)


def travelled(pixels: int) -> Frame:
    return np.ascontiguousarray(WIDE[:, pixels : pixels + SIZE.width])


def filmed(path: Path, frame: Callable[[int], Frame], count: int, size: Size = SIZE) -> Path:
    mp4.write(path, clip_of((frame(index) for index in range(count)), size=size, count=count))
    return path


def surveyed(path: Path, tiles: int = 12, width: int = 64, **ends: Frame) -> sheet.Survey:
    return sheet.survey(path, sheet.read_facts(path), tiles=tiles, width=width, **ends)


@pytest.mark.parametrize(
    ("count", "frames", "indices"),
    [(2, 150, [0, 149]), (4, 10, [0, 3, 6, 9]), (12, 3, [0, 1, 2]), (5, 5, [0, 1, 2, 3, 4]), (12, 1, [0])],
)
def test_frames_are_evenly_spaced_and_both_ends_are_among_them(count: int, frames: int, indices: list[int]) -> None:
    assert sheet.evenly(count, frames) == indices


def test_a_tile_shows_the_frame_it_is_labelled_with(tmp_path: Path) -> None:
    film = filmed(tmp_path / "stairs.mp4", lambda index: plain(SIZE, (8 * index,) * 3), 30)
    tiles = surveyed(film, tiles=7).tiles
    assert [tile.index for tile in tiles] == [0, 5, 10, 14, 19, 24, 29]
    for tile in tiles:
        assert tile.picture.shape == (38, 64, 3)
        assert tile.picture.mean() == pytest.approx(8 * tile.index, abs=3)


def test_every_tile_lies_on_the_sheet_where_the_grid_says(tmp_path: Path) -> None:
    colours = [(220, 40, 40), (40, 220, 40), (40, 40, 220), (220, 220, 40), (220, 40, 220)]
    film = filmed(tmp_path / "colours.mp4", lambda index: plain(SIZE, colours[index]), 5)
    layout = sheet.arrange(sheet.read_facts(film), tiles=5, width=300, columns=2)
    drawn = sheet.draw(surveyed(film, 5, 300), layout, title="colours.mp4")
    height, width = drawn.shape[:2]
    assert (layout.columns, layout.rows, width) == (2, 3, layout.width)
    top = height - layout.height
    for place, colour in enumerate(colours):
        across, down = place % 2 * 308 + 8 + 150, top + place // 2 * (180 + 28) + 90
        assert np.abs(drawn[down, across].astype(int) - colour).max() < 16


def test_a_stop_a_flash_and_a_jump_show_in_the_curves_where_they_are(tmp_path: Path) -> None:
    def frame(index: int) -> Frame:
        if index == 40:
            return (travelled(80) * 0.95).astype(np.uint8)
        moved = 20 if 10 <= index < 20 else index + (60 if index >= 50 else 0)
        return travelled(2 * moved if moved < 120 else 239)

    seen = surveyed(filmed(tmp_path / "faults.mp4", frame, 60))
    assert (len(seen.changes), len(seen.flickers)) == (59, 58)
    usual = float(np.median(seen.changes))
    assert max(seen.changes[index - 1] for index in range(12, 20)) < 0.25 * usual
    assert int(np.argmax(seen.changes)) + 1 == 50
    pops = {index + 1 for index, value in enumerate(seen.flickers) if value > 2 * float(np.median(seen.flickers))}
    assert {40, 49, 50} <= pops
    assert pops.isdisjoint(range(25, 39))


def test_ends_are_measured_against_the_pictures_as_the_pipeline_fits_them(tmp_path: Path) -> None:
    film = filmed(tmp_path / "film.mp4", travelled, 30)
    large = landscape(Size(width=640, height=480))
    seen = surveyed(film, first=travelled(0), last=large)
    assert seen.psnr_first is not None
    assert seen.psnr_last is not None
    assert seen.psnr_first > 40 > seen.psnr_last > 5
    assert surveyed(film).psnr_first is None


def test_luma_psnr_is_that_of_bt_709() -> None:
    grey = plain(SIZE, (100, 100, 100))
    assert sheet.luma_psnr(grey, grey) == inf
    assert sheet.luma_psnr(grey, plain(SIZE, (110, 100, 100))) == pytest.approx(20 * np.log10(255 / 2.126))


def test_a_walk_holds_a_few_frames_however_long_the_film_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = filmed(tmp_path / "film.mp4", travelled, 60)
    held, read = Held(), mp4.read_frames
    monkeypatch.setattr(mp4, "read_frames", lambda path: held.passing(read(path)))
    surveyed(film, tiles=60)
    assert 1 <= held.most <= 3


def test_a_film_that_breaks_off_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = filmed(tmp_path / "whole.mp4", lambda index: snow(SIZE, seed=index), 60)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    seen = surveyed(broken, tiles=6)
    assert 1 < seen.decoded < 60
    assert seen.tiles[0].index == 0
    assert seen.tiles[-1].index == seen.decoded - 1
    assert len(seen.changes) == seen.decoded - 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_moment_has_a_sheet_too(tmp_path: Path, count: int) -> None:
    size = Size(width=32, height=48)
    film = filmed(tmp_path / "short.mp4", lambda index: plain(size, (90 * index,) * 3), count, size)
    layout = sheet.arrange(sheet.read_facts(film), tiles=12, width=16)
    assert (layout.columns, layout.rows) == (count, 1)
    drawn = sheet.draw(surveyed(film, 12, 16), layout, title="首帧" * 100)
    assert drawn.shape[1] == layout.width
    assert drawn.shape[0] > layout.height


@pytest.mark.parametrize(("size", "columns"), [((832, 480), 4), ((480, 832), 6), ((624, 624), 6)])
def test_a_sheet_is_wide_and_full_whatever_the_video_s_shape(size: tuple[int, int], columns: int) -> None:
    layout = sheet.arrange(facts(*size), tiles=12, width=160)
    assert (layout.columns, layout.columns * layout.rows) == (columns, 12)


def test_a_sheet_that_no_file_could_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer or smaller"):
        sheet.arrange(facts(1920, 1088), tiles=150, width=4096)


def facts(width: int, height: int) -> mp4.Facts:
    return mp4.Facts(
        codec="h264",
        profile="High",
        pixel_format="yuv420p",
        width=width,
        height=height,
        fps=30.0,
        steady=True,
        frames=150,
        duration=5.0,
        primaries=1,
        transfer=1,
        matrix=1,
        full_range=False,
        faststart=True,
        has_audio=False,
    )


@pytest.mark.parametrize("content", [b"", b"no video at all", b"\0\0\0\x18ftypisom\0\0\0\0isommp42"])
def test_what_is_no_video_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "thing.mp4"
    path.write_bytes(content)
    with pytest.raises(sheet.NoVideo):
        sheet.read_facts(path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(path, "w") as container:
        sound = container.add_stream("aac", rate=48000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48000
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    with pytest.raises(sheet.NoVideo, match="no picture track"):
        sheet.read_facts(path)


def test_a_missing_file_is_an_error_of_the_file_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sheet.read_facts(tmp_path / "nowhere.mp4")


def test_bytes_that_look_like_a_huge_box_are_no_index(tmp_path: Path) -> None:
    odd = tmp_path / "raw.h264"
    odd.write_bytes(b"\x00\x00\x00\x01\x67\x42\x00\x1e" + b"\xff" * 64)
    with pytest.raises(sheet.NoVideo):
        sheet.read_facts(odd)

"""A contact sheet: a video on one picture, so that jumps, freezes and flicker show at a glance.

Top down: the file's facts, a grid of evenly spaced frames, and a strip of two curves over all frames. ``change`` is
how far a frame is from the one before it; ``flicker`` is how far it stands off the mean of its two neighbours, which
even motion keeps low and every pop lifts. Both are mean absolute differences in grey levels (0 … 255) over R'G'B'.
Knows no engine and no server.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, log, log10
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from kf2v.video import mp4
from kf2v.video.frames import Frame, Size, fit, size_of

#: long side of the pictures that the curves are measured on: sees objects move, not the encoder's noise
MEASURED_AT = 160
#: pixels; JPEG ends at 65,535 on a side, and 100 million take 300 MB while they are drawn
MOST_SIDE, MOST_PIXELS = 65_500, 100_000_000

#: width to height of the grid, where nobody says how many columns it has
RATIO = 2.0

_GAP, _TEXT, _LINE, _STRIP = 8, 14, 20, 96
#: no sheet is narrower: the facts need room
_LEAST_WIDTH = 520
_BACK, _WELL, _WHITE, _GREY = (24, 24, 28), (36, 36, 42), (235, 235, 235), (150, 150, 156)
_CHANGE, _FLICKER = (96, 180, 255), (255, 150, 80)

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

_LUMA = np.array([0.2126, 0.7152, 0.0722])


class NoVideo(Exception):
    """The file cannot be looked at: it is no video, it is empty, or nothing in it can be decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One frame of the grid."""

    #: 0 is the first frame
    index: int
    picture: Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What one walk through a video saw."""

    facts: mp4.Facts
    #: of the file
    bytes: int
    #: frames that could be decoded; fewer than ``facts.frames`` where the file is damaged
    decoded: int
    tiles: tuple[Tile, ...]
    #: of frame 1, 2, …: mean absolute difference to the frame before
    changes: tuple[float, ...]
    #: of frame 1, 2, … and the last but one: mean absolute difference to the mean of both neighbours
    flickers: tuple[float, ...]
    #: luma PSNR in dB against the picture that should be there, ``inf`` if it is; None where none was given
    psnr_first: float | None = None
    psnr_last: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things lie on a sheet, in pixels."""

    columns: int
    rows: int
    tile: Size
    #: the whole sheet without its facts, whose lines follow from their words
    width: int
    height: int


def arrange(facts: mp4.Facts, *, tiles: int, width: int, columns: int | None = None) -> Layout:
    """A grid for ``tiles`` frames, each ``width`` pixels wide, or as many as the video has.

    Without ``columns`` the grid becomes about twice as wide as high, with few empty places. Raises ValueError if the
    sheet would be larger than an image file may be.
    """
    count = max(1, min(tiles, facts.frames))
    tile = Size(width=width, height=max(1, round(width * facts.height / facts.width)))
    columns = _columns(count, tile) if columns is None else min(columns, count)
    rows = -(-count // columns)
    whole = max(_LEAST_WIDTH, columns * (tile.width + _GAP) + _GAP)
    height = rows * (tile.height + _LINE + _GAP) + _STRIP + _LINE + 2 * _GAP
    if max(whole, height) > MOST_SIDE or whole * height > MOST_PIXELS:
        raise ValueError(f"the sheet would be {whole}x{height} pixels; fewer or smaller frames would do")
    return Layout(columns=columns, rows=rows, tile=tile, width=whole, height=height)


def _columns(count: int, tile: Size) -> int:
    def unfit(columns: int) -> float:
        rows = -(-count // columns)
        ratio = columns * tile.width / (rows * (tile.height + _LINE))
        return abs(log(ratio / RATIO)) + 2 * (columns * rows - count) / count

    return min(range(1, count + 1), key=unfit)


def evenly(count: int, frames: int) -> list[int]:
    """``count`` of the indices 0 … ``frames`` - 1, the first and the last among them; all if there are no more."""
    if count >= frames:
        return list(range(frames))
    return [round(place * (frames - 1) / (count - 1)) for place in range(count)] if count > 1 else [0]


def read_facts(path: Path) -> mp4.Facts:
    """The facts of a file that may be anything. Raises OSError if it cannot be read and NoVideo if it is no video."""
    try:
        with path.open("rb"):
            facts = mp4.facts(path)
    except mp4.CodecError as error:
        raise NoVideo(f"it is no video ({_reason(error)})") from error
    except (IndexError, AttributeError) as error:  # PyAV gives a track that it cannot make out no codec context
        raise NoVideo("there is no picture track in it") from error
    if facts.frames < 1 or min(facts.width, facts.height) < 1:
        raise NoVideo("there are no frames in it")
    return facts


def survey(
    path: Path, facts: mp4.Facts, *, tiles: int, width: int, first: Frame | None = None, last: Frame | None = None
) -> Survey:
    """Walk once through the video at ``path``, keeping three small frames and the tiles.

    ``first`` and ``last``, of any size, are what its ends should show; they are fitted to it as the pipeline does.
    A file that breaks off is surveyed as far as it goes. Raises NoVideo if not one frame can be decoded.
    """
    wanted = set(evenly(tiles, facts.frames))
    kept: list[Tile] = []
    meter = _Meter()
    opening: Frame | None = None
    ending: Frame | None = None
    index = -1
    try:
        for index, frame in enumerate(mp4.read_frames(path)):
            opening = frame if opening is None else opening
            frame = fit(frame, size_of(opening))  # a stream may change its size on the way
            ending = frame
            meter.see(frame)
            if index in wanted:
                kept.append(Tile(index=index, picture=_scaled(frame, width)))
    except mp4.CodecError as error:
        if ending is None:
            raise NoVideo(f"its frames cannot be decoded ({_reason(error)})") from error
    if opening is None or ending is None:
        raise NoVideo("none of its frames can be decoded")
    if kept[-1].index != index:
        kept = [*kept[: len(wanted) - 1], Tile(index=index, picture=_scaled(ending, width))]
    return Survey(
        facts=facts,
        bytes=path.stat().st_size,
        decoded=index + 1,
        tiles=tuple(kept),
        changes=tuple(meter.changes),
        flickers=tuple(meter.flickers),
        psnr_first=None if first is None else luma_psnr(opening, fit(first, size_of(opening))),
        psnr_last=None if last is None else luma_psnr(ending, fit(last, size_of(ending))),
    )


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()


def _scaled(frame: Frame, width: int) -> Frame:
    """``frame`` ``width`` pixels wide."""
    size = size_of(frame)
    height = max(1, round(width * size.height / size.width))
    kernel = cv2.INTER_AREA if width < size.width else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(frame, (width, height), interpolation=kernel), dtype=np.uint8)


class _Meter:
    """Both curves, from frames as they pass; remembers two of them at ``MEASURED_AT``."""

    def __init__(self) -> None:
        self.changes: list[float] = []
        self.flickers: list[float] = []
        self._passed: list[npt.NDArray[np.float32]] = []

    def see(self, frame: Frame) -> None:
        """The next frame."""
        small = _small(frame)
        if self._passed:
            self.changes.append(float(np.abs(small - self._passed[-1]).mean()))
        if len(self._passed) == 2:
            before, between = self._passed
            self.flickers.append(float(np.abs(between - (before + small) / 2).mean()))
        self._passed = [*self._passed[-1:], small]


def _small(frame: Frame) -> npt.NDArray[np.float32]:
    size = size_of(frame)
    scale = min(1.0, MEASURED_AT / max(size.width, size.height))
    shape = (max(1, round(size.width * scale)), max(1, round(size.height * scale)))
    return np.asarray(cv2.resize(frame.astype(np.float32), shape, interpolation=cv2.INTER_AREA), dtype=np.float32)


def luma_psnr(shown: Frame, wanted: Frame) -> float:
    """dB between the lumas (BT.709) of two frames of one size; ``inf`` if they are equal."""
    error = float(np.mean(((shown.astype(np.float64) - wanted) @ _LUMA) ** 2))
    return inf if error == 0 else 10 * log10(255**2 / error)


def draw(seen: Survey, layout: Layout, *, title: str) -> Frame:
    """The sheet. ``title`` goes above the facts; its characters beyond ASCII become question marks."""
    font = ImageFont.load_default(_TEXT)
    facts = [*_lines([title], layout.width, font), *_lines(_words(seen), layout.width, font)]
    top = len(facts) * _LINE + _GAP
    sheet = Image.new("RGB", (layout.width, layout.height + top), _BACK)
    pen = ImageDraw.Draw(sheet)
    for number, line in enumerate(facts):
        pen.text((_GAP, _GAP // 2 + number * _LINE), line, font=font, fill=_WHITE if number == 0 else _GREY)
    for place, tile in enumerate(seen.tiles):
        row, column = divmod(place, layout.columns)
        left = _GAP + column * (layout.tile.width + _GAP)
        upper = top + row * (layout.tile.height + _LINE + _GAP)
        sheet.paste(Image.fromarray(tile.picture).resize((layout.tile.width, layout.tile.height)), (left, upper))
        label = _label(tile.index, seen.facts.fps, layout.tile.width, font)
        pen.text((left, upper + layout.tile.height + 1), label, font=font, fill=_GREY)
    _draw_strip(pen, seen, font, (_GAP, sheet.height - _STRIP - _LINE - _GAP, layout.width - _GAP, sheet.height - _GAP))
    return np.asarray(sheet, dtype=np.uint8)


def _words(seen: Survey) -> list[str]:
    facts = seen.facts
    words = [
        f"{facts.width}x{facts.height}",
        f"{facts.fps:g} fps{'' if facts.steady else ' (uneven)'}",
        f"{facts.frames} frames" if seen.decoded == facts.frames else f"{seen.decoded} of {facts.frames} frames",
        f"{facts.duration:.2f} s",
        f"{facts.codec} {facts.profile} {facts.pixel_format}",
        f"{seen.bytes:,} bytes",
    ]
    ends = (("first", seen.psnr_first), ("last", seen.psnr_last))
    return words + [f"{end} frame {_decibels(psnr)}" for end, psnr in ends if psnr is not None]


def _decibels(psnr: float) -> str:
    return "exact" if psnr == inf else f"{psnr:.1f} dB"


def _lines(words: Iterable[str], width: int, font: Font) -> list[str]:
    """``words`` in as few lines as fit; a word that is wider than the sheet is cut."""
    lines: list[str] = []
    for word in words:
        word = word.encode("ascii", "replace").decode()
        while font.getlength(word) > width - 2 * _GAP:
            word = word[:-1]
        longer = f"{lines[-1]}  \N{MIDDLE DOT}  {word}" if lines else word
        if lines and font.getlength(longer) <= width - 2 * _GAP:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _label(index: int, fps: float, width: int, font: Font) -> str:
    """Number and time of a frame, as much of it as fits under its tile."""
    full = f"#{index}  {index / fps:.2f} s" if fps > 0 else f"#{index}"
    return full if font.getlength(full) <= width else f"#{index}"


def _draw_strip(pen: ImageDraw.ImageDraw, seen: Survey, font: Font, box: tuple[int, int, int, int]) -> None:
    """Both curves over the frames, the tiles' places as ticks, and under them what they are and how high they go."""
    left, upper, right, _ = box
    lower = upper + _STRIP
    pen.rectangle((left, upper, right, lower), fill=_WELL)
    most = max([*seen.changes, *seen.flickers, 1e-6])
    step = (right - left) / max(1, seen.decoded - 1)
    for tile in seen.tiles:
        across = left + tile.index * step
        pen.line((across, lower - 5, across, lower), fill=_GREY)
    curves = (("change", seen.changes, _CHANGE), ("flicker", seen.flickers, _FLICKER))
    across = left
    for name, values, colour in curves:
        rise = (_STRIP - 8) / most
        points = [(left + place * step, lower - 3 - rise * value) for place, value in enumerate(values, 1)]
        pen.line(points, fill=colour, width=1)
        words = f"{name} {_peak(values)}" if values else name
        if across + font.getlength(words) <= right:
            pen.text((across, lower + 3), words, font=font, fill=colour)
        across += font.getlength(words) + 3 * _GAP


def _peak(values: Sequence[float]) -> str:
    return f"mean {sum(values) / len(values):.2f}, peak {max(values):.2f} at #{values.index(max(values)) + 1}"


def save(sheet: Frame, path: Path) -> None:
    """Write ``sheet`` as PNG, or as JPEG where ``path`` ends in ``.jpg`` or ``.jpeg``. Raises OSError."""
    if path.suffix.lower() in (".jpg", ".jpeg"):
        Image.fromarray(sheet).save(path, format="JPEG", quality=90, subsampling=0)
    else:
        Image.fromarray(sheet).save(path, format="PNG", optimize=True)

"""``kf2v inspect``: a video on one picture, and its numbers."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kf2v.cli.destination import destination, whole_file
from kf2v.cli.exits import Exit
from kf2v.cli.frames import local_file
from kf2v.cli.terminal import CommandFailed, give_json, give_path, say

if TYPE_CHECKING:
    from kf2v.video import Frame
    from kf2v.video.mp4 import Facts
    from kf2v.video.sheet import Layout, Survey

SUFFIXES = (".png", ".jpg", ".jpeg")

#: a command's own ``--json``: these numbers are no part of the API
AsJson = Annotated[bool, typer.Option("--json", help="Print facts and numbers; without -o, draw nothing.")]


def inspect(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="PNG or JPEG by suffix, or a directory [default: VIDEO's name.sheet.png]."),
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="How many, evenly spaced; the first and the last always.")] = 12,
    columns: Annotated[int | None, typer.Option(min=1, help="Frames side by side [default: a wide sheet].")] = None,
    width: Annotated[int, typer.Option(min=16, max=4096, help="Of one frame on the sheet, in pixels.")] = 320,
    first: Annotated[str | None, typer.Option(metavar="FILE", help="The picture it should begin with.")] = None,
    last: Annotated[str | None, typer.Option(metavar="FILE", help="The picture it should end with.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw a video's contact sheet: its facts, evenly spaced frames and the change from frame to frame.

    Prints the path of the sheet.
    With --first and --last it also measures how exact both ends are.
    """
    path = None if as_json and output is None else _sheet_file(output, video)
    if path is not None and any(_same(path, given) for given in (video, first, last)):
        raise CommandFailed("Usage", f"{path} would be overwritten, and it is what should be looked at")
    from kf2v.video import sheet

    given = (_picture(first), _picture(last))
    try:
        facts = sheet.read_facts(video)
        layout = _layout(facts, frames=frames, width=width, columns=columns)
        seen = sheet.survey(video, facts, tiles=frames, width=width, first=given[0], last=given[1])
    except (OSError, sheet.NoVideo) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise CommandFailed("Usage", f"{video} cannot be inspected: {reason}") from error
    if seen.decoded < facts.frames:
        say(f"{video} is damaged: {seen.decoded} of its {facts.frames} frames can be decoded")
    if path is not None:
        with whole_file(path) as part:
            sheet.save(sheet.draw(seen, layout, title=video.name), part)
    if as_json:
        give_json(_numbers(seen, path))
    elif path is not None:
        for end, psnr in (("first", seen.psnr_first), ("last", seen.psnr_last)):
            if psnr is not None:
                say(f"{end} frame: " + (f"luma PSNR {psnr:.2f} dB" if isfinite(psnr) else "exact"))
        give_path(path)


def _sheet_file(output: Path | None, video: Path) -> Path:
    """Where the sheet goes. Raises CommandFailed if nothing can be written there, or nothing of that suffix."""
    path = destination(output, f"{video.stem}.sheet.png")
    if path.suffix.lower() not in SUFFIXES:
        raise CommandFailed("Usage", f"a sheet should end in {', '.join(SUFFIXES)}, but got {path.name!r}")
    return path


def _same(path: Path, given: str | Path | None) -> bool:
    return given is not None and path.exists() and Path(given).exists() and path.samefile(given)


def _picture(given: str | None) -> Frame | None:
    """The frame in a file. Raises CommandFailed if there is none, or if no video could begin or end with it."""
    if given is None:
        return None
    from kf2v.errors import FrameError
    from kf2v.pipeline.prepare import decode

    file = local_file(given)
    try:
        return decode(file.read_bytes())
    except OSError as error:
        raise CommandFailed("Usage", f"{file} cannot be read: {error.strerror or error}") from error
    except FrameError as error:
        raise CommandFailed(error.code, f"{file}: {error.message}", exit=Exit.USAGE) from error


def _layout(facts: Facts, *, frames: int, width: int, columns: int | None) -> Layout:
    from kf2v.video.sheet import arrange

    try:
        return arrange(facts, tiles=frames, width=width, columns=columns)
    except ValueError as error:
        raise CommandFailed("Usage", str(error)) from error


def _numbers(seen: Survey, path: Path | None) -> dict[str, Any]:
    """What was measured, as JSON can carry it: an exact end has no dB."""
    numbers: dict[str, Any] = {
        "facts": asdict(seen.facts),
        "bytes": seen.bytes,
        "decoded": seen.decoded,
        "change": [round(value, 4) for value in seen.changes],
        "flicker": [round(value, 4) for value in seen.flickers],
    }
    for end, psnr in (("first", seen.psnr_first), ("last", seen.psnr_last)):
        if psnr is not None:
            numbers[end] = {"psnr_luma": round(psnr, 3) if isfinite(psnr) else None, "exact": not isfinite(psnr)}
    if path is not None:
        numbers["sheet"] = str(path)
    return numbers

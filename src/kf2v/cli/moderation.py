"""``kf2v moderation``: lines for the list of forbidden pictures, and what this machine's moderators say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kf2v.cli.config import DataDir, read_settings
from kf2v.cli.delivery import AsJson
from kf2v.cli.exits import Exit
from kf2v.cli.help import help_alone
from kf2v.cli.terminal import CommandFailed, give, give_json, give_table

if TYPE_CHECKING:
    from kf2v.moderation import Moderator, Objection
    from kf2v.settings import Settings
    from kf2v.video import Frame

#: nobody writes a prompt like this
_NAME = re.compile(r"\S+\.(?:jpe?g|png|webp|bmp|tiff?)", re.IGNORECASE)

app = typer.Typer(
    help="Forbid pictures, and see what moderation says.", callback=help_alone, invoke_without_command=True
)


@app.command("hash")
def hash_pictures(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE…", help="Picture files.")],
    rights: Annotated[bool, typer.Option("--ip", help="Forbidden because somebody else has rights to them.")] = False,
    add: Annotated[bool, typer.Option("--add", help="Put the lines into the list as well.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Print a line per picture for moderation/pictures.txt in the data directory.

    With --add they are put there; a running server sees them at once.
    """
    settings = read_settings(data_dir=data_dir)
    from kf2v.moderation.lists.pictures import hash_of, says_enough
    from kf2v.moderation.lists.words import RIGHTS

    found: list[tuple[str, Path]] = []
    for path in pictures:
        hash_ = hash_of(_frame(path))
        if not says_enough(hash_):
            raise CommandFailed("PlainPicture", f"{path} is so plain that it would be found in too many others")
        found.append((f"{hash_:016x}", path))
    lines = [f"{RIGHTS + ' ' if rights else ''}{hash_} {path.name}" for hash_, path in found]
    if add:
        _add(lines, settings)
    if as_json:
        give_json({"pictures": [{"hash": hash_, "picture": str(path), "ip": rights} for hash_, path in found]})
        return
    for line in lines:
        give(line)


@app.command()
def check(
    what: Annotated[str, typer.Argument(metavar="TEXT|PICTURE", help="A prompt, or a picture file.")],
    stage: Annotated[
        str, typer.Option(help="What outside moderators are told it is: input or output.", metavar="STAGE")
    ] = "input",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show what each moderator of this machine's settings says of a text or a picture.

    Exit code 10 if one of them objects.
    """
    side = _side(stage)
    settings = read_settings(data_dir=data_dir)
    from kf2v import logs
    from kf2v.assembly.panel import MODERATORS

    logs.configure("warning")
    shown = _frame(Path(what)) if _is_file(what) else what
    verdicts = [_verdict(MODERATORS[name](settings), shown, side) for name in settings.moderation]
    if as_json:
        give_json({"verdicts": [dict(zip(("moderator", "verdict", "reason"), row, strict=True)) for row in verdicts]})
    elif verdicts:
        give_table(("moderator", "verdict", "reason"), verdicts)
    else:
        give("moderation is off")
    if any(verdict in ("inappropriate", "ip") for _, verdict, _ in verdicts):
        raise typer.Exit(Exit.MODERATION)


def _verdict(moderator: Moderator, shown: str | Frame, side: Literal["input", "output"]) -> tuple[str, str, str]:
    """Who, what, why."""
    from kf2v.moderation import Exhibit, Undecided

    objection: Objection | None = None
    try:
        if isinstance(shown, str):
            objection = moderator.read(shown, Exhibit(side=side, part="prompt"), lambda: None)
        elif moderator.looks():
            part = "first_frame" if side == "input" else "frame"
            objection = moderator.look(shown, Exhibit(side=side, part=part), lambda: None)
    except Undecided as error:
        return moderator.name, "undecided", str(error)
    return (moderator.name, "pass", "") if objection is None else (moderator.name, objection.ground, objection.reason)


def _side(stage: str) -> Literal["input", "output"]:
    match stage:
        case "input" | "output":
            return stage
        case _:
            raise CommandFailed("Usage", f"--stage should be input or output, not {stage!r}")


def _add(lines: list[str], settings: Settings) -> None:
    """Append ``lines`` to the list of pictures, which is laid out if there is none."""
    from kf2v.assembly.data_dir import prepare_data_dir
    from kf2v.assembly.panel import lay_out_lists
    from kf2v.moderation.lists import PICTURES

    try:
        prepare_data_dir(settings)
        # also where nobody asks them yet
        lay_out_lists(settings.model_copy(update={"moderation": ("lists",)}))
        with (settings.moderation_dir / PICTURES).open("ab+") as file:
            file.seek(max(0, file.tell() - 1))
            between = b"" if file.read(1) in (b"", b"\n") else b"\n"
            file.write(between + "".join(f"{line}\n" for line in lines).encode())
    except OSError as error:
        raise CommandFailed("Usage", f"{settings.moderation_dir / PICTURES} cannot be written: {error}") from error


def _is_file(what: str) -> bool:
    """Raises CommandFailed for what is surely meant to be a picture and is not there."""
    try:
        there = Path(what).is_file()
    except (OSError, ValueError):  # a prompt too long or too odd to be a path
        return False
    if not there and _NAME.fullmatch(what):
        raise CommandFailed("Usage", f"there is no file {what}")
    return there


def _frame(path: Path) -> Frame:
    """The picture at ``path``, upright, of any size."""
    import numpy as np
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), dtype=np.uint8)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise CommandFailed("Usage", f"{path} cannot be read as a picture: {error}") from error

"""Who hears what: data goes to stdout, talk and errors go to stderr."""

import json
import os
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO, TypeAlias

import typer

from kf2v.cli.exits import Exit, exit_of_error
from kf2v.cli.fixes import fix_of

if TYPE_CHECKING:
    from kf2v.net.remote_error import RemoteError

#: told a phase and how much of the whole is done (0 … 1, None if nobody knows)
Tell: TypeAlias = Callable[[str, float | None], None]


class CommandFailed(Exception):
    """A command that ends with a sentence instead of a result. ``exit`` follows from ``code`` unless given."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        exit: Exit | None = None,
        fix: str | None = None,
        request_id: str = "",
        beside: Mapping[str, object] | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.exit = exit_of_error(code) if exit is None else exit
        self.fix = fix_of(code) if fix is None else fix
        self.request_id = request_id
        #: further members of the JSON object, as ``task_id`` and ``task_status`` where there is a task
        self.beside = dict(beside or {})
        super().__init__(f"{code}: {message}")


def told(error: "RemoteError", *, then: str = "", beside: Mapping[str, object] | None = None) -> CommandFailed:
    """``error`` as a command ends with it. ``then`` is how to come back once it is mended."""
    from kf2v.net.remote_error import TimedOut, Unreachable

    match error:
        case TimedOut():
            exit = Exit.TIMEOUT
        case Unreachable():
            exit = Exit.NETWORK
        case _:
            exit = exit_of_error(error.code, error.status)
    fix = "; then: ".join(filter(None, (fix_of(error.code), then)))
    return CommandFailed(error.code, error.message, exit=exit, fix=fix, request_id=error.request_id, beside=beside)


Label = Annotated[str | None, typer.Option("--label", help="A name to tell it by.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def confirm(question: str, otherwise: str, *, yes: bool) -> None:
    """Ask on a terminal, unless it was said beforehand. Raises CommandFailed, saying how it is ``otherwise``."""
    if not yes and sys.stdin.isatty() and not _agreed(question):
        raise CommandFailed("NotConfirmed", otherwise, fix="")


def _agreed(question: str) -> bool:
    """Asked and answered beside stdout, which is for data even where somebody is asked."""
    sys.stderr.write(f"{printable(question)} [y/N]: ")
    sys.stderr.flush()
    try:
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        answer = ""
    if not answer.endswith("\n"):
        say("")
    return answer.strip().lower() in ("y", "yes")


@contextmanager
def _output() -> Generator[TextIO]:
    """Standard output. Raises CommandFailed if it does not take what is written; a reader that left is no news."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]  closed by whoever called
        raise CommandFailed("OutputError", "standard output is closed", fix="")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except OSError as error:
        # what is still in the buffer would be complained of once more at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(Exit.GENERAL) from error
        raise CommandFailed("OutputError", f"standard output cannot be written: {error.strerror or error}") from error


def give(text: str) -> None:
    """Data, for the next program."""
    with _output() as output:
        output.write(printable(text) + "\n")


def give_path(path: Path) -> None:
    """A path, byte for byte as the system spells it."""
    give_bytes(os.fsencode(path) + b"\n")


def give_bytes(data: bytes) -> None:
    """Data as it came."""
    with _output() as output:
        output.flush()
        output.buffer.write(data)


def give_json(value: object) -> None:
    """Data as one JSON object."""
    with _output() as output:
        output.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def give_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Data as columns under ``heads``, two spaces apart, never cut; no cell begins a line of its own."""
    lines = [list(heads), *([" ".join(printable(cell).splitlines()) for cell in row] for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        cells = (cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True))
        give("  ".join(cells).rstrip())


def _width(text: str) -> int:
    """Columns of a terminal that ``text`` takes; Chinese takes two for each sign."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def say(text: str) -> None:
    """Talk, for whoever watches."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def complain(failed: CommandFailed, *, as_json: bool) -> None:
    """Say why there is no result."""
    if not as_json:
        say(f"{failed.code}: {failed.message}")
        if failed.fix:
            say(f"fix: {failed.fix}")
        if failed.request_id:
            say(f"request_id: {failed.request_id}")
        return
    told = {"code": failed.code, "message": failed.message, "request_id": failed.request_id, "fix": failed.fix}
    sys.stderr.write(json.dumps({**{k: v for k, v in told.items() if v}, **failed.beside}, ensure_ascii=False) + "\n")


def printable(text: str) -> str:
    """``text`` without what would steer a terminal: other people's words are shown, not obeyed."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


@contextmanager
def progress(*, quiet: bool) -> Generator[Tell]:
    """Something to tell how far the work is: a bar on a terminal, one line per phase elsewhere."""
    if quiet:
        yield lambda _phase, _done: None
    elif sys.stderr.isatty():
        with _bar() as tell:
            yield tell
    else:
        yield _lines()


def _lines() -> Tell:
    last = ""

    def tell(phase: str, _done: float | None) -> None:
        nonlocal last
        if phase != last:
            say(phase)
            last = phase

    return tell


@contextmanager
def _bar() -> Generator[Tell]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("starting", total=None)

        def tell(phase: str, done: float | None) -> None:
            if done is None:
                shown.update(task, description=printable(phase), total=None)
            else:
                shown.update(task, description=printable(phase), total=1.0, completed=done)

        yield tell

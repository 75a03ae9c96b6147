"""A file of lines that its owner edits while it is in use."""

import codecs
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import structlog

from kf2v.moderation import Undecided

Entry = TypeVar("Entry")
#: when a file was changed, its length, and which file it is
State: TypeAlias = tuple[int, int, int]
#: how a file begins that an editor saved in another Unicode; UTF-32's begins like the first of them
OTHERWISE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)

log = structlog.get_logger(__name__)


class BrokenLine(ValueError):
    """A line that is no entry; says what would be one."""


class KeptList(Generic[Entry]):
    """The entries in the file at ``path``, read again when it has changed; none where there is no file.

    Empty lines and those that begin with ``#`` are not for us. ``parse`` gets a line and its number, from 1; one it
    raises BrokenLine for is told in the log and left out.
    """

    def __init__(self, path: Path, parse: Callable[[str, int], Entry]) -> None:
        self._path = path
        self._parse = parse
        self._lock = threading.Lock()
        #: what was read, and in which state the file was then
        self._known: tuple[State | None, tuple[Entry, ...]] = (None, ())

    @property
    def name(self) -> str:
        return self._path.name

    def entries(self) -> tuple[Entry, ...]:
        """Raises Undecided if the file is there but cannot be read, or is no UTF-8 at all."""
        try:
            state = self._state()
            with self._lock:
                if state != self._known[0]:
                    self._known = (state, tuple(self._parsed(self._path.read_bytes())))
                return self._known[1]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise Undecided(f"{self._path.name} cannot be read: {error.strerror}") from error

    def empty(self) -> bool:
        """Whether there is surely nothing in it; a file that was not read yet may have something."""
        known, entries = self._known
        try:
            return self._state() == known and not entries
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def _state(self) -> State:
        facts = self._path.stat()
        return facts.st_mtime_ns, facts.st_size, facts.st_ino

    def _parsed(self, content: bytes) -> list[Entry]:
        if content.startswith(OTHERWISE):
            raise Undecided(f"{self._path.name} is saved as UTF-16 or UTF-32, and should be as UTF-8")
        found: list[Entry] = []
        for number, raw in enumerate(content.removeprefix(codecs.BOM_UTF8).splitlines(), start=1):
            try:
                line = raw.decode("utf-8").strip()
                if line and not line.startswith("#"):
                    found.append(self._parse(line, number))
            except UnicodeDecodeError:
                log.warning("a line is left out", file=str(self._path), line=number, reason="it is not UTF-8")
            except BrokenLine as error:
                log.warning("a line is left out", file=str(self._path), line=number, reason=str(error))
        return found

"""A file of lines that its owner edits while it is in use."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from kf2v.moderation import Undecided

Entry = TypeVar("Entry")

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
        #: when the file was changed and how long it was, as far as it was read
        self._read: tuple[int, int, int] | None = None
        self._entries: tuple[Entry, ...] = ()

    @property
    def name(self) -> str:
        return self._path.name

    def entries(self) -> tuple[Entry, ...]:
        """Raises Undecided if the file is there but cannot be read."""
        try:
            facts = self._path.stat()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise Undecided(f"{self._path} cannot be read: {error.strerror}") from error
        state = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
        with self._lock:
            if state != self._read:
                try:
                    self._entries = tuple(self._parsed(self._path.read_bytes()))
                except OSError as error:
                    raise Undecided(f"{self._path} cannot be read: {error.strerror}") from error
                self._read = state
            return self._entries

    def empty(self) -> bool:
        """Whether there is surely nothing in it."""
        try:
            return not self.entries()
        except Undecided:
            return False

    def _parsed(self, content: bytes) -> list[Entry]:
        found: list[Entry] = []
        for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
            try:
                line = raw.decode("utf-8").strip()
                if line and not line.startswith("#"):
                    found.append(self._parse(line, number))
            except UnicodeDecodeError:
                log.warning("a line is left out", file=str(self._path), line=number, reason="it is not UTF-8")
            except BrokenLine as error:
                log.warning("a line is left out", file=str(self._path), line=number, reason=str(error))
        return found

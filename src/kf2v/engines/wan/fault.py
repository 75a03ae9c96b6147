"""What can go wrong beyond this engine's own doing, in one sentence: checkpoints, and processes that work together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: characters of a path that a message shows
LONGEST = 300

REMEDY = "check the path, and who may read it"


class CheckpointError(ValueError):
    """Weights that cannot be used: where they lie, what was found there, and what would do."""

    def __init__(self, where: str | Path, found: str, remedy: str = "") -> None:
        self.where = str(where)
        self.found = found
        self.remedy = remedy
        super().__init__(f"{where}: {found}" + (f"; {remedy}" if remedy else ""))


@contextmanager
def readable(where: str | Path) -> Iterator[None]:
    """What the system refuses while files are looked at, as a CheckpointError naming the file it refused."""
    try:
        yield
    except OSError as error:
        what = error.filename if isinstance(error.filename, str) else str(where)
        shown = what if len(what) <= LONGEST else f"{what[:LONGEST]}…"
        raise CheckpointError(shown, f"cannot be read: {error.strerror or error}", REMEDY) from error


class CompanyBroken(RuntimeError):
    """Processes that make one video together, of which one is no longer there or does not answer."""

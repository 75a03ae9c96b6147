"""Files that are made once, whole or not at all, and that only their owner can read."""

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path


def kept_secret(path: Path, make: Callable[[], str]) -> str:
    """The line in the file at ``path``; made the first time."""
    if not path.exists():
        write_new(path, make() + "\n")
    return path.read_text().strip()


def write_new(path: Path, text: str) -> None:
    """A new file at ``path``, on the disk when this returns; the one that somebody else made meanwhile stays."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

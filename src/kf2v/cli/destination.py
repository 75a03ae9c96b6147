"""Where a video goes: a path that is checked before the work and filled after it, whole or not at all."""

import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from kf2v.cli.exits import Exit
from kf2v.cli.terminal import CommandFailed


def destination(wanted: Path | None, name: str) -> Path:
    """``wanted``, or ``name`` in it if it is a directory, or ``name`` here; like ``cp``, what is there is replaced.

    ``name`` may be somebody else's word: it never leaves its directory. Raises CommandFailed if nothing can be
    written there.
    """
    name = re.sub(r"[^\w.-]", "_", name).lstrip(".") or "video.mp4"
    path = Path(name) if wanted is None else wanted / name if wanted.is_dir() else wanted
    if path.exists() and not path.is_file():
        raise _unusable(path, "it is no file")  # a video in place of /dev/null would be the end of /dev/null
    if not path.parent.is_dir():
        raise _unusable(path, f"there is no directory {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise _unusable(path, f"the directory {path.parent} cannot be written")
    return path


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """A path beside ``path`` to write to; it takes its place when all went well and otherwise leaves no trace.

    Raises CommandFailed if the disk does not take it.
    """
    part = path.with_name(f".kf2v-{secrets.token_hex(6)}{path.suffix}")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise CommandFailed("OutputError", f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _unusable(path: Path, why: str) -> CommandFailed:
    return CommandFailed("OutputError", f"{path} cannot be written: {why}", exit=Exit.USAGE)

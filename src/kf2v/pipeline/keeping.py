"""A finished file becomes a video that is kept."""

import errno
import hashlib
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from kf2v.blobs import Blobs
from kf2v.errors import ResultUploadError
from kf2v.tasks import Lease, Video
from kf2v.video import Size

#: what a disk says when it is the disk's fault
DISK_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})


def unfinished(scratch: Path, lease: Lease) -> Path:
    """Where in ``scratch`` the file of ``lease`` grows; whatever a dead attempt left there is gone."""
    scratch.mkdir(parents=True, exist_ok=True)
    for leftover in scratch.glob(f"{lease.task_id}-*.mp4"):
        leftover.unlink(missing_ok=True)
    return scratch / f"{lease.task_id}-{lease.attempt}.mp4"


def keep(blobs: Blobs, lease: Lease, path: Path, size: Size) -> Video:
    """Hand the file at ``path`` over to ``blobs``. Raises ResultUploadError where the disk does not take it."""
    key = f"videos/{lease.task_id}/{lease.attempt}-{secrets.token_hex(8)}.mp4"
    with disk_trouble_told():
        digest, length = _digest(path)
        blobs.adopt(key, path)
    return Video(key=key, digest=digest, size=length, width=size.width, height=size.height)


@contextmanager
def disk_trouble_told() -> Generator[None]:
    """A disk that does not take a video is no fault of the engine's."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_TROUBLE:
            raise ResultUploadError from error
        raise


def _digest(path: Path) -> tuple[str, int]:
    """SHA-256 (hexadecimal) and length in bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


def forget(blobs: Blobs, lease: Lease) -> None:
    """Delete what this attempt and those before it kept of the film; later ones answer for themselves."""
    for folder in ("previews", "videos"):
        prefix = f"{folder}/{lease.task_id}/"
        for blob in list(blobs.walk(prefix)):
            attempt = blob.key.removeprefix(prefix).partition("-")[0]
            if attempt.isdecimal() and int(attempt) <= lease.attempt:
                blobs.delete(blob.key)

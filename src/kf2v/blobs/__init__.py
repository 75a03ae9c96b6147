"""Bytes: videos, uploads and fetched frames, each under a key like ``videos/2026/ab12.mp4``.

This module is the protocol; ``local`` keeps them in a directory, ``memory`` is the public double.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class NoSuchBlob(LookupError):
    """Nothing is kept under that key."""


class BlobExists(Exception):
    """Something is kept under that key already, and keys are never overwritten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """What is known of a kept blob without reading it."""

    key: str
    #: bytes
    size: int
    #: milliseconds since the epoch
    modified_at: int


class Blobs(Protocol):
    """Where bytes are kept. Methods block; call them from a thread where that matters.

    Binding for every variant: a reader sees all of a blob or none of it; what ``put`` or ``adopt`` returned from
    survives a crash; a key is written once; keys are relative paths of letters, digits, ``._-`` and ``/``, and any
    other key is a ``ValueError``; deleting what is not there is not an error.
    """

    def put(self, key: str, data: bytes) -> None:
        """Keep ``data``. Raises BlobExists if the key is taken."""
        ...

    def adopt(self, key: str, path: Path) -> None:
        """Take the file at ``path`` over (it is gone from there afterwards). Raises BlobExists."""
        ...

    def read(self, key: str) -> bytes:
        """Raises NoSuchBlob."""
        ...

    def stat(self, key: str) -> Blob:
        """Raises NoSuchBlob."""
        ...

    def locate(self, key: str) -> Path | None:
        """The file on this machine, for serving it with ranges; None where there is none. Raises NoSuchBlob."""
        ...

    def delete(self, key: str) -> None: ...

    def walk(self, prefix: str = "") -> Iterator[Blob]:
        """Every blob whose key starts with ``prefix``, in no particular order."""
        ...

    def forget_partial(self, *, before: int) -> int:
        """Remove what writes left that were interrupted before then (milliseconds); returns how many those were."""
        ...

    def probe(self) -> None:
        """Write, read and delete something small; raises whatever keeps that from working."""
        ...

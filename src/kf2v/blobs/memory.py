"""Bytes in this process's memory: the public double, gone when the process is."""

import threading
from collections.abc import Iterator
from pathlib import Path

from kf2v.blobs import Blob, BlobExists, NoSuchBlob
from kf2v.blobs.keys import checked, checked_prefix
from kf2v.clock import Clock, SystemClock


class MemoryBlobs:
    """Keeps bytes in a dict. Safe to share between threads."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._kept: dict[str, tuple[bytes, int]] = {}
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes) -> None:
        checked(key)
        with self._lock:
            if any(kept == key or kept.startswith(f"{key}/") or key.startswith(f"{kept}/") for kept in self._kept):
                raise BlobExists(key)
            self._kept[key] = (bytes(data), self._clock.now())

    def adopt(self, key: str, path: Path) -> None:
        self.put(key, path.read_bytes())
        path.unlink()

    def read(self, key: str) -> bytes:
        return self._find(key)[0]

    def stat(self, key: str) -> Blob:
        data, modified_at = self._find(key)
        return Blob(key=key, size=len(data), modified_at=modified_at)

    def locate(self, key: str) -> Path | None:
        self._find(key)
        return None

    def delete(self, key: str) -> None:
        checked(key)
        with self._lock:
            self._kept.pop(key, None)

    def walk(self, prefix: str = "") -> Iterator[Blob]:
        checked_prefix(prefix)
        with self._lock:
            kept = list(self._kept.items())
        for key, (data, modified_at) in kept:
            if key.startswith(prefix):
                yield Blob(key=key, size=len(data), modified_at=modified_at)

    def forget_partial(self, *, before: int) -> int:
        """Nothing is ever half written here."""
        del before
        return 0

    def probe(self) -> None:
        """Memory that is not there cannot be probed for."""

    def _find(self, key: str) -> tuple[bytes, int]:
        checked(key)
        with self._lock:
            found = self._kept.get(key)
        if found is None:
            raise NoSuchBlob(key)
        return found

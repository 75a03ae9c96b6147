"""One server per file: a lock that ends with its process, however that ends."""

import contextlib
import fcntl
import os
from pathlib import Path


class StoreInUse(Exception):
    """Another process owns the file. ``path`` is the file, ``pid`` its owner as far as that is known."""

    def __init__(self, path: Path, pid: int | None) -> None:
        self.path, self.pid = path, pid
        owner = "another process" if pid is None else f"process {pid}"
        super().__init__(f"{path} is in use by {owner}; one server per data directory.")


class Ownership:
    """Held from construction to ``release``. Raises StoreInUse.

    The lock is on ``<path>.lock``, which stays when the lock goes: whoever deletes a lock file may delete the one
    that somebody else has just locked. It is the kernel's, so it needs no cleaning up after a crash.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = self._owner()
            self.release()
            raise StoreInUse(path, owner) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._file)

    def _owner(self) -> int | None:
        with contextlib.suppress(ValueError):
            return int(os.pread(self._file, 32, 0))
        return None

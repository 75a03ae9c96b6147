"""Bytes in a directory of this machine, one file per blob under its own key.

A blob is written under a name that is no key, flushed to the disk, and only then linked to where readers look:
``link`` never replaces anything, so of two writers one wins and the other is told. The folders are flushed last. A
crash leaves all of the blob or none of it, and at worst a file in ``~partial`` that ``forget_partial`` removes.
"""

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from kf2v.blobs import Blob, BlobExists, NoSuchBlob
from kf2v.blobs.keys import checked, checked_prefix, is_key

#: no key can be called like this: ``~`` is not among its characters
PARTIAL = "~partial"

#: how often a folder may be tidied away between making it and linking into it
_RACES = 100


class LocalBlobs:
    """Keeps blobs under ``root``, which may be shared by any number of processes of one machine."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._partial = self._root / PARTIAL
        self._partial.mkdir(parents=True, exist_ok=True)
        _flush(self._root)
        _flush(self._root.parent)

    def put(self, key: str, data: bytes) -> None:
        target = self._path(key)
        with self._written(lambda path: path.write_bytes(data)) as written:
            self._link(written, target, key)

    def adopt(self, key: str, path: Path) -> None:
        target = self._path(key)
        _flush(path)
        try:
            self._link(path, target, key)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with self._written(lambda copy: shutil.copyfile(path, copy)) as written:
                self._link(written, target, key)
        path.unlink()

    def read(self, key: str) -> bytes:
        with _missing(key):
            return self._path(key).read_bytes()

    def stat(self, key: str) -> Blob:
        path = self._path(key)
        with _missing(key):
            found = path.stat()
        if not path.is_file():
            raise NoSuchBlob(key)
        return _blob(key, found)

    def locate(self, key: str) -> Path | None:
        self.stat(key)
        return self._path(key)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with contextlib.suppress(NoSuchBlob), _missing(key):
            path.unlink()
        self._tidy(path.parent)

    def walk(self, prefix: str = "") -> Iterator[Blob]:
        folder = checked_prefix(prefix).rpartition("/")[0]
        folders = [self._root / folder]
        while folders:
            for entry in _entries(folders.pop()):
                key = Path(entry.path).relative_to(self._root).as_posix()
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != PARTIAL and f"{key}/".startswith(prefix[: len(key) + 1]):
                        folders.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False) and key.startswith(prefix) and is_key(key):
                    with contextlib.suppress(FileNotFoundError):
                        yield _blob(key, entry.stat())

    def probe(self) -> None:
        target = self._partial / f"probe-{uuid.uuid4().hex}"
        expected = target.name.encode()
        with self._written(lambda path: path.write_bytes(expected)) as written:
            self._link(written, target, target.name)
        kept = target.read_bytes()
        target.unlink()
        if kept != expected:
            raise OSError(errno.EIO, "what was read is not what was written", str(target))

    def forget_partial(self, *, before: int) -> int:
        """Remove what interrupted writers left that was last touched before then; how many there were.

        ``before`` is milliseconds since the epoch; leave writers the time they may need.
        """
        count = 0
        for entry in _entries(self._partial):
            with contextlib.suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_mtime_ns < before * 1_000_000:
                    Path(entry.path).unlink()
                    count += 1
        return count

    def _path(self, key: str) -> Path:
        return self._root / checked(key)

    @contextlib.contextmanager
    def _written(self, write: Callable[[Path], object]) -> Generator[Path]:
        """A flushed file under a passing name in the same file system."""
        path = self._partial / uuid.uuid4().hex
        try:
            write(path)
            _flush(path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _link(self, source: Path, target: Path, key: str) -> None:
        """Make ``source`` readable as ``target`` too, durably. Raises BlobExists."""
        for _ in range(_RACES):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(source, target, follow_symlinks=False)
            except (FileExistsError, NotADirectoryError) as error:
                if self._taken(target):
                    raise BlobExists(key) from error
            except FileNotFoundError:
                if not source.exists():
                    raise
            else:
                with contextlib.suppress(FileNotFoundError):  # deleted again already
                    self._flush_folders(target.parent)
                return
        raise OSError(errno.EBUSY, "its folder keeps vanishing", str(target))

    def _taken(self, target: Path) -> bool:
        """Whether something is there, or a blob where one of its folders would be."""
        inside = target.relative_to(self._root).parents
        return target.exists() or any((self._root / folder).is_file() for folder in inside)

    def _flush_folders(self, folder: Path) -> None:
        """All the way up: any of them may be new, made a moment ago by somebody who has not flushed it yet."""
        _flush(folder)
        while folder != self._root:
            folder = folder.parent
            _flush(folder)

    def _tidy(self, folder: Path) -> None:
        """Remove folders that hold nothing any more; a writer that just made one makes it again."""
        while folder != self._root:
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent


def _flush(path: Path) -> None:
    """Bring a file or folder to stable storage."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextlib.contextmanager
def _missing(key: str) -> Generator[None]:
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise NoSuchBlob(key) from error


def _blob(key: str, found: os.stat_result) -> Blob:
    return Blob(key=key, size=found.st_size, modified_at=found.st_mtime_ns // 1_000_000)

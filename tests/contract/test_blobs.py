"""What every place for bytes owes: all or nothing, once, and no way out of its folder."""

import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kf2v.blobs import BlobExists, Blobs, NoSuchBlob
from kf2v.blobs.local import PARTIAL, LocalBlobs
from kf2v.blobs.memory import MemoryBlobs
from kf2v.clock import ManualClock, SystemClock

NOT_KEYS = (
    "",
    "/",
    "/etc/passwd",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/..",
    "a/./b",
    "a//b",
    "a/",
    "~partial/a",
    "a b",
    "a\0b",
    "a\nb",
    "a\n",
    "a\\b",
    "C:a",
    "bär",
    "a" * 256,
    "a/" * 600 + "a",
)


@pytest.fixture(params=["local", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    makers: dict[str, Callable[[], Blobs]] = {
        "local": lambda: LocalBlobs(tmp_path / "blobs"),
        "memory": MemoryBlobs,
    }
    return makers[request.param]()


def keys(blobs: Blobs, prefix: str = "") -> set[str]:
    return {blob.key for blob in blobs.walk(prefix)}


def test_what_is_put_is_read(blobs: Blobs) -> None:
    blobs.put("videos/2026/ab12.mp4", b"bytes")
    assert blobs.read("videos/2026/ab12.mp4") == b"bytes"


def test_nothing_is_a_blob_too(blobs: Blobs) -> None:
    blobs.put("empty", b"")
    assert blobs.read("empty") == b""
    assert blobs.stat("empty").size == 0


def test_a_key_is_written_once(blobs: Blobs) -> None:
    blobs.put("a/b", b"first")
    with pytest.raises(BlobExists):
        blobs.put("a/b", b"second")
    assert blobs.read("a/b") == b"first"


def test_a_key_is_either_a_blob_or_a_folder(blobs: Blobs) -> None:
    blobs.put("a/b", b"inner")
    with pytest.raises(BlobExists):
        blobs.put("a", b"folder")
    with pytest.raises(BlobExists):
        blobs.put("a/b/c/d", b"below")
    with pytest.raises(NoSuchBlob):
        blobs.read("a")
    with pytest.raises(NoSuchBlob):
        blobs.stat("a")
    with pytest.raises(NoSuchBlob):
        blobs.stat("a/b/c")
    blobs.delete("a")
    blobs.delete("a/b/c")
    assert keys(blobs) == {"a/b"}


def test_a_deleted_key_is_free_again(blobs: Blobs) -> None:
    blobs.put("a/b/c", b"first")
    blobs.delete("a/b/c")
    with pytest.raises(NoSuchBlob):
        blobs.read("a/b/c")
    blobs.put("a/b", b"second")
    assert blobs.read("a/b") == b"second"


def test_deleting_what_is_not_there_is_no_error(blobs: Blobs) -> None:
    blobs.delete("never/was")


def test_an_adopted_file_is_gone_from_where_it_was(blobs: Blobs, tmp_path: Path) -> None:
    path = tmp_path / "made.mp4"
    path.write_bytes(b"video")
    blobs.adopt("videos/x.mp4", path)
    assert blobs.read("videos/x.mp4") == b"video"
    assert not path.exists()


def test_a_file_that_cannot_be_adopted_stays(blobs: Blobs, tmp_path: Path) -> None:
    path = tmp_path / "made.mp4"
    path.write_bytes(b"late")
    blobs.put("videos/x.mp4", b"early")
    with pytest.raises(BlobExists):
        blobs.adopt("videos/x.mp4", path)
    assert blobs.read("videos/x.mp4") == b"early"
    assert path.read_bytes() == b"late"


def test_a_file_that_is_not_there_cannot_be_adopted(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        blobs.adopt("videos/x.mp4", tmp_path / "nothing")
    assert keys(blobs) == set()


def test_what_is_not_there_is_told(blobs: Blobs) -> None:
    for ask in (blobs.read, blobs.stat, blobs.locate):
        with pytest.raises(NoSuchBlob):
            ask("not/there")


def test_stat_says_how_much_and_since_when(blobs: Blobs) -> None:
    before = SystemClock().now()
    blobs.put("a", b"12345")
    found = blobs.stat("a")
    assert (found.key, found.size) == ("a", 5)
    assert before - 1000 <= found.modified_at <= SystemClock().now() + 1000


def test_a_located_file_holds_the_bytes(blobs: Blobs) -> None:
    blobs.put("a", b"12345")
    path = blobs.locate("a")
    assert path is None or path.read_bytes() == b"12345"


def test_walking_lists_what_begins_with_the_prefix(blobs: Blobs) -> None:
    for key in ("videos/1.mp4", "videos/2.mp4", "videos2/3.mp4", "uploads/x/y.png", "v"):
        blobs.put(key, key.encode())
    assert keys(blobs) == {"videos/1.mp4", "videos/2.mp4", "videos2/3.mp4", "uploads/x/y.png", "v"}
    assert keys(blobs, "videos/") == {"videos/1.mp4", "videos/2.mp4"}
    assert keys(blobs, "videos") == {"videos/1.mp4", "videos/2.mp4", "videos2/3.mp4"}
    assert keys(blobs, "uploads/x/y") == {"uploads/x/y.png"}
    assert keys(blobs, "nothing/") == set()
    assert {blob.key: blob.size for blob in blobs.walk("v")}["videos/1.mp4"] == len("videos/1.mp4")


@pytest.mark.parametrize("key", NOT_KEYS, ids=[repr(key[:12]) for key in NOT_KEYS])
def test_what_is_no_key_is_refused_everywhere(blobs: Blobs, tmp_path: Path, key: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    asks: tuple[Callable[[], object], ...] = (
        lambda: blobs.put(key, b""),
        lambda: blobs.adopt(key, path),
        lambda: blobs.read(key),
        lambda: blobs.stat(key),
        lambda: blobs.locate(key),
        lambda: blobs.delete(key),
    )
    for ask in asks:
        with pytest.raises(ValueError, match="not a key"):
            ask()
    assert path.exists()


@pytest.mark.parametrize("prefix", ["/", "../", "a/../", "a//", "b c", "/etc/"])
def test_no_walk_leaves_the_place(blobs: Blobs, prefix: str) -> None:
    with pytest.raises(ValueError, match="no key begins"):
        list(blobs.walk(prefix))


def test_a_probe_leaves_nothing_behind(blobs: Blobs) -> None:
    blobs.probe()
    assert keys(blobs) == set()


def test_of_many_writers_one_wins(blobs: Blobs) -> None:
    told: list[str] = []
    gate = threading.Barrier(8)

    def write(number: int) -> None:
        gate.wait()
        try:
            blobs.put("contested/key", str(number).encode() * 1000)
            told.append(f"won {number}")
        except BlobExists:
            told.append("lost")

    run([lambda number=number: write(number) for number in range(8)])
    winner = next(word.split()[1] for word in told if word != "lost")
    assert told.count("lost") == 7
    assert blobs.read("contested/key") == winner.encode() * 1000


def test_a_reader_never_sees_half_a_blob(blobs: Blobs) -> None:
    data = random.Random(0).randbytes(1 << 20)
    done = threading.Event()
    seen: set[int] = set()

    def watch() -> None:
        while True:
            last = done.is_set()
            for blob in blobs.walk():
                seen.add(blob.size)
                seen.add(len(blobs.read(blob.key)))
            if last:
                return

    def write() -> None:
        try:
            for number in range(20):
                blobs.put(f"folder{number % 3}/{number}", data)
        finally:
            done.set()

    run([watch, write])
    assert seen == {len(data)}


def test_folders_may_vanish_under_writers(blobs: Blobs) -> None:
    def churn(name: str) -> None:
        for number in range(100):
            blobs.put(f"deep/er/{name}{number}", b"x")
            blobs.delete(f"deep/er/{name}{number}")

    run([lambda name=name: churn(name) for name in "ab"])
    assert keys(blobs) == set()


def test_memory_takes_its_time_from_the_clock_it_is_given() -> None:
    clock = ManualClock()
    blobs = MemoryBlobs(clock=clock)
    blobs.put("a", b"")
    clock.advance(5)
    assert blobs.stat("a").modified_at == clock.now() - 5


def test_a_directory_keeps_its_blobs_when_opened_again(tmp_path: Path) -> None:
    LocalBlobs(tmp_path / "new" / "blobs").put("a/b", b"kept")
    assert LocalBlobs(tmp_path / "new" / "blobs").read("a/b") == b"kept"


def test_a_directory_is_left_without_empty_folders(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    blobs.put("uploads/1/a.png", b"")
    blobs.put("uploads/2/b.png", b"")
    blobs.delete("uploads/1/a.png")
    assert sorted(path.name for path in (tmp_path / "uploads").iterdir()) == ["2"]
    blobs.delete("uploads/2/b.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == [PARTIAL]


def test_files_that_are_no_blobs_are_not_listed(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    blobs.put("a", b"")
    (tmp_path / "blobs" / "with blank").write_bytes(b"")
    (tmp_path / "blobs" / PARTIAL / "half").write_bytes(b"")
    (tmp_path / "secret").write_bytes(b"")
    (tmp_path / "blobs" / "pointer").symlink_to(tmp_path / "secret")
    assert keys(blobs) == {"a"}


def test_a_file_of_another_file_system_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere.mp4"
    elsewhere.write_bytes(b"video")
    link = os.link

    def link_here(source: Path, target: Path, *, follow_symlinks: bool) -> None:
        if source == elsewhere:
            raise OSError(18, "Invalid cross-device link")
        link(source, target, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "link", link_here)
    blobs = LocalBlobs(tmp_path / "blobs")
    blobs.adopt("a", elsewhere)
    assert blobs.read("a") == b"video"
    assert not elsewhere.exists()
    assert list((tmp_path / "blobs" / PARTIAL).iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = LocalBlobs(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            blobs.put("a", b"bytes")
        with pytest.raises(OSError, match="No space left"):
            blobs.probe()
    assert keys(blobs) == set()
    assert list((tmp_path / PARTIAL).iterdir()) == []


def test_only_what_interrupted_writers_left_long_ago_is_removed(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    blobs.put("a", b"kept")
    for name, age in (("old", 100), ("young", 0)):
        path = tmp_path / PARTIAL / name
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age, time.time() - age))
    assert blobs.forget_partial(before=SystemClock().now() - 50_000) == 1
    assert [path.name for path in (tmp_path / PARTIAL).iterdir()] == ["young"]
    assert keys(blobs) == {"a"}


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX kills")
def test_a_killed_writer_leaves_all_or_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    chance = random.Random(1)
    for round_ in range(25):
        root = tmp_path / str(round_)
        writer = context.Process(target=_write_until_killed, args=(root,))
        writer.start()
        _wait_for(lambda root=root: (root / "go").exists())
        time.sleep(chance.random() * 0.02)  # the moment of death is what varies
        writer.kill()
        writer.join()
        assert writer.exitcode == -signal.SIGKILL
        blobs = LocalBlobs(root)
        for blob in blobs.walk("n/"):
            assert blobs.read(blob.key) == _content(int(blob.key[2:]))
        blobs.forget_partial(before=SystemClock().now() + 60_000)
        assert list((root / PARTIAL).iterdir()) == []


def _write_until_killed(root: Path) -> None:
    blobs = LocalBlobs(root)
    blobs.put("go", b"")
    for number in range(1_000_000):
        blobs.put(f"n/{number}", _content(number))


def _content(number: int) -> bytes:
    return number.to_bytes(4, "big") * 50_000


def _wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.001)


def run(works: list[Callable[[], None]]) -> None:
    """Each in its own thread; what one raises is raised here."""
    raised: list[Exception] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  handed on below
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if raised:
        raise raised[0]

import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kf2v.net.unix import LONGEST, bind, socket_path


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory with a short name, because pytest's own may be too long for a socket."""
    with tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as made:
        monkeypatch.setattr(tempfile, "tempdir", made)
        yield Path(made).resolve()


def deep(short: Path) -> Path:
    path = short / ("d" * LONGEST)
    path.mkdir()
    return path


def test_the_socket_lies_in_the_data_directory(short: Path) -> None:
    assert socket_path(short).parent == short


def test_everyone_finds_the_same_socket_from_wherever_they_ask(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir = deep(short)
    monkeypatch.chdir(data_dir)
    assert socket_path(Path()) == socket_path(data_dir)


def test_a_path_too_long_for_a_socket_is_replaced_by_a_private_one(short: Path) -> None:
    path = socket_path(deep(short))
    assert len(str(path)) <= LONGEST
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    bind(path).close()


def test_two_long_data_directories_have_two_sockets(short: Path) -> None:
    (short / "x").mkdir()
    assert socket_path(deep(short)) != socket_path(deep(short / "x"))


def test_a_private_directory_that_others_can_open_is_refused(short: Path) -> None:
    data_dir = deep(short)
    socket_path(data_dir).parent.chmod(0o755)
    with pytest.raises(PermissionError):
        socket_path(data_dir)


def test_a_link_in_place_of_the_private_directory_is_refused(short: Path) -> None:
    data_dir = deep(short)
    private = socket_path(data_dir).parent
    private.rmdir()
    elsewhere = short / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    private.symlink_to(elsewhere)
    with pytest.raises(PermissionError):
        socket_path(data_dir)


def test_what_a_dead_server_left_is_replaced(short: Path) -> None:
    path = short / "s"
    bind(path).close()
    assert path.exists()
    with bind(path) as bound, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        assert bound.getsockname() == str(path)

"""Files that are made once, whole or not at all."""

import stat
from pathlib import Path

import pytest

from kf2v.kept_file import kept_secret


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert kept_secret(path, lambda: "first") == "first"
    assert kept_secret(path, lambda: "second") == "first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_of_two_that_make_a_secret_at_once_both_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / "secret"

    def make() -> str:
        path.write_text("theirs\n")
        return "ours"

    assert kept_secret(path, make) == "theirs"


def test_a_secret_whose_making_failed_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        kept_secret(tmp_path / "secret", lambda: "never")
    assert not list(tmp_path.iterdir())

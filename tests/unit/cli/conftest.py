"""The command line as a function: words in, exit code and both streams out."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from PIL import Image

from endpoint import KEY, Endpoint
from kf2v.cli import dispatch


@dataclass(frozen=True, kw_only=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user with nothing configured, in an empty directory. How commands set up the log ends with the test."""
    for name in list(os.environ):
        if name.startswith(("KF2V_", "DASHSCOPE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("kf2v.settings.FILES", (Path("kf2v.toml"), tmp_path / "config" / "config.toml"))
    monkeypatch.setenv("KF2V_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    structlog.reset_defaults()


@pytest.fixture
def kf2v(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    def run(*words: object) -> Ran:
        capsys.readouterr()
        code = dispatch([str(word) for word in words])
        out, err = capsys.readouterr()
        return Ran(code=code, out=out, err=err)

    return run


@pytest.fixture
def pointed(endpoint: Endpoint, home: Path, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """The endpoint that this user's environment points at."""
    monkeypatch.setenv("DASHSCOPE_HTTP_BASE_URL", endpoint.base_url)
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    return endpoint


@pytest.fixture
def frames(home: Path) -> tuple[Path, Path]:
    """Two pictures."""
    paths = (home / "first.png", home / "last.png")
    for path, colour in zip(paths, ((200, 30, 30), (30, 30, 200)), strict=True):
        Image.new("RGB", (480, 360), colour).save(path)
    return paths

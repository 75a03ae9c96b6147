import io
import json
import sys
from collections.abc import Iterator

import pytest
import structlog

from kf2v import logs


class Deserted(io.StringIO):
    """A stream whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


class Full(io.StringIO):
    """A file on a disk that is full, for one line."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0

    def write(self, text: str) -> int:
        if not self.failures:
            self.failures += 1
            raise OSError(28, "No space left on device")
        return super().write(text)


@pytest.fixture(autouse=True)
def configured() -> Iterator[None]:
    logs.configure("info")
    yield
    structlog.reset_defaults()


def test_a_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.get_logger().info("task claimed", task_id="t")
    structlog.get_logger().debug("too quiet")
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["event"], told["level"], told["task_id"]) == ("task claimed", "info", "t")


def test_nobody_has_to_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Deserted())
    structlog.get_logger().warning("first")
    structlog.get_logger().warning("second")
    sys.stderr.close()


def test_a_full_disk_costs_a_line_and_not_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Full()
    monkeypatch.setattr(sys, "stderr", stderr)
    structlog.get_logger().warning("first")
    structlog.get_logger().warning("second")
    assert "second" in stderr.getvalue()

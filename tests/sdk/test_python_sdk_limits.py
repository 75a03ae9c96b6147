"""Under the cloud's own limits the official SDK does what it does in the cloud: its polls are never refused."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sdk import Sdk
from service import Service, serving

pytestmark = pytest.mark.sdk


@pytest.fixture
def strict_service(tmp_path: Path) -> Iterator[Service]:
    """A server with the cloud's limits."""
    with serving(tmp_path / "strict", workers=1, limits="cloud") as running:
        yield running


def test_calls_under_the_clouds_limits_end_with_a_video(
    newest: Sdk, strict_service: Service, files: tuple[str, str], tmp_path: Path
) -> None:
    def call(number: int) -> str:
        report = newest.report("call_files.py", *files, str(tmp_path / f"{number}.mp4"), service=strict_service)
        return report["result"]["output"]["task_status"]

    with ThreadPoolExecutor(2) as callers:
        assert list(callers.map(call, range(2))) == ["SUCCEEDED", "SUCCEEDED"]

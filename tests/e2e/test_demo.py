"""The demo, as a newcomer meets it, with the quickest engine."""

import contextlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service import environment

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the demo needs of a clone."""
    (tmp_path / "examples").mkdir()
    shutil.copy(EXAMPLES / "demo.py", tmp_path / "examples")
    shutil.copytree(EXAMPLES / "pair", tmp_path / "examples" / "pair")
    return tmp_path


def demo(clone: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(clone / "examples" / "demo.py")]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(clone, **settings), check=False, timeout=150
    )


def running(clone: Path) -> list[str]:
    """The command lines of processes that work for this clone."""
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # gone since it was listed
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if str(clone) in line]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at processes through /proc")
def test_the_demo_makes_a_video_and_leaves_nothing_running(clone: Path) -> None:
    ran = demo(clone, KF2V_ENGINE="still", HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="")
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"^ *[\d.]+ s  SUCCEEDED$", ran.stdout, re.MULTILINE)
    assert f"\n{clone / '.demo' / 'video.mp4'}\n" in ran.stdout
    assert "1280x720 pixels, 150 frames at 30 per second" in ran.stdout
    assert "5.000 s" in ran.stdout
    assert running(clone) == []


def test_a_demo_whose_service_does_not_come_up_says_why(clone: Path) -> None:
    ran = demo(clone, KF2V_ENGINE="steam")
    assert ran.returncode == 1
    assert "the service did not come up" in ran.stderr
    assert "engine: should be one of" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_demo_without_its_pair_says_so(clone: Path) -> None:
    (clone / "examples" / "pair" / "last.jpg").unlink()
    ran = demo(clone)
    assert ran.returncode == 1
    assert "last.jpg is missing" in ran.stderr

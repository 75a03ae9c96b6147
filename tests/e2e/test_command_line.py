"""The command line against a real server, as its owner uses it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from kf2v.video import mp4
from service import Service, environment


def kf2v(service: Service, home: Path, *words: object, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run one command as the owner of ``service``, who configured nothing but its place."""
    owner = environment(home, KF2V_URL=service.url, KF2V_DATA_DIR=str(service.data_dir), **settings)
    command = [sys.executable, "-m", "kf2v", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=home, env=owner, check=False, timeout=120)


@pytest.fixture
def frames(tmp_path: Path) -> tuple[Path, Path]:
    paths = (tmp_path / "first.png", tmp_path / "last.png")
    for path, colour in zip(paths, ((200, 30, 30), (30, 30, 200)), strict=True):
        Image.new("RGB", (480, 360), colour).save(path)
    return paths


def test_a_video_comes_home(service: Service, tmp_path: Path, frames: tuple[Path, Path]) -> None:
    ran = kf2v(service, tmp_path, "create", *frames, "-r", "480P", "-o", "out.mp4", DASHSCOPE_API_KEY=service.api_key)
    assert (ran.returncode, ran.stdout) == (0, "out.mp4\n"), ran.stderr
    facts = mp4.facts(tmp_path / "out.mp4")
    assert (facts.frames, facts.duration) == (150, 5.0)


def test_a_task_is_followed_by_its_id(service: Service, tmp_path: Path, frames: tuple[Path, Path]) -> None:
    key = {"DASHSCOPE_API_KEY": service.api_key}
    ordered = kf2v(service, tmp_path, "create", *frames, "-r", "480P", "--async", **key)
    task_id = ordered.stdout.strip()
    waited = kf2v(service, tmp_path, "tasks", "wait", task_id, "--json", **key)
    told = json.loads(waited.stdout)
    assert told["output"]["task_status"] == "SUCCEEDED"
    assert (tmp_path / told["output"]["video_path"]).is_file()
    assert task_id in kf2v(service, tmp_path, "tasks", "list", **key).stdout
    assert kf2v(service, tmp_path, "tasks", "cancel", task_id, **key).returncode == 1


def test_a_frame_that_is_none_fails_the_task_and_the_command(
    service: Service, tmp_path: Path, frames: tuple[Path, Path]
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    ran = kf2v(service, tmp_path, "create", frames[0], "text.png", DASHSCOPE_API_KEY=service.api_key)
    assert (ran.returncode, ran.stdout) == (8, "")
    assert "InvalidImage.FileFormat: " in ran.stderr


def test_a_key_made_while_the_server_runs_works_until_it_is_revoked(service: Service, tmp_path: Path) -> None:
    secret = kf2v(service, tmp_path, "keys", "create", "--account", "visitor").stdout.strip()
    keys = json.loads(kf2v(service, tmp_path, "keys", "list", "--json").stdout)["keys"]
    [made] = [key for key in keys if key["account"] == "visitor"]
    assert kf2v(service, tmp_path, "tasks", "list", DASHSCOPE_API_KEY=secret).returncode == 0
    assert kf2v(service, tmp_path, "keys", "revoke", made["id"]).returncode == 0
    assert kf2v(service, tmp_path, "tasks", "list", DASHSCOPE_API_KEY=secret).returncode == 3


def test_the_life_of_a_task_is_shown_watched_kept_and_ended(
    service: Service, idle_service: Service, tmp_path: Path, frames: tuple[Path, Path]
) -> None:
    def done(*words: str, at: Service = service) -> str:
        ran = kf2v(at, tmp_path, *words, DASHSCOPE_API_KEY=at.api_key)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    task_id = done("create", *map(str, frames), "-r", "480P", "--async").strip()
    lines = done("tasks", "watch", task_id).splitlines()
    assert lines[-1] == f"{task_id}  SUCCEEDED"
    shown = done("tasks", "show", task_id)
    assert "percent: 100\n" in shown
    assert "Succeeded in attempt 1." in shown
    assert done("tasks", "keep", task_id) == f"{task_id}\n"
    assert json.loads(done("tasks", "show", task_id, "--json"))["task"]["kept"] is True
    assert json.loads(done("tasks", "keep", task_id, "--no-longer", "--json"))["task"]["kept"] is False
    assert done("tasks", "delete", task_id) == f"{task_id}\n"
    assert kf2v(service, tmp_path, "tasks", "show", task_id, DASHSCOPE_API_KEY=service.api_key).returncode != 0
    assert kf2v(service, tmp_path, "tasks", "watch", task_id, DASHSCOPE_API_KEY=service.api_key).returncode != 0
    # where nobody works: a worker may be done before the next command has begun; ending what runs is test_follow's
    second = done("create", *map(str, frames), "-r", "480P", "--async", at=idle_service).strip()
    assert done("tasks", "cancel", "--running", second, at=idle_service) == f"{second}\n"
    assert done("tasks", "watch", second, at=idle_service) == f"{second}  CANCELED\n"

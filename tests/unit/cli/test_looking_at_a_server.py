"""``kf2v validate``, ``engines``, ``ps`` and ``tasks frame``: what a kf2v server says before and beside its tasks."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from endpoint import Answer, Endpoint

Kf2v = Callable[..., Any]

VALID = {
    "request_id": "r",
    "valid": True,
    "model": "wan2.2-kf2v-flash",
    "resolution": "720P",
    "first_frame": {"width": 480, "height": 360},
    "last_frame": {"width": 800, "height": 600},
}
SEED = {"code": "InvalidParameter", "message": "seed should be whole.", "field": "parameters.seed"}
WORDS = {"code": "DataInspectionFailed", "message": "The prompt may not pass."}
ENGINES = [
    {
        "engine": "morph",
        "fallback": True,
        "breaker": "closed",
        "ready": True,
        "models": [{"model": "a", "ready": True}],
    },
    {"engine": "wan", "fallback": False, "breaker": "closed", "ready": False, "reason": "No GPU.", "models": []},
    {
        "engine": "remote",
        "fallback": False,
        "breaker": "open",
        "ready": True,
        "models": [{"model": "b", "ready": True}],
    },
]
WORKERS = [
    {"worker": "w1", "seat": 0, "state": "working", "task": {"task_id": "task-1", "phase": "render", "percent": 61}},
    {"worker": "w2", "seat": 1, "state": "idle"},
]
SYSTEM = {
    "request_id": "r",
    "version": "9.9",
    "uptime_seconds": 5400,
    "ailments": {"disk": "nearly full"},
    "draining": True,
    "disk": {"total_bytes": 2e9, "free_bytes": 1e9},
    "queues": [{"account": "shop", "model": "m", "engine": "morph", "waiting": 3, "running": 1}],
}


def says(endpoint: Endpoint, method: str, path: str, told: dict[str, Any], status: int = 200) -> None:
    answer = Answer(status, json.dumps({"request_id": "r", **told}).encode())
    endpoint.instead.setdefault((method, f"/kf2v/v1/{path}"), []).append(answer)


def test_a_valid_order_is_looked_at_whole_and_nothing_is_uploaded(
    kf2v: Kf2v, pointed: Endpoint, frames: tuple[Path, Path]
) -> None:
    says(pointed, "POST", "validate", VALID)
    ran = kf2v("validate", *frames, "-p", "a cat", "--no-watermark")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "nothing is wrong: wan2.2-kf2v-flash at 720P, frames of 480x360 and 800x600\n"
    [asked] = pointed.asked
    assert asked.query == {"frames": "true"}
    told = asked.json()
    assert base64.b64decode(told["input"]["last_frame_url"].partition(",")[2]) == frames[1].read_bytes()
    assert (told["input"]["prompt"], told["parameters"]) == ("a cat", {"watermark": False})
    says(pointed, "POST", "validate", VALID)
    assert json.loads(kf2v("validate", *frames, "--json").out) == VALID


@pytest.mark.parametrize(("mistakes", "exit"), [([SEED, WORDS], 2), ([WORDS, SEED], 10)])
def test_every_mistake_is_told(kf2v: Kf2v, pointed: Endpoint, mistakes: list[dict[str, str]], exit: int) -> None:
    for _ in range(2):
        says(pointed, "POST", "validate", {**mistakes[0], "mistakes": mistakes}, 400)
    ran = kf2v("validate", "https://h.example/a.png", "https://h.example/b.png")
    assert (ran.code, ran.out) == (exit, "")
    assert [line for line in ran.err.splitlines() if line.startswith(("Inv", "Data"))] == [
        f"{mistake['code']}: {mistake['message']}" for mistake in mistakes
    ]
    told = json.loads(kf2v("validate", "https://h.example/a.png", "https://h.example/b.png", "--json").err)
    assert (told["message"], told["mistakes"]) == (mistakes[0]["message"], mistakes)


def test_a_server_that_cannot_validate_is_quoted(kf2v: Kf2v, pointed: Endpoint) -> None:
    ran = kf2v("validate", "https://h.example/a.png", "https://h.example/b.png")
    assert (ran.code, ran.out) == (1, "")
    assert "NotFound" in ran.err


def test_engines_are_told_with_what_they_make_and_what_they_lack(kf2v: Kf2v, pointed: Endpoint) -> None:
    says(pointed, "GET", "engines", {"engines": ENGINES})
    lines = kf2v("engines").out.splitlines()
    assert lines[1:] == [
        "morph   stands in     a",
        "wan     cannot        –       No GPU.",
        "remote  out of order  b",
    ]
    says(pointed, "GET", "engines", {"engines": ENGINES})
    assert json.loads(kf2v("engines", "--json").out)["engines"] == ENGINES


def test_workers_are_a_table_and_the_house_is_talk(kf2v: Kf2v, pointed: Endpoint) -> None:
    for _ in range(2):
        says(pointed, "GET", "workers", {"workers": WORKERS})
        says(pointed, "GET", "system", SYSTEM)
    ran = kf2v("ps")
    assert [line.split() for line in ran.out.splitlines()[1:]] == [
        ["w1", "working", "task-1", "render", "61", "%"],
        ["w2", "idle"],
    ]
    assert ran.err.splitlines() == [
        "shop, m by morph: 3 waiting, 1 running",
        "disk: nearly full",
        "kf2v 9.9, up 1.5 h, 1.0 GB free, takes nothing new",
    ]
    assert json.loads(kf2v("ps", "--json").out) == {**SYSTEM, "workers": WORKERS}


def test_a_frame_of_a_video_is_fetched_whole_or_not_at_all(kf2v: Kf2v, pointed: Endpoint, home: Path) -> None:
    path = "/kf2v/v1/tasks/task-1/frames/last.png"
    pointed.instead["GET", path] = [Answer(200, b"a picture", type="image/png")]
    ran = kf2v("tasks", "frame", "task-1")
    assert (ran.code, ran.out) == (0, "task-1-last.png\n")
    assert (home / "task-1-last.png").read_bytes() == b"a picture"
    pointed.fail_once("GET", path, 404, "NotFound", "The task has no video.")
    assert kf2v("tasks", "frame", "task-1", "-o", "x.png").code == 1
    assert sorted(file.name for file in home.iterdir()) == ["task-1-last.png"]


def test_where_a_frame_went_is_told_as_json_too(kf2v: Kf2v, pointed: Endpoint) -> None:
    pointed.instead["GET", "/kf2v/v1/tasks/task-1/frames/7.png"] = [Answer(200, b"a picture", type="image/png")]
    ran = kf2v("tasks", "frame", "task-1", "7", "--json")
    assert json.loads(ran.out) == {"task_id": "task-1", "frame_path": "task-1-7.png"}


@pytest.mark.parametrize(
    "words", [["show"], ["frame"], ["watch"], ["keep"], ["delete", "--yes"], ["cancel", "--running"], ["get"]]
)
def test_a_task_that_is_not_there_ends_every_command_alike(kf2v: Kf2v, pointed: Endpoint, words: list[str]) -> None:
    ran = kf2v("tasks", *words, "task-2")
    assert (ran.code, ran.out) == (9, "")
    assert "TaskUnknown" in ran.err


def test_a_loop_is_ordered_with_one_frame_that_is_uploaded_once(
    kf2v: Kf2v, pointed: Endpoint, frames: tuple[Path, Path]
) -> None:
    assert kf2v("create", frames[0], "--loop", "--async").code == 0
    told = pointed.of("POST", "/video-synthesis")[0].json()["input"]
    assert told["first_frame_url"] == told["last_frame_url"]
    assert len(pointed.of("POST", "/bucket")) == 1
    assert kf2v("create", *frames, "--loop", "--async").code == 2

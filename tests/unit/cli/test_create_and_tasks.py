"""Ordering, waiting and fetching: what goes where, and how each ending exits."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from endpoint import VIDEO, Answer, Endpoint

Kf2v = Callable[..., Any]
Frames = tuple[Path, Path]


def test_create_brings_the_video_home_and_prints_only_its_path(kf2v: Kf2v, pointed: Endpoint, frames: Frames) -> None:
    ran = kf2v("create", *frames, "-p", "a cat", "-o", "cat.mp4")
    assert (ran.code, ran.out) == (0, "cat.mp4\n")
    assert Path("cat.mp4").read_bytes() == VIDEO
    assert ran.err.splitlines()[:4] == ["task task-1", "PENDING", "RUNNING", "SUCCEEDED"]


def test_create_uploads_files_and_passes_choices_on(kf2v: Kf2v, pointed: Endpoint, frames: Frames) -> None:
    kf2v(
        "create", *frames, "-p", "cat", "-n", "dog", "-r", "480P", "--seed", "7", "--no-watermark", "--no-prompt-extend"
    )
    uploads = pointed.of("POST", "/bucket")
    assert [upload.form()["file"] for upload in uploads] == [frame.read_bytes() for frame in frames]
    [asked] = pointed.of("POST", "/image2video/video-synthesis")
    assert asked.json() == {
        "model": "wan2.2-kf2v-flash",
        "input": {
            "prompt": "cat",
            "negative_prompt": "dog",
            "first_frame_url": "oss://dashscope-instant/1/first_frame.png",
            "last_frame_url": "oss://dashscope-instant/2/last_frame.png",
        },
        "parameters": {"resolution": "480P", "seed": 7, "watermark": False, "prompt_extend": False},
    }


def test_urls_are_passed_on_and_file_urls_are_files(kf2v: Kf2v, pointed: Endpoint, frames: Frames) -> None:
    ran = kf2v("create", "--first-frame-url", "https://h.example/a.png", "--last-frame-url", frames[1].as_uri())
    given = pointed.of("POST", "/image2video/video-synthesis")[0].json()["input"]
    assert ran.code == 0
    assert given["first_frame_url"] == "https://h.example/a.png"
    assert given["last_frame_url"].endswith("/last_frame.png")


def test_create_async_prints_the_task_id_and_leaves(kf2v: Kf2v, pointed: Endpoint, frames: Frames) -> None:
    ran = kf2v("create", *frames, "--async")
    assert (ran.code, ran.out, ran.err) == (0, "task-1\n", "")
    assert not pointed.of("GET", "/tasks/task-1")


def test_create_as_json_is_the_answer_and_the_path(kf2v: Kf2v, pointed: Endpoint, frames: Frames) -> None:
    ran = kf2v("create", *frames, "--json", "-q")
    told = json.loads(ran.out)
    assert told["output"]["video_path"] == "task-1.mp4"
    assert told["output"]["video_url"] == f"{pointed.origin}/files/video.mp4"
    assert told["usage"] == {"video_duration": 5, "video_count": 1, "SR": 720}
    assert ran.err == ""
    assert Path("task-1.mp4").read_bytes() == VIDEO


def test_a_directory_as_output_gets_the_video(kf2v: Kf2v, pointed: Endpoint, home: Path) -> None:
    (home / "videos").mkdir()
    assert kf2v("tasks", "wait", "task-1", "-o", "videos", "-q").out == "videos/task-1.mp4\n"


def test_a_task_id_from_outside_cannot_leave_the_directory(kf2v: Kf2v, pointed: Endpoint, home: Path) -> None:
    output = {"task_id": "../../evil", "task_status": "SUCCEEDED", "video_url": f"{pointed.origin}/files/video.mp4"}
    answer = Answer(200, json.dumps({"output": output, "request_id": "r"}).encode())
    pointed.instead["GET", "/api/v1/tasks/task-1"] = [answer]
    ran = kf2v("tasks", "download", "task-1", "-q")
    assert ran.code == 0
    assert (home / ran.out.strip()).resolve().parent == home


@pytest.mark.parametrize("words", [(), ("first.png",), ("first.png", "last.png", "--first-frame-url", "http://h/1")])
def test_frames_named_not_at_all_or_twice_are_wrong_usage(
    kf2v: Kf2v, pointed: Endpoint, frames: Frames, words: tuple[str, ...]
) -> None:
    ran = kf2v("create", *words)
    assert (ran.code, ran.out) == (2, "")
    assert not pointed.asked


def test_a_missing_file_is_wrong_usage_before_anything_is_sent(kf2v: Kf2v, pointed: Endpoint) -> None:
    ran = kf2v("create", "no.png", "no.png")
    assert ran.code == 2
    assert "no.png" in ran.err
    assert not pointed.asked


def test_an_output_that_cannot_be_is_told_before_anything_is_sent(
    kf2v: Kf2v, pointed: Endpoint, frames: Frames
) -> None:
    ran = kf2v("create", *frames, "-o", "nowhere/out.mp4")
    assert (ran.code, ran.out) == (2, "")
    assert not pointed.asked


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ({"task_status": "FAILED", "code": "InvalidURL", "message": "cannot download"}, 8),
        ({"task_status": "FAILED", "code": "DataInspectionFailed", "message": "inappropriate"}, 10),
        ({"task_status": "CANCELED"}, 9),
        ({"task_status": "UNKNOWN"}, 9),
    ],
)
def test_an_end_without_a_video_has_its_exit_and_no_output(
    kf2v: Kf2v, pointed: Endpoint, state: dict[str, str], code: int
) -> None:
    pointed.states = [state]
    ran = kf2v("tasks", "wait", "task-1")
    assert (ran.code, ran.out) == (code, "")
    assert state.get("message", "task-1") in ran.err
    assert "request_id: r-poll" in ran.err


def test_a_failure_as_json_is_one_object_on_stderr(kf2v: Kf2v, pointed: Endpoint) -> None:
    pointed.states = [{"task_status": "FAILED", "code": "InternalError.Algo", "message": "engine"}]
    ran = kf2v("tasks", "wait", "task-1", "--json", "-q")
    assert (ran.code, ran.out) == (8, "")
    assert json.loads(ran.err) == {
        "code": "InternalError.Algo",
        "message": "engine",
        "request_id": "r-poll",
        "task_id": "task-1",
        "task_status": "FAILED",
    }


@pytest.mark.parametrize(
    ("status", "api_code", "code"),
    [(401, "InvalidApiKey", 3), (403, "AccessDenied", 3), (429, "Throttling.RateQuota", 4), (500, "InternalError", 1)],
)
def test_a_refused_order_has_its_exit(
    kf2v: Kf2v, pointed: Endpoint, frames: Frames, status: int, api_code: str, code: int
) -> None:
    pointed.fail_once("POST", "/api/v1/services/aigc/image2video/video-synthesis", status, api_code, "no")
    ran = kf2v("create", *frames)
    assert (ran.code, ran.out) == (code, "")
    assert f"{api_code}: no\n" in ran.err
    assert "request_id: r-bad" in ran.err


def test_nobody_there_is_a_network_error_with_a_way_out(
    kf2v: Kf2v, pointed: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    pointed.close()
    ran = kf2v("tasks", "get", "task-1")
    assert (ran.code, ran.out) == (6, "")
    assert "kf2v serve" in ran.err


def test_patience_that_ends_leaves_the_task_alone(kf2v: Kf2v, pointed: Endpoint) -> None:
    pointed.states = [{"task_status": "RUNNING"}]
    ran = kf2v("tasks", "wait", "task-1", "--timeout", "0")
    assert (ran.code, ran.out) == (5, "")
    assert "kf2v tasks wait task-1" in ran.err
    assert not pointed.of("POST", "/cancel")


def _hearing_ctrl_c() -> None:
    """As at a terminal: a shell makes what it runs in the background deaf to Ctrl-C, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_detaches_and_says_how_to_come_back(pointed: Endpoint) -> None:
    pointed.states = [{"task_status": "RUNNING"}]
    command = [sys.executable, "-m", "kf2v", "tasks", "wait", "task-1", "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stderr=pipe, stdout=pipe, text=True, preexec_fn=_hearing_ctrl_c) as waiting:
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == "RUNNING\n"
        os.kill(waiting.pid, signal.SIGINT)
        out, err = waiting.communicate(timeout=30)
    assert (waiting.returncode, out) == (130, "")
    told = json.loads(err)
    assert (told["task_id"], told["message"]) == ("task-1", "task task-1 continues")
    assert "kf2v tasks cancel task-1" in told["fix"]
    assert not pointed.of("POST", "/cancel")


def test_on_a_terminal_progress_is_drawn_and_stdout_stays_clean(pointed: Endpoint, home: Path) -> None:
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "kf2v", "tasks", "wait", "task-1"]
    with subprocess.Popen(command, stderr=terminal, stdout=subprocess.PIPE, text=True) as waiting:
        os.close(terminal)
        drawn = b""
        with contextlib.suppress(OSError):  # how a terminal says that the other side has left
            while piece := os.read(screen, 65536):
                drawn += piece
        out, _ = waiting.communicate(timeout=30)
    os.close(screen)
    assert (waiting.returncode, out) == (0, "task-1.mp4\n")
    assert b"\x1b[" in drawn
    assert b"task-1.mp4: " in drawn


@pytest.mark.parametrize(
    ("typed", "code", "out"), [(b"y\n", 0, "task-1\n"), (b"YES\n", 0, "task-1\n"), (b"\n", 7, ""), (b"\x04", 7, "")]
)
def test_who_is_asked_on_a_terminal_finds_nothing_of_it_in_the_data(
    pointed: Endpoint, home: Path, typed: bytes, code: int, out: str
) -> None:
    pointed.instead["DELETE", "/kf2v/v1/tasks/task-1"] = [Answer(200, b'{"request_id": "r"}')]
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "kf2v", "tasks", "delete", "task-1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=terminal, stdout=pipe, stderr=pipe, text=True) as asking:
        os.close(terminal)
        os.write(keyboard, typed)
        told, asked = asking.communicate(timeout=30)
    os.close(keyboard)
    assert (asking.returncode, told) == (code, out)
    assert asked.startswith("Delete task task-1 and its video? [y/N]: ")
    assert ("NotConfirmed: task task-1 is still there" in asked) == bool(code)


def test_who_hears_no_more_of_a_task_is_told_which_it_was(kf2v: Kf2v, pointed: Endpoint, home: Path) -> None:
    pointed.fail_once("GET", "/api/v1/tasks/task-1", 401, "InvalidApiKey", "Invalid API-key provided.")
    told = json.loads(kf2v("tasks", "wait", "task-1", "--json", "--quiet").err)
    assert (told["code"], told["task_id"]) == ("InvalidApiKey", "task-1")
    assert told["fix"].endswith("; then: kf2v tasks wait task-1")
    pointed.states = [{"task_status": "SUCCEEDED"}]
    pointed.fail_once("GET", "/files/video.mp4", 403, "AccessDenied", "The link is invalid or has expired.")
    told = json.loads(kf2v("tasks", "wait", "task-1", "--json", "--quiet").err)
    assert (told["code"], told["task_id"]) == ("AccessDenied", "task-1")
    assert told["fix"].endswith("kf2v tasks download task-1")


def test_a_download_cut_short_leaves_no_file(kf2v: Kf2v, pointed: Endpoint, home: Path) -> None:
    pointed.states = [{"task_status": "SUCCEEDED"}]
    pointed.fail_once("GET", "/files/video.mp4", 403, "AccessDenied", "The link is invalid or has expired.")
    before = sorted(home.iterdir())
    ran = kf2v("tasks", "download", "task-1")
    assert (ran.code, ran.out) == (3, "")
    assert sorted(home.iterdir()) == before


def test_a_download_replaces_what_is_there(kf2v: Kf2v, pointed: Endpoint, home: Path) -> None:
    pointed.states = [{"task_status": "SUCCEEDED"}]
    (home / "old.mp4").write_text("old")
    assert kf2v("tasks", "download", "task-1", "-o", "old.mp4").code == 0
    assert (home / "old.mp4").read_bytes() == VIDEO


def test_a_download_does_not_wait(kf2v: Kf2v, pointed: Endpoint) -> None:
    pointed.states = [{"task_status": "RUNNING"}]
    ran = kf2v("tasks", "download", "task-1")
    assert (ran.code, ran.out) == (1, "")
    assert "RUNNING" in ran.err


def test_get_prints_what_is_known(kf2v: Kf2v, pointed: Endpoint) -> None:
    ran = kf2v("tasks", "get", "task-1")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "task_id: task-1",
        "task_status: PENDING",
        "submit_time: 2026-11-21 06:25:38.879",
    ]


def test_get_of_an_unknown_task_exits_with_9(kf2v: Kf2v, pointed: Endpoint) -> None:
    ran = kf2v("tasks", "get", "task-2")
    assert (ran.code, ran.out) == (9, "")


def test_list_is_a_table_or_the_answer(kf2v: Kf2v, pointed: Endpoint) -> None:
    lines = kf2v("tasks", "list", "--status", "SUCCEEDED", "--page-size", "5").out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["task_id", "status", "model"],
        ["task-1", "SUCCEEDED", "wan2.2-kf2v-flash"],
    ]
    assert lines[1].endswith("  2.1")
    assert pointed.asked[-1].query == {"page_no": "1", "page_size": "5", "status": "SUCCEEDED"}
    assert json.loads(kf2v("tasks", "list", "--json").out)["data"][0]["task_id"] == "task-1"


def test_cancel_prints_the_id_or_says_why_not(kf2v: Kf2v, pointed: Endpoint) -> None:
    assert kf2v("tasks", "cancel", "task-1").out == "task-1\n"
    pointed.fail_once("POST", "/api/v1/tasks/task-1/cancel", 400, "UnsupportedOperation", "not PENDING")
    ran = kf2v("tasks", "cancel", "task-1")
    assert (ran.code, ran.out) == (1, "")
    assert "UnsupportedOperation: not PENDING" in ran.err

"""A service that cannot start says so in one line; a video needs no service."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from endpoint import Answer, Endpoint
from kf2v.store.sqlite.ownership import Ownership
from kf2v.video import mp4

Kf2v = Callable[..., Any]
Frames = tuple[Path, Path]


def told_in_short(ran: Any, code: int) -> bool:
    return (ran.code, ran.out) == (code, "") and len(ran.err.splitlines()) <= 2 and "Traceback" not in ran.err


def test_a_taken_port_is_told(kf2v: Kf2v) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = kf2v("serve", "--port", port)
    assert told_in_short(ran, 1)
    assert f"127.0.0.1:{port}" in ran.err


def test_data_in_use_is_told(kf2v: Kf2v, home: Path) -> None:
    (home / "data").mkdir()
    held = Ownership(home / "data" / "kf2v.db")
    try:
        ran = kf2v("serve", "--port", "0")
    finally:
        held.release()
    assert told_in_short(ran, 1)
    assert "in use by process" in ran.err


def test_a_data_directory_that_cannot_be_is_told(kf2v: Kf2v, home: Path) -> None:
    (home / "file").write_text("")
    ran = kf2v("serve", "--data-dir", home / "file" / "data")
    assert told_in_short(ran, 1)
    assert str(home / "file") in ran.err


@pytest.mark.parametrize(
    ("words", "named"),
    [(("--port", "99999"), "port"), (("--engine", "steam"), "engine"), (("--public-url", "example"), "public_url")],
)
def test_a_flag_that_cannot_be_used_is_named(kf2v: Kf2v, words: tuple[str, str], named: str) -> None:
    ran = kf2v("serve", *words)
    assert told_in_short(ran, 1)
    assert named in ran.err


@pytest.mark.parametrize("entry", ["http://frames.example/", "10.0.0.0/8", "*.example.com"])
def test_hosts_that_no_worker_could_read_are_told_at_the_start(
    kf2v: Kf2v, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    monkeypatch.setenv("KF2V_FETCH_ALLOW_HOSTS", f"127.0.0.1,{entry}")
    ran = kf2v("serve", "--port", "0")
    assert told_in_short(ran, 1)
    assert entry in ran.err


def test_run_makes_a_video_with_no_server(kf2v: Kf2v, frames: Frames) -> None:
    ran = kf2v("run", *frames, "-o", "out.mp4", "-r", "480P", "--seed", "7", "--engine", "still")
    assert (ran.code, ran.out) == (0, "out.mp4\n")
    assert "seed 7" in ran.err
    facts = mp4.facts(Path("out.mp4"))
    assert (facts.frames, facts.fps, facts.duration) == (150, 30, 5.0)


def test_run_fetches_frames_from_any_host_that_was_typed(
    kf2v: Kf2v, endpoint: Endpoint, frames: Frames, home: Path
) -> None:
    endpoint.instead["GET", "/first.png"] = [Answer(200, frames[0].read_bytes(), "image/png")]
    url = f"{endpoint.origin}/first.png"
    ran = kf2v("run", url, frames[1], "-r", "480P", "--engine", "still")
    assert (ran.code, ran.out) == (0, "out.mp4\n")
    ran = kf2v("run", url, frames[1], "-r", "480P", "--engine", "still", "-o", "none.mp4")
    assert (ran.code, ran.out) == (8, "")
    assert "InvalidURL: " in ran.err
    assert not (home / "none.mp4").exists()


@pytest.mark.parametrize("url", ["http://[::1/a.png", "http:///a.png", "https://a b/c.png", "http://a.example:99999/"])
def test_run_refuses_a_url_that_cannot_be_read(kf2v: Kf2v, frames: Frames, url: str) -> None:
    ran = kf2v("run", url, frames[1], "--engine", "still", "-q")
    assert told_in_short(ran, 2)
    assert ran.err.startswith("InvalidParameter: The provided URL does not appear to be valid.")


def test_run_as_json_tells_what_was_made(kf2v: Kf2v, frames: Frames) -> None:
    ran = kf2v("run", *frames, "-r", "480P", "--seed", "7", "--engine", "still", "--json", "-q", "--no-prompt-extend")
    told = json.loads(ran.out)
    assert told["output"] == {"task_status": "SUCCEEDED", "video_path": "out.mp4", "orig_prompt": "", "seed": 7}
    assert told["usage"] == {"video_duration": 5, "video_count": 1, "SR": 480}
    assert ran.err == ""


def test_run_with_something_that_is_no_picture_fails_like_a_task(kf2v: Kf2v, frames: Frames, home: Path) -> None:
    (home / "text.png").write_text("no picture")
    ran = kf2v("run", frames[0], "text.png", "--engine", "still", "-q")
    assert (ran.code, ran.out) == (8, "")
    assert ran.err.startswith("InvalidImage.FileFormat: ")
    assert not (home / "out.mp4").exists()


@pytest.mark.parametrize(
    "words", [("-r", "4K"), ("-m", "no-such-model"), ("--seed", "-1"), ("-o", "nowhere/out.mp4"), ("--seed", "many")]
)
def test_run_refuses_what_the_api_would_refuse(kf2v: Kf2v, frames: Frames, words: tuple[str, str]) -> None:
    ran = kf2v("run", *frames, "--engine", "still", *words)
    assert (ran.code, ran.out) == (2, "")


def test_a_video_never_takes_the_place_of_what_is_no_file(kf2v: Kf2v, frames: Frames, home: Path) -> None:
    os.mkfifo(home / "pipe")
    ran = kf2v("run", *frames, "--engine", "still", "-o", "pipe")
    assert (ran.code, ran.out) == (2, "")
    assert "pipe" in ran.err
    assert (home / "pipe").is_fifo()

"""A client that follows its tasks over a real socket, through breaks and restarts, and calls off what already runs."""

import base64
import http.client
import io
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kf2v.video import Size
from scenery import landscape
from service import Service, serving

PATIENCE = 60.0


class Stream:
    """What an EventSource sees: events with a kind, an id and JSON."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.answer = answer
        self.last_id = ""

    def __next__(self) -> tuple[str, dict[str, Any]]:
        """The next event. Raises StopIteration when the server has ended the stream."""
        members: dict[str, str] = {}
        while (line := self.answer.readline().decode()) != "":
            if line == "\n" and "data" in members:
                self.last_id = members["id"]
                return members["event"], json.loads(members["data"])
            name, _, value = line.rstrip("\n").partition(": ")
            members[name] = value
        raise StopIteration

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        return self

    def until(self, task_id: str, status: str) -> list[dict[str, Any]]:
        """The task as it was told, up to that status."""
        seen: list[dict[str, Any]] = []
        for kind, told in self:
            if kind == "task" and told["task_id"] == task_id:
                seen.append(told)
                if told["task_status"] == status:
                    return seen
        raise AssertionError(f"the stream ended before {status}: {seen}")


@contextmanager
def following(service: Service, query: str = "", **headers: str) -> Iterator[Stream]:
    connection = http.client.HTTPConnection(*service.address, timeout=PATIENCE)
    try:
        sent = {"Authorization": f"Bearer {service.api_key}"} | headers
        connection.request("GET", f"/kf2v/v1/events{query}", headers=sent)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
        yield Stream(answer)
    finally:
        connection.close()


def ordered(service: Service, gallery: str, resolution: str = "480P") -> str:
    frames = {"first_frame_url": f"{gallery}/first_frame.png", "last_frame_url": f"{gallery}/last_frame.png"}
    body = {"model": "wan2.2-kf2v-flash", "input": frames, "parameters": {"resolution": resolution}}
    return service.create(body).json["output"]["task_id"]


def test_a_client_is_told_the_whole_life_of_a_task_and_goes_on_after_a_break(service: Service, gallery: str) -> None:
    with following(service) as stream:
        assert next(stream)[0] == "hello"
        task_id = ordered(service, gallery)
        first = stream.until(task_id, "RUNNING")
        assert first[0]["task_status"] == "PENDING"
    service.finish(task_id)
    missed = ordered(service, gallery)
    service.finish(missed)
    with following(service, **{"Last-Event-ID": stream.last_id}) as stream:
        rest = stream.until(task_id, "SUCCEEDED")
        assert rest[-1]["percent"] == 100
        assert rest[-1]["video_url"]
        assert stream.until(missed, "SUCCEEDED")[0]["task_status"] == "PENDING"
    with following(service, f"?last_event_id={stream.last_id}&task_id={missed}") as stream:
        service.request("DELETE", f"/kf2v/v1/tasks/{task_id}")
        service.request("DELETE", f"/kf2v/v1/tasks/{missed}")
        assert next(stream) == ("deleted", {"task_id": missed})


def test_progress_never_goes_back_on_the_stream(service: Service, gallery: str) -> None:
    with following(service) as stream:
        assert next(stream)[0] == "hello"
        seen = stream.until(ordered(service, gallery, "720P"), "SUCCEEDED")
    percents = [told["percent"] for told in seen]
    assert percents == sorted(percents)


def test_one_who_was_here_in_another_life_of_the_server_is_told_to_read_again(tmp_path: Path, gallery: str) -> None:
    with serving(tmp_path, workers=1) as service, following(service) as stream:
        next(stream)
        task_id = ordered(service, gallery)
        stream.until(task_id, "SUCCEEDED")
    with serving(tmp_path, workers=1) as service, following(service, **{"Last-Event-ID": stream.last_id}) as again:
        kind, told = next(again)
        assert kind == "resync"
        assert told["last_event_id"] == again.last_id
        second = ordered(service, gallery)
        assert again.until(second, "SUCCEEDED")[0]["task_status"] == "PENDING"


def test_streams_do_not_hold_up_a_server_that_ends_and_hear_the_last_news(tmp_path: Path, gallery: str) -> None:
    with serving(tmp_path, workers=1, drain_seconds="30") as service, following(service) as stream:
        assert next(stream)[0] == "hello"
        task_id = ordered(service, gallery, "720P")
        assert any(told.get("percent") for _, told in stream), "a worker that has just begun may still hand it back"
        service.process.send_signal(signal.SIGTERM)
        assert stream.until(task_id, "SUCCEEDED")
        assert list(stream) == []
        service.process.wait(PATIENCE)


@pytest.mark.parametrize("token", ["", "?token=st-nobodys", "?token=sk-nobodys"])
def test_a_stream_needs_a_key(service: Service, token: str) -> None:
    reply = service.get(f"/kf2v/v1/events{token}", key=None)
    assert (reply.status, reply.json["code"]) == (401, "InvalidApiKey")


def test_a_key_of_the_long_kind_does_not_work_in_an_address(service: Service) -> None:
    reply = service.get(f"/kf2v/v1/events?token={service.api_key}", key=None)
    assert reply.status == 401


# --- calling off what runs


def picture(shift: float) -> str:
    file = io.BytesIO()
    Image.fromarray(landscape(Size(width=1280, height=720), shift=shift)).save(file, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def whole(service: Service, task_id: str) -> dict[str, Any]:
    return service.get(f"/kf2v/v1/tasks/{task_id}").json["task"]


def await_that(service: Service, task_id: str, **members: Any) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while not members.items() <= (task := whole(service, task_id)).items():
        assert time.monotonic() < deadline, f"{task}\n{service.log_tail()}"
        assert task["task_status"] in ("PENDING", "RUNNING"), task
        time.sleep(0.02)
    return task


def test_a_task_canceled_in_mid_render_makes_room_for_the_next(tmp_path: Path) -> None:
    body = {
        "model": "wan2.2-kf2v-flash",
        "input": {"first_frame_url": picture(0), "last_frame_url": picture(60), "prompt": ""},
        "parameters": {"resolution": "720P", "prompt_extend": False},
    }
    with serving(tmp_path, workers=1, engine="morph", drain_seconds="0") as service:
        task_id, following_it = (service.create(body).json["output"]["task_id"] for _ in range(2))
        await_that(service, task_id, phase="render")
        began = time.monotonic()
        reply = service.request("POST", f"/kf2v/v1/tasks/{task_id}/cancel")
        assert (reply.status, reply.json["task"]["task_status"]) == (200, "CANCELED")
        await_that(service, following_it, task_status="RUNNING")
        took = time.monotonic() - began
        service.request("POST", f"/kf2v/v1/tasks/{following_it}/cancel")
        third = service.create(body).json["output"]["task_id"]
        await_that(service, third, task_status="RUNNING")
        assert whole(service, task_id)["task_status"] == "CANCELED"
        assert "usage" not in service.task(task_id)
        assert not list((service.data_dir / "blobs").glob("videos/*/*"))
    assert took < 30, "a worker must not finish what was canceled first"


def test_a_worker_that_does_not_let_go_is_replaced(tmp_path: Path, gallery: str) -> None:
    with serving(tmp_path, workers=1, cancel_grace_seconds="0.3") as service:
        task_id = ordered(service, gallery, "720P")
        stuck = await_that(service, task_id, task_status="RUNNING")["worker"]
        (process,) = worker_processes(service, stuck)
        os.kill(process, signal.SIGSTOP)
        assert service.request("POST", f"/kf2v/v1/tasks/{task_id}/cancel").status == 200
        second = ordered(service, gallery)
        assert service.finish(second)["output"]["task_status"] == "SUCCEEDED"
        assert service.task(task_id)["output"]["task_status"] == "CANCELED"
        assert not list((service.data_dir / "blobs").glob(f"videos/{task_id}/*"))


def worker_processes(service: Service, name: str) -> list[int]:
    found: list[int] = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except OSError:
            continue
        if name.encode() in words and b"worker" in words:
            found.append(int(place.parent.name))
    return found

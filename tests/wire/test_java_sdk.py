"""What the Java SDK sends, byte for byte, and whether it could read what comes back.

The requests were recorded from the unmodified SDK in three versions. Replaced are the host, the key, ids that only
the server can know, and in uploads the policy's fields, the picture's bytes and the lengths that follow from them.
"""

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import java_reader as java
import pytest

from formats import is_link
from gallery import COLD, WARM, picture
from service import Reply, Service

VERSIONS = ("2.22.29", "2.22.6", "2.20.9")
CREATES = ("create_https_parameters_map", "create_https_setters", "create_https_wan21_no_prompt")
LISTS = (
    "list_page_no_page_size",
    "list_model_name_page_no_page_size_status",
    "list_model_name_page_no_page_size",
    "list_end_time_page_no_page_size_start_time",
)
REFUSED = "Failed to cancel the task, please confirm if the task is in PENDING status."
DUMMY = "<PNG bytes>"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One recorded request."""

    name: str
    method: str
    path: str
    headers: list[list[str]]
    body: str

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@pytest.fixture(scope="module", params=VERSIONS)
def recorded(request: pytest.FixtureRequest) -> dict[str, Request]:
    """The requests of one SDK version by name."""
    text = (Path(__file__).parent / "java" / f"{request.param}.json").read_text(encoding="utf-8")
    return {
        entry["name"]: Request(
            name=entry["name"],
            method=entry["method"],
            path=entry["path"],
            headers=entry["request_headers"],
            body=entry["request_body"],
        )
        for entry in json.loads(text)
    }


class Line:
    """One keep-alive connection, as OkHttp holds it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._socket = socket.create_connection(service.address, timeout=60)

    def close(self) -> None:
        self._socket.close()

    def send(self, request: Request, *, path: str | None = None, body: bytes | None = None) -> Reply:
        """Send ``request``; ``body`` replaces the recorded one, and then only its length changes too."""
        content = request.body.encode() if body is None else body
        recorded = request.header("Content-Length")
        if body is None and recorded is not None:
            assert int(recorded) == len(content), "the recording is damaged"
        head = [f"{request.method} {path or request.path} HTTP/1.1"]
        for name, value in request.headers:
            if name == "Host":
                value = "{}:{}".format(*self._service.address)
            elif value == "Bearer sk-test":
                value = f"Bearer {self._service.api_key}"
            elif name == "Content-Length":
                value = str(len(content))
            head.append(f"{name}: {value}")
        self._socket.sendall("\r\n".join([*head, "", ""]).encode() + content)
        answer = http.client.HTTPResponse(self._socket, method=request.method)
        answer.begin()
        reply = Reply(
            status=answer.status,
            headers={name.lower(): value for name, value in answer.getheaders()},
            body=answer.read(),
        )
        answer.close()
        assert reply.headers.get("connection", "keep-alive").lower() != "close"
        return reply


@pytest.fixture
def line(idle_service: Service) -> Iterator[Line]:
    """A connection to a server that makes nothing."""
    with closing(Line(idle_service)) as opened:
        yield opened


def test_creates_are_accepted_and_their_tasks_readable_on_the_same_connection(
    recorded: dict[str, Request], line: Line
) -> None:
    for name in CREATES:
        if name not in recorded:
            continue  # 2.20.9 has no such setters
        created = line.send(recorded[name])
        assert created.status == 200, created.body
        output = java.read_task(created.json)
        assert output["task_status"] == "PENDING"
        fetched = java.read_task(line.send(recorded["fetch_PENDING"], path=f"/api/v1/tasks/{output['task_id']}").json)
        assert (fetched["task_id"], fetched["task_status"]) == (output["task_id"], "PENDING")


def test_a_task_is_cancelled_once(recorded: dict[str, Request], line: Line) -> None:
    task_id = line.send(recorded["create_https_parameters_map"]).json["output"]["task_id"]
    canceled = line.send(recorded["cancel_ok"], path=f"/api/v1/tasks/{task_id}/cancel")
    assert canceled.status == 200
    java.read_envelope(canceled.json)
    assert "output" not in canceled.json
    fetched = java.read_task(line.send(recorded["fetch_CANCELED"], path=f"/api/v1/tasks/{task_id}").json)
    assert fetched["task_status"] == "CANCELED"
    assert "scheduled_time" not in fetched
    again = line.send(recorded["cancel_refused"], path=f"/api/v1/tasks/{task_id}/cancel")
    told = java.read_error(again.status, again.headers["content-type"], again.json)
    assert told == (400, "UnsupportedOperation", REFUSED)


def test_an_unknown_task_reads_unknown(recorded: dict[str, Request], line: Line) -> None:
    request = recorded["fetch_UNKNOWN"]
    output = java.read_task(line.send(request).json)
    assert output == {"task_id": request.path.rpartition("/")[2], "task_status": "UNKNOWN"}


@pytest.mark.parametrize("name", LISTS)
def test_lists_can_be_read(recorded: dict[str, Request], line: Line, name: str) -> None:
    created = line.send(recorded["create_https_wan21_no_prompt"]).json["output"]["task_id"]
    reply = line.send(recorded[name])
    assert reply.status == 200, reply.body
    rows = java.read_list(reply.json)
    if name == "list_page_no_page_size":
        assert rows[0]["task_id"] == created
        assert rows[0]["user_api_unique_key"] == "apikey:v1:aigc:image2video:video-synthesis:wan2.1-kf2v-plus"
    elif name == "list_model_name_page_no_page_size":
        assert rows == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("create_error_401", (401, "InvalidApiKey", "Invalid API-key provided.")),
        ("fetch_error_401_badkey", (401, "InvalidApiKey", "Invalid API-key provided.")),
        ("upload_policy_401", (401, "InvalidApiKey", "Invalid API-key provided.")),
        ("fetch_error_401_nokey", (401, "InvalidApiKey", "No API-key provided.")),
    ],
)
def test_refusals_can_be_read(recorded: dict[str, Request], line: Line, name: str, told: tuple[int, str, str]) -> None:
    reply = line.send(recorded[name])
    assert java.read_error(reply.status, reply.headers["content-type"], reply.json) == told


def test_an_unknown_model_is_refused_in_the_vendors_words_and_ours(recorded: dict[str, Request], line: Line) -> None:
    reply = line.send(recorded["create_error_404"])
    status, code, message = java.read_error(reply.status, reply.headers["content-type"], reply.json)
    assert (status, code) == (400, "InvalidParameter")
    assert message.startswith("Model not exist.")
    assert "wan9.9-kf2v-none" in message
    assert "wan2.2-kf2v-flash" in message


def filled(request: Request, data: Any, key: str, content: bytes) -> bytes:
    """The recorded form with a real policy and a real picture, and every part's length put right."""
    boundary = (request.header("Content-Type") or "").partition("boundary=")[2]
    values = {
        "OSSAccessKeyId": data["oss_access_key_id"],
        "Signature": data["signature"],
        "policy": data["policy"],
        "key": key,
        "x-oss-object-acl": data["x_oss_object_acl"],
        "x-oss-forbid-overwrite": data["x_oss_forbid_overwrite"],
    }
    parts: list[bytes] = []
    for part in request.body.split(f"--{boundary}")[1:-1]:
        head, _, old = part.removesuffix("\r\n").partition("\r\n\r\n")
        named = re.search(r'name="([^"]+)"', head)
        assert named is not None
        new = content if old == DUMMY else values.get(named[1], old).encode()
        head = re.sub(r"Content-Length: \d+", f"Content-Length: {len(new)}", head)
        parts.append(head.encode() + b"\r\n\r\n" + new + b"\r\n")
    edge = f"--{boundary}".encode()
    return edge + edge.join(parts) + edge + b"--\r\n"


@pytest.mark.parametrize(("upload", "create"), [("upload", "create_oss"), ("upload_unicode", "create_oss_unicode")])
def test_local_files_travel_by_policy_and_become_a_video(
    recorded: dict[str, Request], service: Service, upload: str, create: str
) -> None:
    frames = re.findall(r'"(first_frame_url|last_frame_url)":"(oss://[^"]+)"', recorded[create].body)
    body = recorded[create].body
    with closing(Line(service)) as line:
        for (_, theirs), colour in zip(frames, (WARM, COLD), strict=True):
            data = java.read_policy(line.send(recorded["upload_policy"]).json)
            key = f"{data['upload_dir']}/{theirs.rpartition('/')[2]}"
            form = filled(recorded[upload], data, key, picture(colour))
            host = data["upload_host"].removeprefix(service.url)
            assert line.send(recorded[upload], path=host, body=form).status == 200
            body = body.replace(theirs, "oss://" + key)
        created = java.read_task(line.send(recorded[create], body=body.encode()).json)
        service.finish(created["task_id"])
        reply = line.send(recorded["fetch_SUCCEEDED"], path=f"/api/v1/tasks/{created['task_id']}")
    output = java.read_task(reply.json)
    assert output["task_status"] == "SUCCEEDED", output
    assert is_link(output["video_url"])
    assert reply.json["usage"]["SR"] == int(json.loads(body)["parameters"]["resolution"].removesuffix("P"))

"""Uploads as strangers may send them: any name, any form, two at once, or only half of one."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gallery import WARM, picture
from service import CREATE, Reply, Service

EDGE = b"edge-of-a-part"
FIELDS = ("OSSAccessKeyId", "Signature", "policy", "key", "x-oss-object-acl", "x-oss-forbid-overwrite")

bounded = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def line(idle_service: Service) -> Iterator[http.client.HTTPConnection]:
    """One connection for all of it."""
    with closing(http.client.HTTPConnection(*idle_service.address, timeout=60)) as connection:
        yield connection


def policy(service: Service) -> Any:
    return service.get("/api/v1/uploads?action=getPolicy&model=wan2.2-kf2v-flash").json["data"]


def part(name: bytes, value: bytes, *, filename: bytes | None = None) -> bytes:
    about = b'; filename="' + filename + b'"' if filename is not None else b""
    head = b'Content-Disposition: form-data; name="' + name + b'"' + about
    return b"--" + EDGE + b"\r\n" + head + b"\r\n\r\n" + value + b"\r\n"


def form(granted: Any, name: bytes, content: bytes, *, filename: bytes = b"x.png") -> bytes:
    """A whole form for the file ``name`` under ``granted``."""
    fields = {
        b"OSSAccessKeyId": granted["oss_access_key_id"].encode(),
        b"Signature": granted["signature"].encode(),
        b"policy": granted["policy"].encode(),
        b"key": granted["upload_dir"].encode() + b"/" + name,
        b"success_action_status": b"200",
    }
    parts = [part(field, value) for field, value in fields.items()]
    return b"".join([*parts, part(b"file", content, filename=filename), b"--" + EDGE + b"--\r\n"])


def post(line: http.client.HTTPConnection, body: bytes, headers: dict[str, str] | None = None) -> Reply:
    usual = {"Content-Type": f"multipart/form-data; boundary={EDGE.decode()}"}
    line.request("POST", "/uploads", body=body, headers=usual | (headers or {}))
    answer = line.getresponse()
    return Reply(
        status=answer.status,
        headers={name.lower(): value for name, value in answer.getheaders()},
        body=answer.read(),
    )


def assert_defined(reply: Reply, allowed: set[int]) -> None:
    assert reply.status in allowed, (reply.status, reply.body[:500])
    if reply.status == 200:
        assert reply.body == b""
    else:
        assert set(reply.json) == {"code", "message", "request_id"}
        assert reply.headers["x-request-id"] == reply.json["request_id"]


@bounded
@given(name=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(name=b"")
@example(name=b"../../x")
@example(name=b"\x00")
@example(name=b"\xff\xfe")
@example(name="首 帧+%.png".encode())
@example(name=b"x" * 2000)
def test_any_name_is_kept_or_refused(line: http.client.HTTPConnection, idle_service: Service, name: bytes) -> None:
    body = form(policy(idle_service), name, b"not a picture", filename=name.replace(b'"', b"").replace(b"\n", b""))
    assert_defined(post(line, body), {200, 400, 403})


@bounded
@given(
    body=st.binary(max_size=300)
    | st.lists(st.tuples(st.sampled_from(FIELDS) | st.text(max_size=20), st.text(max_size=40)), max_size=60).map(
        lambda fields: b"".join(part(name.encode(), value.encode()) for name, value in fields) + b"--" + EDGE + b"--"
    ),
    content_type=st.sampled_from(
        [
            f"multipart/form-data; boundary={EDGE.decode()}",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=é",
            "multipart/form-data; charset=nonsense; boundary=x",
            f"multipart/form-data; charset=utf-16; boundary={EDGE.decode()}",
            "application/x-www-form-urlencoded",
            "",
        ]
    ),
)
def test_any_form_without_a_signature_is_refused(
    line: http.client.HTTPConnection, body: bytes, content_type: str
) -> None:
    assert_defined(post(line, body, {"Content-Type": content_type.encode().decode("latin-1")}), {400, 403})


def test_of_two_uploads_to_one_key_exactly_one_wins(idle_service: Service) -> None:
    granted, replies = policy(idle_service), list[int]()
    barrier = threading.Barrier(6)

    def upload(content: bytes) -> None:
        with closing(http.client.HTTPConnection(*idle_service.address, timeout=60)) as line:
            line.connect()
            barrier.wait()
            replies.append(post(line, form(granted, b"frame.png", content)).status)

    threads = [threading.Thread(target=upload, args=(picture(WARM) + bytes([number]),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(replies) == [200, 409, 409, 409, 409, 409]


@pytest.mark.parametrize("path", [CREATE, "/uploads", "/api/v1/tasks/some-id/cancel"])
def test_a_client_that_hangs_up_half_way_leaves_no_trace(idle_service: Service, path: str) -> None:
    body = form(policy(idle_service), b"half.png", b"x" * 100_000) if path == "/uploads" else b"{" * 100_000
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {idle_service.api_key}\r\n"
        f"X-DashScope-Async: enable\r\nContent-Type: multipart/form-data; boundary={EDGE.decode()}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    before = len(idle_service.log)
    for _ in range(5):
        with socket.create_connection(idle_service.address, timeout=30) as line:
            line.sendall(head + body[: len(body) // 2])
    assert idle_service.get("/healthz", key=None).status == 200
    assert not [entry for entry in idle_service.log[before:] if "rror" in entry]


def test_the_same_file_goes_up_in_chunks_of_unknown_length(idle_service: Service) -> None:
    body = form(policy(idle_service), b"chunked.png", picture(WARM))
    with closing(http.client.HTTPConnection(*idle_service.address, timeout=60)) as line:
        headers = {"Content-Type": f"multipart/form-data; boundary={EDGE.decode()}", "Transfer-Encoding": "chunked"}
        pieces = [body[start : start + 1000] for start in range(0, len(body), 1000)]
        line.request("POST", "/uploads", pieces, headers, encode_chunked=True)
        assert line.getresponse().status == 200


def test_a_create_in_chunks_of_unknown_length_is_a_create(idle_service: Service) -> None:
    frames = {"first_frame_url": "https://example.com/a.png", "last_frame_url": "https://example.com/b.png"}
    body = json.dumps({"model": "wan2.2-kf2v-flash", "input": frames}).encode()
    with closing(http.client.HTTPConnection(*idle_service.address, timeout=60)) as line:
        headers = {
            "Authorization": f"Bearer {idle_service.api_key}",
            "X-DashScope-Async": "enable",
            "Transfer-Encoding": "chunked",
        }
        line.request("POST", CREATE, [body[:10], body[10:]], headers, encode_chunked=True)
        answer = line.getresponse()
        assert answer.status == 200, answer.read()

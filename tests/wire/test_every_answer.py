"""What is true of every path and method: no redirect, one error shape, one id in header and body."""

import http.client
import json
import socket
import time

import pytest

from formats import is_uuid
from service import CREATE, CREATE_2X, Reply, Service


def assert_flat(reply: Reply, status: int, code: str) -> None:
    assert reply.status == status, reply.body
    assert reply.headers["content-type"].startswith("application/json")
    error = reply.json
    assert set(error) == {"code", "message", "request_id"}
    assert all(isinstance(value, str) and value for value in error.values())
    assert error["code"] == code, error
    assert is_uuid(error["request_id"])
    assert reply.headers["x-request-id"] == error["request_id"]


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1", "/api/v1/nothing", "/api/v1/tasks/a/b", "/nothing/", "//"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_path_is_404_in_the_one_shape(idle_service: Service, method: str, path: str) -> None:
    assert_flat(idle_service.request(method, path), 404, "NotFound")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", CREATE),
        ("PUT", CREATE_2X),
        ("DELETE", "/api/v1/tasks/some-id"),
        ("POST", "/api/v1/tasks"),
        ("PATCH", "/api/v1/tasks/some-id/cancel"),
        ("POST", "/api/v1/uploads"),
        ("OPTIONS", "/api/v1/models"),
        ("POST", "/healthz"),
        ("DELETE", "/results/a.mp4"),
        ("POST", "/kf2v/v1/usage"),
        ("GET", "/kf2v/v1/estimate"),
    ],
)
def test_a_wrong_method_is_405_in_the_one_shape(idle_service: Service, method: str, path: str) -> None:
    reply = idle_service.request(method, path)
    assert_flat(reply, 405, "InvalidParameter")
    assert reply.headers["allow"]


@pytest.mark.parametrize(
    "raw",
    [
        b"BREW /api/v1/tasks HTTP/1.1\r\nHost: x\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /api/v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"GET /api/v1/tasks/\xe9\xa6\x96 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-not-a-key\r\n\r\n",
        b"GET /api/v1/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
        b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_hardly_http_is_refused_in_the_one_shape_too(idle_service: Service, raw: bytes) -> None:
    with socket.create_connection(idle_service.address, timeout=30) as line:
        line.sendall(raw)
        answer = http.client.HTTPResponse(line)
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        reply = Reply(status=answer.status, headers=headers, body=answer.read())
    assert 400 <= reply.status < 500
    assert_flat(reply, reply.status, reply.json["code"])


@pytest.mark.parametrize("at_once", [True, False])
def test_an_offer_of_another_protocol_costs_a_request_nothing(
    idle_service: Service, gallery: str, at_once: bool
) -> None:
    frames = {"first_frame_url": f"{gallery}/first_frame.png", "last_frame_url": f"{gallery}/last_frame.png"}
    body = json.dumps({"model": "wan2.2-kf2v-flash", "input": frames}).encode()
    head = (
        f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {idle_service.api_key}\r\n"
        "X-DashScope-Async: enable\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        f"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection(idle_service.address, timeout=30) as line:
        for _ in range(2):
            for part in (head + body,) if at_once else (head[:40], head[40:], body[:9], body[9:]):
                line.sendall(part)
                time.sleep(0.02)
            answer = http.client.HTTPResponse(line)
            answer.begin()
            assert answer.status == 200
            assert json.loads(answer.read())["output"]["task_status"] == "PENDING"


@pytest.mark.parametrize("path", ["/api/v1/tasks", "/api/v1/models", "/api/v1/tasks/some-id", "/healthz", "/readyz"])
def test_both_slash_forms_answer_alike_and_without_redirect(idle_service: Service, path: str) -> None:
    bare, slashed = idle_service.get(path), idle_service.get(path + "/")
    assert (bare.status, slashed.status) == (200, 200)
    assert set(bare.json) == set(slashed.json)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", CREATE),
        ("POST", CREATE_2X),
        ("GET", "/api/v1/tasks"),
        ("GET", "/api/v1/tasks/some-id"),
        ("POST", "/api/v1/tasks/some-id/cancel"),
        ("GET", "/api/v1/uploads?action=getPolicy&model=wan2.2-kf2v-flash"),
        ("GET", "/api/v1/models"),
        ("GET", "/kf2v/v1/usage"),
        ("POST", "/kf2v/v1/estimate"),
        ("POST", "/kf2v/v1/validate"),
        ("POST", "/kf2v/v1/rewrite"),
    ],
)
def test_a_key_is_asked_for_first(idle_service: Service, method: str, path: str) -> None:
    assert_flat(idle_service.request(method, path, key=None), 401, "InvalidApiKey")
    assert_flat(idle_service.request(method, path, key="sk-not-a-key"), 401, "InvalidApiKey")


def test_a_body_beyond_the_limit_is_413_and_the_client_hears_it(idle_service: Service) -> None:
    assert_flat(idle_service.create(b" " * (31 * 1024 * 1024)), 413, "BadRequest.TooLarge")


@pytest.mark.parametrize(
    "query",
    [
        "page_no=0",
        "page_no=-1",
        "page_no=one",
        "page_size=0",
        "page_size=99999999999999999999",
        "status=CANCELLED",
        "start_time=yesterday",
        "start_time=20269999999999",
        "start_time=20260101000000&end_time=20260103000000",
        "start_time=20260102000000&end_time=20260101000000",
    ],
)
def test_a_list_query_that_makes_no_sense_is_refused(idle_service: Service, query: str) -> None:
    assert_flat(idle_service.get(f"/api/v1/tasks?{query}"), 400, "InvalidParameter")


def test_an_empty_list_has_no_pages(idle_service: Service) -> None:
    listed = idle_service.get("/api/v1/tasks?model_name=no-such-kf2v-model").json
    assert (listed["total"], listed["total_page"], listed["data"]) == (0, 0, [])


def test_cancelling_what_is_not_there_is_refused(idle_service: Service) -> None:
    assert_flat(idle_service.request("POST", "/api/v1/tasks/some-id/cancel"), 400, "UnsupportedOperation")


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"", {}), (b"", {"Content-Type": "application/json"}), (b'{"model": "", "parameters": {}, "input": ""}', {})],
)
def test_cancel_takes_any_body_and_says_nothing_but_its_id(
    idle_service: Service, gallery: str, body: bytes, headers: dict[str, str]
) -> None:
    frames = {"first_frame_url": f"{gallery}/first_frame.png", "last_frame_url": f"{gallery}/last_frame.png"}
    task_id = idle_service.create({"model": "wan2.2-kf2v-flash", "input": frames}).json["output"]["task_id"]
    reply = idle_service.request("POST", f"/api/v1/tasks/{task_id}/cancel/", body=body, headers=headers)
    assert reply.status == 200
    assert set(reply.json) == {"request_id"}
    ended = idle_service.task(task_id)["output"]
    assert set(ended) == {"task_id", "task_status", "submit_time", "end_time"}
    assert ended["task_status"] == "CANCELED"


def test_operators_need_no_key(idle_service: Service) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        reply = idle_service.get(path, key=None)
        assert reply.status == 200, path
        assert is_uuid(reply.headers["x-request-id"])
    assert b"kf2v_tasks" in idle_service.get("/metrics", key=None).body


def test_the_models_are_listed(idle_service: Service) -> None:
    listed = idle_service.get("/api/v1/models?page_no=1&page_size=1").json["output"]
    assert (listed["total"], listed["page_no"], listed["page_size"], len(listed["models"])) == (3, 1, 1, 1)


def test_a_reply_never_carries_what_breaks_clients(idle_service: Service) -> None:
    for path in ("/api/v1/tasks", "/api/v1/tasks/some-id", "/api/v1/models", "/nothing"):
        reply = idle_service.get(path)
        assert "x-dashscope-outputencrypted" not in reply.headers
        assert "retry-after" not in reply.headers
        assert idle_service.api_key not in json.dumps(dict(reply.headers))

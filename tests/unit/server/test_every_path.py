"""What holds on every path and method: one shape of error, one request id, no redirects; and the operators' routes."""

import asyncio

import pytest
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from house import House
from kf2v.server import exchange
from kf2v.server.app import App
from kf2v.server.exchange import Exchange, Reply
from kf2v.server.operations import Metrics
from kf2v.server.routing import Route, Routes

PATHS = [
    "/",
    "/api/v1",
    "/api/v1/",
    "/api/v2/tasks",
    "/api/v1/services/aigc/image2video/video-synthesis",
    "/api/v1/tasks",
    "/api/v1/tasks/1/",
    "/api/v1/tasks/1/cancel",
    "/api/v1/tasks/1/cancel/now",
    "/api/v1/uploads",
    "/uploads",
    "/results/x.mp4",
    "/api/v1/models",
    "/%ff%fe",
    "//api//v1",
    "/favicon.ico",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_every_error_has_one_shape(house: House, path: str, method: str) -> None:
    answer = house.call(method, path, key=None)
    assert answer.status_code >= 400
    assert not 300 <= answer.status_code < 400
    assert answer.status_code not in (408, 429, 500, 502, 503, 504)
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"code", "message", "request_id"}
    assert all(isinstance(value, str) and value for value in body.values())
    assert body["request_id"] == answer.headers["x-request-id"]


def test_a_405_says_what_would_do(house: House) -> None:
    answer = house.call("DELETE", "/api/v1/tasks/1")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
    assert answer.json()["message"] == "Request method 'DELETE' is not supported."


def test_an_unknown_path_is_404(house: House) -> None:
    answer = house.call("GET", "/api/v1/nowhere")
    assert (answer.status_code, answer.json()["code"]) == (404, "NotFound")


def test_a_bug_is_500_in_the_same_shape_and_tells_nothing(house: House) -> None:
    async def broken(_: Exchange) -> Reply:
        raise RuntimeError("the secret is a plum")

    app = App(Routes([Route("GET", "/broken", broken)]), Metrics())
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "GET", "path": "/broken", "headers": [], "query_string": b""}
    with capture_logs() as logs:
        house.run(app(scope, receive, send))  # type: ignore[arg-type]
    assert [entry["event"] for entry in logs] == ["request.crashed"]
    assert sent[0]["status"] == 500
    assert b'"code":"InternalError"' in sent[1]["body"]  # type: ignore[operator]
    assert b"plum" not in sent[1]["body"]  # type: ignore[operator]


def test_an_answer_that_breaks_before_its_first_word_is_500_in_the_same_shape(house: House) -> None:
    async def vanished(scope: Scope, receive: Receive, send: Send) -> None:
        raise FileNotFoundError("the video went between finding and opening it")

    async def serves_it(_: Exchange) -> Reply:
        return vanished

    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    app = App(Routes([Route("GET", "/video", serves_it)]), Metrics())
    scope: Scope = {"type": "http", "method": "GET", "path": "/video", "headers": [], "query_string": b""}
    with capture_logs() as logs:
        house.run(app(scope, receive, send))  # type: ignore[arg-type]
    assert [entry["event"] for entry in logs] == ["answer.crashed"]
    assert sent[0]["status"] == 500
    assert b'"code":"InternalError"' in sent[1]["body"]  # type: ignore[operator]


def test_who_promises_a_body_and_falls_silent_is_refused_all_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "SILENCE", 0.01)
    parts = [b"a beginning"]
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        if not parts:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": parts.pop(), "more_body": True}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "POST", "path": "/nowhere", "headers": [], "query_string": b""}
    house.run(house.app(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 404
    assert b'"code":"NotFound"' in sent[1]["body"]  # type: ignore[operator]


def test_websockets_are_closed(house: House) -> None:
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    receive: Receive = None  # type: ignore[assignment]
    sender: Send = send  # type: ignore[assignment]
    house.run(house.app({"type": "websocket"}, receive, sender))
    assert sent == [{"type": "websocket.close", "code": 1000}]


def test_the_models_are_listed(house: House) -> None:
    answer = house.call("GET", "/api/v1/models?page_no=1&page_size=1")
    assert answer.status_code == 200
    output = answer.json()["output"]
    assert output["total"] == 3
    assert [model["model"] for model in output["models"]] == ["wan2.2-kf2v-flash"]
    assert house.call("GET", "/api/v1/models", key="sk-nobody").status_code == 401


def test_health_and_readiness(house: House) -> None:
    assert house.call("GET", "/healthz", key=None).json()["status"] == "ok"
    assert house.call("GET", "/readyz", key=None).json()["status"] == "ready"
    house.front.vitals.draining = True
    answer = house.call("GET", "/readyz", key=None)
    assert answer.status_code == 503
    assert "shutting down" in answer.json()["message"]
    assert house.call("GET", "/healthz", key=None).status_code == 200


def test_metrics_count_answers_and_tasks(house: House) -> None:
    house.created()
    text = house.call("GET", "/metrics", key=None).text
    assert 'kf2v_tasks{state="PENDING"} 1.0' in text
    route = "/api/v1/services/aigc/image2video/video-synthesis"
    assert f'kf2v_http_seconds_count{{route="{route}",status="200"}} 1.0' in text

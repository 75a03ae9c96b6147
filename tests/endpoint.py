"""A double of a DashScope endpoint: a real HTTP server whose tasks go through the states it is given."""

import email
import email.policy
import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "sk-the-right-one"
VIDEO = b"\x00\x00\x00\x18ftypmp42 not really a video" * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> dict[str, bytes]:
        """The parts of a multipart body, in order."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        message = email.message_from_bytes(head + self.body, policy=email.policy.HTTP)
        return {
            str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True) or b""
            for part in message.iter_parts()
        }


@dataclass
class Answer:
    #: 0 hangs up instead of answering
    status: int
    body: bytes
    type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that hangs up is nobody's fault here."""


class Endpoint:
    """Serves one task, ``task-1``. ``states`` are told one per poll, the last one for ever."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.states: list[dict[str, Any]] = [
            {"task_status": "PENDING", "submit_time": "2026-11-21 06:25:38.879"},
            {"task_status": "RUNNING"},
            {"task_status": "SUCCEEDED", "orig_prompt": "a cat"},
        ]
        #: answers to give instead, by method and path, used up one by one
        self.instead: dict[tuple[str, str], list[Answer]] = {}
        #: what has to happen before such requests are answered
        self.held: dict[tuple[str, str], Event] = {}
        self.video = VIDEO
        #: what it calls itself
        self.software = "an endpoint"
        #: rows of the list
        self.rows: list[dict[str, Any]] = [ROW]
        self._lock = Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                outer._handle(self)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_one

            def version_string(self) -> str:
                return outer.software

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def base_url(self) -> str:
        return f"{self.origin}/api/v1"

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def of(self, method: str, path: str) -> list[Asked]:
        """The requests of that method whose path ends so."""
        return [asked for asked in self.asked if asked.method == method and asked.path.endswith(path)]

    def fail_once(self, method: str, path: str, status: int, code: str, message: str) -> None:
        """Answer the next such request with an error."""
        body = {"code": code, "message": message, "request_id": "r-bad"}
        self.instead.setdefault((method, path), []).append(Answer(status, json.dumps(body).encode()))

    def _handle(self, http: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(http.path)
        asked = Asked(
            method=http.command,
            path=parts.path,
            query={name: values[0] for name, values in parse_qs(parts.query).items()},
            headers={name.lower(): value for name, value in http.headers.items()},
            body=http.rfile.read(int(http.headers.get("content-length") or 0)),
        )
        with self._lock:
            self.asked.append(asked)
            waiting = self.instead.get((asked.method, asked.path))
            answer = waiting.pop(0) if waiting else self._answer(asked)
        if held := self.held.get((asked.method, asked.path)):
            held.wait()
        if not answer.status:
            http.close_connection = True
            return
        http.send_response(answer.status)
        http.send_header("Content-Type", answer.type)
        http.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            http.send_header(name, value)
        http.end_headers()
        http.wfile.write(answer.body)

    def _answer(self, asked: Asked) -> Answer:
        match asked.method, asked.path:
            case "GET", "/files/video.mp4":
                return Answer(200, self.video, "video/mp4")
            case "POST", "/bucket":
                return Answer(200, b"")
            case _ if asked.headers.get("authorization") != f"Bearer {KEY}":
                return _flat(401, code="InvalidApiKey", message="Invalid API-key provided.", request_id="r-401")
            case "POST", "/api/v1/services/aigc/image2video/video-synthesis":
                return _flat(200, output={"task_status": "PENDING", "task_id": "task-1"}, request_id="r-create")
            case "GET", "/api/v1/tasks/task-1":
                return self._poll()
            case "GET", "/api/v1/tasks":
                return _flat(200, request_id="r-list", total=len(self.rows), data=self._page(asked.query))
            case "POST", "/api/v1/tasks/task-1/cancel":
                return _flat(200, request_id="r-cancel")
            case "GET", "/api/v1/uploads":
                return _flat(200, request_id="r-policy", data=self._policy())
            case "GET", path if path.startswith("/api/v1/tasks/"):
                task_id = path.rpartition("/")[2]
                return _flat(200, request_id="r-unknown", output={"task_id": task_id, "task_status": "UNKNOWN"})
            case _:
                return _flat(404, code="NotFound", message="Not found!", request_id="r-404")

    def _page(self, query: dict[str, str]) -> list[dict[str, Any]]:
        size = int(query.get("page_size", "10"))
        begin = (int(query.get("page_no", "1")) - 1) * size
        return self.rows[begin : begin + size]

    def _poll(self) -> Answer:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        output = {"task_id": "task-1", **state}
        if state["task_status"] != "SUCCEEDED":
            return _flat(200, request_id="r-poll", output=output)
        output["video_url"] = f"{self.origin}/files/video.mp4"
        return _flat(200, request_id="r-poll", output=output, usage={"video_duration": 5, "video_count": 1, "SR": 720})

    def _policy(self) -> dict[str, object]:
        number = len(self.of("GET", "/uploads"))
        return {
            "policy": "cG9saWN5",
            "signature": "c2ln",
            "upload_dir": f"dashscope-instant/{number}",
            "upload_host": f"{self.origin}/bucket",
            "expire_in_seconds": 300,
            "max_file_size_mb": 10,
            "capacity_limit_mb": 999999999,
            "oss_access_key_id": "kf2v",
            "x_oss_object_acl": "private",
            "x_oss_forbid_overwrite": "true",
        }


ROW = {
    "api_key_id": "1",
    "gmt_create": 1745568428109,
    "start_time": 1745568428138,
    "end_time": 1745568430281,
    "model_name": "wan2.2-kf2v-flash",
    "region": "local",
    "request_id": "r-1",
    "status": "SUCCEEDED",
    "task_id": "task-1",
}


def _flat(status: int, **body: object) -> Answer:
    return Answer(status, json.dumps(body).encode(), headers={"X-Request-Id": str(body.get("request_id"))})

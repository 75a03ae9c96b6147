"""A service that judges texts and pictures behind real HTTP, in both shapes, and misbehaves on order."""

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-of-the-censor"


@dataclass(frozen=True, kw_only=True)
class Answers:
    """One answer."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Hangs:
    """No answer; or, with ``drops``, one that comes a space at a time and never ends."""

    drops: bool = False


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One question."""

    body: dict[str, Any]
    path: str
    key: str

    @property
    def text(self) -> str:
        """What was to be read; empty where it was a picture."""
        said = self.body.get("text", self.body.get("input", ""))
        return said if isinstance(said, str) else ""

    @property
    def picture(self) -> bytes:
        """The file that was to be looked at; empty where it was a text."""
        given = self.body.get("image", "")
        if not given and isinstance(self.body.get("input"), list):
            given = self.body["input"][0]["image_url"]["url"].partition(",")[2]
        return base64.b64decode(given)


Act = Answers | Hangs


def says(verdict: str, reason: str = "because") -> Answers:
    """An answer of kf2v's own contract."""
    return Answers(body=json.dumps({"verdict": verdict, "reason": reason}).encode())


def flags(*categories: str) -> Answers:
    """An answer in the shape of OpenAI's moderations; without categories nothing is flagged."""
    result = {
        "flagged": bool(categories),
        "categories": {name: name in categories for name in ("violence", "sexual", *categories)},
        "category_scores": {},
    }
    return Answers(body=json.dumps({"id": "modr-1", "model": "tiny", "results": [result]}).encode())


class Censor:
    """Does ``acts`` one after the other, then the last one for ever."""

    def __init__(self, *acts: Act | Callable[[Heard], Act]) -> None:
        self._acts = list(acts)
        self._lock = threading.Lock()
        self.heard: list[Heard] = []
        self.closing = threading.Event()
        self.url = ""

    def act(self, heard: Heard) -> Act:
        with self._lock:
            self.heard.append(heard)
            if heard.key != KEY:
                return Answers(status=401, body=b'{"error": {"message": "wrong key"}}')
            act = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
        return act(heard) if callable(act) else act


def _handler(censor: Censor) -> type[BaseHTTPRequestHandler]:
    class Ear(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = (self.headers["Authorization"] or "").removeprefix("Bearer ")
            match censor.act(Heard(body=body, path=self.path, key=key)):
                case Answers() as answer:
                    self.send_response(answer.status)
                    for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(answer.body)))
                    self.end_headers()
                    self.wfile.write(answer.body)
                case Hangs() as hanging:
                    self._hang(drops=hanging.drops)

        def _hang(self, *, drops: bool) -> None:
            self.close_connection = True
            if drops:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
            try:
                while not censor.closing.wait(0.05):
                    if drops:
                        self.wfile.write(b" ")
            except OSError:
                pass

    return Ear


@contextmanager
def judging(censor: Censor) -> Iterator[Censor]:
    """``censor`` at ``censor.url`` until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(censor))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    censor.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield censor
    finally:
        censor.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()

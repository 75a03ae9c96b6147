"""A language model behind HTTP, as small as one can be: it says what it was told to say, and remembers what it heard.

It speaks the chat-completions protocol over real sockets, and misbehaves on order.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-of-the-model"


@dataclass(frozen=True, kw_only=True)
class Says:
    """One answer."""

    text: Any = ""
    finish_reason: str = "stop"


@dataclass(frozen=True, kw_only=True)
class Refuses:
    """An HTTP error, as OpenAI-compatible servers word it."""

    status: int
    message: str = "no"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Babbles:
    """A 200 that is no chat completion."""

    body: bytes
    content_type: str = "application/json"


@dataclass(frozen=True, kw_only=True)
class Hangs:
    """No answer; or, with ``drops``, one that comes a space at a time and never ends."""

    drops: bool = False


Act = Says | Refuses | Babbles | Hangs


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One request."""

    body: dict[str, Any]
    key: str
    path: str

    @property
    def system(self) -> str:
        return self.body["messages"][0]["content"]

    @property
    def user(self) -> Any:
        return self.body["messages"][-1]["content"]

    @property
    def words(self) -> str:
        """All text of the user's message."""
        return self.user if isinstance(self.user, str) else "\n".join(part.get("text", "") for part in self.user)

    @property
    def pictures(self) -> list[str]:
        """The addresses of all pictures."""
        parts = [] if isinstance(self.user, str) else self.user
        return [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]


class LanguageModel:
    """Does ``acts`` one after the other, then the last one for ever; ``blind`` refuses pictures by that message."""

    def __init__(self, *acts: Act | Callable[[Heard], Act], blind: Refuses | None = None) -> None:
        self._acts = list(acts) or [Says(text="ready")]
        self._blind = blind
        self._lock = threading.Lock()
        self.heard: list[Heard] = []
        #: how many connections broke while it was hanging
        self.left = threading.Event()
        self.closing = threading.Event()
        self.base_url = ""

    def act(self, heard: Heard) -> Act:
        with self._lock:
            self.heard.append(heard)
            if heard.key != KEY:
                return Refuses(status=401, message=f"Incorrect API key provided: {heard.key}")
            if self._blind is not None and heard.pictures:
                return self._blind
            act = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
        return act(heard) if callable(act) else act


def _handler(model: LanguageModel) -> type[BaseHTTPRequestHandler]:
    class Ear(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = (self.headers["Authorization"] or "").removeprefix("Bearer ")
            match model.act(Heard(body=body, key=key, path=self.path)):
                case Says() as said:
                    self._send(200, json.dumps(_completion(said)).encode())
                case Refuses() as refused:
                    error = {"error": {"message": refused.message, "type": "invalid_request_error"}}
                    self._send(refused.status, json.dumps(error).encode(), headers=refused.headers)
                case Babbles() as babbled:
                    self._send(200, babbled.body, content_type=babbled.content_type)
                case Hangs() as hanging:
                    self._hang(drops=hanging.drops)

        def _send(
            self,
            status: int,
            body: bytes,
            *,
            content_type: str = "application/json",
            headers: Mapping[str, str] | None = None,
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": content_type, **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _hang(self, *, drops: bool) -> None:
            self.close_connection = True
            if drops:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
            self.connection.settimeout(0.05)
            try:
                while not model.closing.is_set():
                    if drops:
                        self.wfile.write(b" ")
                    try:
                        if not self.connection.recv(1):
                            break
                    except TimeoutError:
                        continue
            except OSError:
                pass
            model.left.set()

    return Ear


def _completion(said: Says) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": said.text},
                "finish_reason": said.finish_reason,
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


@contextmanager
def listening(model: LanguageModel) -> Iterator[LanguageModel]:
    """``model`` at ``model.base_url`` until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(model))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    model.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield model
    finally:
        model.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()

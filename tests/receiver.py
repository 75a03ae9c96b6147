"""A receiver of events: a real HTTP server that remembers what it was sent and answers as it is told."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

#: seconds that anything may take on a busy machine
PATIENCE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """One request as it arrived."""

    path: str
    #: names in lower case
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def verified(self, secret: str) -> Any:
        """The event. Raises WebhookVerificationError if ``secret`` did not sign it."""
        return Webhook(secret).verify(self.body, self.headers)


class Receiver:
    """Answers 204 unless told otherwise."""

    def __init__(self, port: int = 0) -> None:
        receiver = self
        self.got: list[Got] = []
        #: how to answer the next requests, used up one by one, then ``usual``
        self.next: list[tuple[int, dict[str, str]]] = []
        self.usual: tuple[int, dict[str, str]] = (204, {})
        self.says = b""
        #: while it is clear, requests are read and not answered
        self.awake = threading.Event()
        self.awake.set()
        self._news = threading.Condition()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with receiver._news:
                    receiver.got.append(Got(path=self.path, headers=headers, body=body))
                    status, extra = receiver.next.pop(0) if receiver.next else receiver.usual
                    receiver._news.notify_all()
                receiver.awake.wait(PATIENCE)
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.end_headers()
                if status != 204:
                    self.wfile.write(receiver.says)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def wait(self, enough: Callable[[list[Got]], bool], *, within: float = PATIENCE) -> list[Got]:
        """What it got, once that is ``enough``."""
        deadline = time.monotonic() + within
        with self._news:
            while not enough(self.got):
                left = deadline - time.monotonic()
                assert left > 0, f"only {[got.json for got in self.got]} came within {within:g} s"
                self._news.wait(left)
            return [*self.got]

    def close(self) -> None:
        """Stop listening; again is nothing."""
        self.awake.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """A receiver until the block ends."""
    receiver = Receiver(port)
    try:
        yield receiver
    finally:
        receiver.close()

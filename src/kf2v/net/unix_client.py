"""HTTP over a Unix socket: one request, one answer, whatever it says."""

from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2


class Unreachable(Exception):
    """Nobody answers on the socket; whether a request that was sent took effect is unknown."""


class UnixClient:
    """Asks the server behind one socket. May be used from several threads at once."""

    def __init__(self, path: Path, *, timeout: float = 30.0) -> None:
        #: ``timeout`` is in seconds, for connecting and between any two pieces of an answer
        self._http = httpx2.Client(
            transport=httpx2.HTTPTransport(uds=str(path)), base_url="http://kf2v", timeout=timeout, trust_env=False
        )

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """The status and body of the answer, whatever the status. Raises Unreachable if there is no answer."""
        try:
            answer = self._http.request(method, path, content=body)
        except httpx2.TransportError as error:
            raise Unreachable(f"{method} {path}: {error}") from error
        return answer.status_code, answer.content

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

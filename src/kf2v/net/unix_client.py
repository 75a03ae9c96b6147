"""HTTP over a Unix socket: one request, one answer, one connection.

The standard library's client is enough: nobody redirects, streams or keeps connections here.
"""

import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path


class Unreachable(Exception):
    """Nobody answers on the socket; whether a request that was sent took effect is unknown."""


class UnixClient:
    """Asks the server behind the socket at ``path``. May be used from several threads at once.

    ``timeout`` is in seconds, for connecting and between any two pieces of an answer.
    """

    def __init__(self, path: Path, *, timeout: float = 30.0) -> None:
        self._path = path
        self._timeout = timeout

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """The status and body of the answer, whatever the status. Raises Unreachable if there is no answer."""
        connection = _UnixConnection(self._path, self._timeout)
        try:
            connection.request(method, path, body, headers={"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException) as error:
            raise Unreachable(f"{method} {path} on {self._path}: {error}") from error
        finally:
            connection.close()


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

"""HTTP/1.1 as this server reads it. What cannot be read as HTTP never reaches the application, and is refused here
in the same shape as everything else. How connections end when the server does is told in ``front_door``."""

import asyncio
import uuid
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from kf2v.errors import InvalidParameter
from kf2v.server.exchange import JSON, refusal

#: seconds that whoever is connected to a closing server gets to ask for one thing more
LAST_WORD = 1.0


class Unreadable(InvalidParameter):
    """Bytes that are no HTTP/1.1 request, or one with a method that HTTP does not know."""

    sentence = "The request could not be read as HTTP/1.1: its method, path or headers are malformed."


class Connections(ServerState):
    """What all connections of one door share."""

    def __init__(self) -> None:
        super().__init__()
        #: every answer is the last one on its connection
        self.closing = False
        #: nobody comes in any more
        self.closed = False


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with JSON instead of text in its one own answer and a kinder end."""

    server_state: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  as in uvicorn
        super().connection_made(transport)
        if self.server_state.closed:
            self.shutdown()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.server_state.closing:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Hang up when what was asked is answered. Whoever says nothing may be about to: he gets a moment."""
        if self._idle:
            self.loop.call_later(LAST_WORD, self._close_if_idle)
        else:
            self.cycle.keep_alive = False

    @property
    def _idle(self) -> bool:
        """Whether there is nothing to answer: nothing was asked yet, or nothing since the last answer."""
        return cast("object", self.cycle) is None or self.cycle.response_complete

    def _close_if_idle(self) -> None:
        if self._idle:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse what was read so far and hang up."""
        del msg
        request_id = str(uuid.uuid4())
        body = refusal(Unreadable(), request_id).body
        head = (
            b"HTTP/1.1 400 Bad Request",
            b"content-type: " + JSON,
            b"content-length: " + str(len(body)).encode(),
            b"connection: close",
            b"x-request-id: " + request_id.encode(),
        )
        self.transport.write(b"\r\n".join((*head, b"", body)))
        self.transport.close()

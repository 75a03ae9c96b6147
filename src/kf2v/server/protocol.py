"""HTTP/1.1 as this server reads it. What cannot be read as HTTP never reaches the application, and is refused here
in the same shape as everything else. How connections end when the server does is told in ``front_door``."""

import asyncio
import uuid
from typing import cast

import httptools
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

    def data_received(self, data: bytes) -> None:
        """Read on; a request that offers to go on in another protocol is read once more without the offer.

        ``curl --http2`` and the JDK's own HTTP client offer HTTP/2 with every request over plain HTTP, a create
        included. The parser stops behind the head of such a request and leaves its body unread, as if it were the
        other protocol's already.
        """
        self._unset_keepalive_if_required()
        try:
            while data:
                try:
                    self.parser.feed_data(data)
                except httptools.HttpParserUpgrade as stopped:
                    data = self._head_without_offer() + data[stopped.args[0] :]
                else:
                    return
        except httptools.HttpParserError:
            self.send_400_response("")

    def _head_without_offer(self) -> bytes:
        """What the parser has just read, for a new parser. Raises HttpParserError for CONNECT, all of which is one."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            raise httptools.HttpParserError
        head = [b"%s %s HTTP/%s" % (method, self.url, version)]
        head += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return b"\r\n".join((*head, b"", b""))

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
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

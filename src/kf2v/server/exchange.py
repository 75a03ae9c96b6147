"""One request and one answer, as handlers see them: a thin layer over ASGI that costs microseconds.

Polls come in thousands a second, so the path of a JSON answer is this and nothing else; whatever needs more (forms,
files with ranges) takes the web framework's own classes.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Message, Receive, Scope, Send

from kf2v.errors import ApiError, PayloadTooLarge, Throttled, Unavailable

JSON = b"application/json"
#: seconds without a word after which the rest of a refused body is no longer waited for
SILENCE = 10.0
#: seconds after which to ask again whoever cannot answer now. Never left out: some clients ask again at once otherwise,
#: thousands of times a second
_LATER = 5
_encode = msgspec.json.Encoder().encode


class ClientGone(Exception):
    """The client hung up before it had said everything; there is nobody to answer."""


class Inbox:
    """The body as it comes in, and how much of it has come."""

    __slots__ = ("_receive", "ended", "size")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False
        self.size = 0

    async def __call__(self) -> Message:
        """The next message of the body. Raises ClientGone."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.ended = True
            raise ClientGone
        self.size += len(message.get("body", b""))
        self.ended = not message.get("more_body", False)
        return message

    async def drain(self, limit: int) -> None:
        """Read the rest, up to ``limit`` bytes in all, and forget it: a client that is still sending does not
        listen, and would see a broken connection instead of its answer. One that falls silent listens."""
        with contextlib.suppress(TimeoutError):
            while not self.ended and self.size <= limit:
                async with asyncio.timeout(SILENCE):
                    await self()


@dataclass(slots=True, kw_only=True)
class Exchange:
    """A request on its way through the server."""

    scope: Scope
    inbox: Inbox
    request_id: str
    #: the parts of the path that the route left open
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    _headers: Mapping[bytes, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._headers = dict(reversed(self.scope["headers"]))  # of several, the first stays

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    def supply(self, name: bytes, value: bytes) -> None:
        """Have ``header`` find what could not be sent as one."""
        self._headers = {**self._headers, name: value}

    @property
    def peer(self) -> str | None:
        """The address it came from; None where there is none, as on a socket of this machine's files."""
        address = self.scope.get("client")
        return address[0] if address else None

    def query(self) -> dict[str, str]:
        """The query string; of a name given twice, the last value."""
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True))

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises PayloadTooLarge beyond ``limit`` bytes."""
        chunks: list[bytes] = []
        while not self.inbox.ended:
            chunks.append((await self.inbox()).get("body", b""))
            if self.inbox.size > limit:
                raise PayloadTooLarge(f"{PayloadTooLarge.sentence} A body may have {limit} bytes.")
        return b"".join(chunks)

    def base_url(self, public_url: str | None) -> str:
        """Where the client reaches this server: the owner's word, else what the client itself asked for."""
        if public_url:
            return public_url
        host = self.header(b"host")
        if not host:
            address, port = self.scope.get("server") or ("127.0.0.1", 80)
            host = f"{address}:{port}"
        return f"{self.scope.get('scheme', 'http')}://{host}"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and headers. An ASGI application, like the framework's own responses."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        headers = [
            (b"content-type", self.content_type),
            (b"content-length", str(len(self.body)).encode()),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body})


Reply: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Handler: TypeAlias = Callable[[Exchange], Awaitable[Reply]]


def reply(exchange: Exchange, members: dict[str, object], *, status: int = 200) -> Answer:
    """``members`` as JSON, with the request's id."""
    return Answer(_encode({"request_id": exchange.request_id, **members}), status)


def refusal(
    error: ApiError,
    request_id: str,
    *,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    beside: Mapping[str, object] | None = None,
) -> Answer:
    """The one shape every error has: flat ``code``, ``message``, ``request_id``, and what is to be told beside."""
    body = _encode({"code": error.code, "message": error.message, "request_id": request_id, **(beside or {})})
    return Answer(body, error.status, headers=(*headers, *_later(error)))


def _later(error: ApiError) -> Iterator[tuple[bytes, bytes]]:
    """When a client should ask again, as a header."""
    if isinstance(error, Throttled) and error.retry_after is not None:
        yield b"retry-after", str(max(1, math.ceil(error.retry_after))).encode()
    if isinstance(error, Unavailable):
        yield b"retry-after", str(_LATER).encode()

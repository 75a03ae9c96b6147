"""GET ``/kf2v/v1/events``: what happens to the account's tasks, as server-sent events, while it happens.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

import msgspec
from sse_starlette.event import ServerSentEvent
from starlette.types import Receive, Scope, Send

from kf2v.admission import keys
from kf2v.errors import ApiError
from kf2v.server.exchange import ClientGone, Exchange, Reply
from kf2v.server.ext.portrait import Portrait
from kf2v.server.ext.tasks import OwnTasks
from kf2v.server.journal import Gap, Journal
from kf2v.server.reception import Reception
from kf2v.server.routes import EXT
from kf2v.server.routing import Route

#: seconds of silence after which a comment keeps the connection from being taken for dead
HEARTBEAT = 15.0
#: milliseconds after which a client shall come back when the stream ends
RETRY = 2_000

_encode = msgspec.json.Encoder().encode


class Events:
    """One stream per client, for all tasks of its account or one of them."""

    def __init__(
        self,
        *,
        reception: Reception,
        tasks: OwnTasks,
        journal: Journal,
        portrait: Portrait,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._reception = reception
        self._tasks = tasks
        self._journal = journal
        self._portrait = portrait
        self._heartbeat = heartbeat

    def routes(self) -> list[Route]:
        return [Route("GET", f"{EXT}/events", self)]

    async def __call__(self, exchange: Exchange) -> Reply:
        """Raises NotFound for a task that is not there to begin with."""
        query = exchange.query()
        authorization, token = exchange.header(b"authorization"), query.get("token", "")
        if token.startswith("st-") and authorization is None:
            # a browser's EventSource sends no headers of ours; what comes in an address must be short-lived
            authorization = f"Bearer {token}"
        caller = await self._reception.caller(exchange, keys.Scope.READ, authorization=authorization)
        after = exchange.header(b"last-event-id") or query.get("last_event_id") or None
        task_id = query.get("task_id") or None
        if task_id is not None and after is None:  # who was here before may have to hear that it is forgotten
            await self._tasks.known(task_id, caller)
        told = self._told(exchange, caller.account, task_id, after)
        return Stream(told, self._heartbeat, lambda: self._still_may(exchange, authorization))

    async def _told(
        self, exchange: Exchange, account: str, task_id: str | None, after: str | None
    ) -> AsyncGenerator[ServerSentEvent]:
        here = self._journal.name(self._journal.last(account))
        entries = self._journal.read(account, after=after or here)  # not from when the first word is out
        yield ServerSentEvent(retry=RETRY, sep="\n")
        if after is None:
            yield _event("hello", here, {"last_event_id": here})
        async with contextlib.aclosing(entries):
            async for entry in entries:
                name = self._journal.name(entry.number)
                if isinstance(entry, Gap):
                    yield _event("resync", name, {"last_event_id": name})
                elif task_id is not None and entry.task.id != task_id:
                    continue
                elif entry.deleted:
                    yield _event("deleted", name, {"task_id": entry.task.id})
                else:
                    behind = entry.number < self._journal.last(account)
                    yield _event("task", name, await self._portrait.brief(entry.task, exchange, quick=behind))

    async def _still_may(self, exchange: Exchange, authorization: str | None) -> bool:
        """Whether the key that a stream began with is still good: streams go on for days, and silent ones too."""
        try:
            await self._reception.caller(exchange, keys.Scope.READ, authorization=authorization)
        except ApiError:
            return False
        return True


def _event(kind: str, name: str, members: dict[str, object]) -> ServerSentEvent:
    return ServerSentEvent(_encode(members).decode(), event=kind, id=name, sep="\n")


class Stream:
    """Events as an answer that goes on. An ASGI application; ends with them, or when the client has gone or may hear
    no more.
    """

    def __init__(
        self, events: AsyncGenerator[ServerSentEvent], heartbeat: float, still_may: Callable[[], Awaitable[bool]]
    ) -> None:
        self._events = events
        self._heartbeat = heartbeat
        self._still_may = still_may

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] != "HEAD":
            await self._stream(receive, send)
        await send({"type": "http.response.body", "body": b""})

    async def _stream(self, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_departure(receive))
        coming: asyncio.Task[ServerSentEvent | None] | None = None
        try:
            while not gone.done():
                coming = coming or asyncio.create_task(self._next())
                await asyncio.wait({coming, gone}, timeout=self._heartbeat, return_when=asyncio.FIRST_COMPLETED)
                event: ServerSentEvent | None = ServerSentEvent(comment="still here", sep="\n")
                if coming.done():
                    event, coming = coming.result(), None
                if event is None or not await self._still_may():
                    return
                await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
        finally:
            for task in filter(None, (gone, coming)):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await self._events.aclose()

    async def _next(self) -> ServerSentEvent | None:
        return await anext(self._events, None)


async def _departure(receive: Receive) -> None:
    """Returns when the client has gone."""
    with contextlib.suppress(ClientGone):
        while (await receive())["type"] != "http.disconnect":
            pass

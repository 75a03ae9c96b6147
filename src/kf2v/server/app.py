"""The server as one ASGI application: a table of routes, and what happens around every one of them.

Around each request, in this order, and each for a reason:

1. an id, first, so that whatever happens next can be told and logged with it;
2. the route, so that an unknown path costs nothing and asks for no key;
3. the handler, which asks for the key before it looks at anything else;
4. every error into the one shape, here and nowhere else, so that no path can answer differently;
5. the rest of a refused body read, so that the client gets to hear the refusal;
6. the id on the answer, and the figures.
"""

import asyncio
import time
import uuid

import structlog
from starlette.types import Message, Receive, Scope, Send

from kf2v.errors import ApiError, InternalError
from kf2v.server.exchange import ClientGone, Exchange, Inbox, Reply, refusal
from kf2v.server.operations import Metrics
from kf2v.server.routing import Routes, WrongMethod

#: how much of a refused body is read and thrown away
_PATIENCE = 256 * 1024 * 1024

log = structlog.get_logger("kf2v.server")


class App:
    """The whole HTTP surface."""

    def __init__(self, routes: Routes, metrics: Metrics) -> None:
        self._routes = routes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        exchange = Exchange(scope=scope, inbox=Inbox(receive), request_id=str(uuid.uuid4()))
        status = 0
        request_id = exchange.request_id.encode()
        route = "none"

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"server", b"kf2v"), (b"x-request-id", request_id)]
            await send(message)

        try:
            try:
                found = self._routes.find(scope["method"], _path(scope))
                route, exchange.parts = found.path, found.parts
                answer = await found.handler(exchange)
            except ApiError as error:
                answer = await self._refuse(exchange, error)
            except ClientGone:
                raise
            except Exception as error:
                log.error("request.crashed", request_id=exchange.request_id, route=route, exc_info=error)
                answer = await self._refuse(exchange, InternalError())
            await answer(scope, exchange.inbox, stamped)
        except (ClientGone, asyncio.CancelledError):  # the latter where the process ends
            log.debug("request.abandoned", request_id=exchange.request_id, route=route)
        except Exception as error:
            log.error("answer.crashed", request_id=exchange.request_id, route=route, exc_info=error)
            if status:
                raise  # half an answer is out; the server hangs up, which is all that can still be said
            await refusal(InternalError(), exchange.request_id)(scope, exchange.inbox, stamped)
        self._metrics.observe(route, status, time.perf_counter() - started)

    async def _refuse(self, exchange: Exchange, error: ApiError) -> Reply:
        await exchange.inbox.drain(_PATIENCE)
        allow = ((b"allow", error.allowed.encode()),) if isinstance(error, WrongMethod) else ()
        return refusal(error, exchange.request_id, headers=allow)


def _path(scope: Scope) -> str:
    """What to find the route by. An encoded slash is part of an id and no step of the path, so a path that has one
    is taken as it was sent."""
    sent: bytes = scope.get("raw_path") or b""
    return sent.decode("latin-1") if b"%2f" in sent.lower() else scope["path"]

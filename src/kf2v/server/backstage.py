"""The service's back door: workers and the owner's own commands, over a socket that only they can open.

Knows no key and no rights: permissions on the socket's file are the whole guard.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Generator, Iterable
from typing import TypeAlias

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kf2v.errors import ApiError
from kf2v.server.desk import Desk
from kf2v.wire import backstage as wire

#: the application, for those who need not know the framework
Backstage: TypeAlias = Starlette


def backstage(desk: Desk, owners: Iterable[Route] = ()) -> Backstage:
    """The application: the calls of workers, and those of the owner's commands."""

    async def claim(request: Request) -> Response:
        asked = wire.parse(wire.Claim, await request.body())
        return _answer(await desk.claim(asked.worker, engines=asked.engines))

    async def renew(request: Request) -> Response:
        beat = wire.parse(wire.Renew, await request.body())
        held = await desk.renew(beat.task_id, beat.attempt, phase=beat.phase, progress=beat.progress, notes=beat.notes)
        return _answer(held)

    async def settle(request: Request) -> Response:
        said = wire.parse(wire.Settle, await request.body())
        return _answer((await desk.settle(said.task_id, said.attempt, said.outcome, notes=said.notes)).value)

    async def hand_back(request: Request) -> Response:
        given = wire.parse(wire.HandBack, await request.body())
        return _answer(await desk.hand_back(given.task_id, given.attempt))

    async def reroute(request: Request) -> Response:
        asked = wire.parse(wire.Reroute, await request.body())
        return _answer(await desk.reroute(asked.task_id, asked.attempt, asked.reason))

    async def over(request: Request) -> Response:
        asked = wire.parse(wire.Over, await request.body())
        return _answer(await desk.over(asked.task_id))

    return Starlette(
        routes=[
            Route("/claim", claim, methods=["POST"]),
            Route("/renew", renew, methods=["POST"]),
            Route("/settle", settle, methods=["POST"]),
            Route("/hand_back", hand_back, methods=["POST"]),
            Route("/reroute", reroute, methods=["POST"]),
            Route("/over", over, methods=["POST"]),
            *owners,
        ],
        exception_handlers={ApiError: _refuse},
    )


def _answer(message: object, status: int = 200) -> Response:
    return Response(wire.render(message), status_code=status, media_type="application/json")


def _refuse(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, ApiError)
    return _answer({"code": error.code, "message": error.message}, error.status)


class _Backdoor(uvicorn.Server):
    """Leaves signals to the front door."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@contextlib.asynccontextmanager
async def opened(app: Starlette, bound: socket.socket) -> AsyncGenerator[None]:
    """``app`` answers on ``bound`` inside this context. Leave it only after the workers are gone.

    ``bound`` listens already, so who asks too early waits and is answered. In the end it is closed, and calls that
    take more than a few seconds more are cut.
    """
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=3
    )
    server = _Backdoor(config)
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving

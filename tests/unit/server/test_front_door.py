import asyncio
import errno
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from kf2v.server import front_door, protocol
from kf2v.server.app import App
from kf2v.server.exchange import Exchange, Reply
from kf2v.server.front_door import FrontDoor
from kf2v.server.operations import Metrics
from kf2v.server.routing import Route, Routes

pytestmark = pytest.mark.anyio

ASK = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
#: seconds that anything may take on a busy machine
PATIENCE = 20.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def greet(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("welcome")(scope, receive, send)


def bound() -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def opened(door: FrontDoor) -> AsyncIterator[tuple[str, int]]:
    """Where ``door`` can be knocked at."""
    with bound() as listener:
        address = listener.getsockname()
        await door.open(listener)
        try:
            yield address
        finally:
            await door.slam()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Everything until the other side hangs up."""
    async with asyncio.timeout(PATIENCE):
        return await reader.read()


class Rush(FrontDoor):
    """Just when it wants to close, three clients connect and ask, before anything else can happen."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(greet)
        self.late: list[socket.socket] = []
        self._address = address

    async def on_tick(self, counter: int) -> bool:
        leaving = await super().on_tick(counter)
        if leaving:
            self.late = [socket.create_connection(self._address) for _ in range(3)]
            for client in self.late:
                client.sendall(ASK)
        return leaving


@pytest.mark.parametrize("deaf", [True, False])
async def test_whoever_stood_before_the_door_when_it_closed_is_answered(
    deaf: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not deaf:  # as where the kernel cannot
        monkeypatch.setattr(front_door, "_deafen", lambda listener: False)  # pyright: ignore[reportUnknownLambdaType]
    with bound() as listener:
        door = Rush(listener.getsockname())
        await door.open(listener)
        await door.close()
    assert len(door.late) == 3
    for client in door.late:
        with client:
            client.settimeout(PATIENCE)
            assert b"".join(iter(lambda: client.recv(65536), b"")).endswith(b"welcome")  # noqa: B023  called at once


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux filters what a listening socket hears")
async def test_a_door_that_closes_connects_nobody_new() -> None:
    door = FrontDoor(greet)
    async with opened(door) as address:
        closing = asyncio.create_task(door.close())
        while not door.server_state.closing:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0)
        with socket.socket() as knocks:
            knocks.setblocking(False)
            assert knocks.connect_ex(address) == errno.EINPROGRESS
            while not door.server_state.closed:  # noqa: ASYNC110  uvicorn has no event for it
                await asyncio.sleep(0.005)
            with pytest.raises(OSError, match="not connected"):
                knocks.getpeername()
        await closing


async def told_from(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(f"{scope['scheme']} from {scope['client'][0]}.")(scope, receive, send)


@pytest.mark.parametrize("proxy", ["127.0.0.1", "127.0.0.0/8", "::ffff:127.0.0.1", "::ffff:7f00:0/104"])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_a_proxy_is_trusted_in_whatever_form_its_address_comes(proxy: str, family: socket.AddressFamily) -> None:
    door = FrontDoor(told_from, trusted_proxies=[proxy])
    listener = socket.socket(family)
    if family == socket.AF_INET6:  # hears of IPv4 as of ::ffff:127.0.0.1
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::" if family == socket.AF_INET6 else "127.0.0.1", 0))
    listener.setblocking(False)
    forwarded = b"X-Forwarded-Proto: https\r\nX-Forwarded-For: 127.0.0.1, 192.0.2.7, ::ffff:127.0.0.1\r\n"
    with listener:
        await door.open(listener)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
        writer.write(ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n" + forwarded + b"\r\n"))
        assert b"https from 192.0.2.7." in await rest(reader)
        writer.close()
        await door.slam()


async def test_a_closed_door_refuses() -> None:
    door = FrontDoor(greet)
    async with opened(door) as address:
        await door.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)


async def test_a_connection_is_kept_until_closing_is_announced() -> None:
    door = FrontDoor(greet)
    async with opened(door) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(ASK)
        assert b"connection: close" not in (await reader.readuntil(b"welcome")).lower()
        door.announce()
        writer.write(ASK)
        assert b"connection: close" in (await rest(reader)).lower()
        writer.close()


async def test_a_kept_connection_gets_one_more_answer_while_the_door_closes() -> None:
    door = FrontDoor(greet)
    async with opened(door) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(ASK)
        await reader.readuntil(b"welcome")
        closing = asyncio.create_task(door.close())
        while not door.server_state.closed:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.005)
        writer.write(ASK)
        assert (await rest(reader)).endswith(b"welcome")
        await closing
        writer.close()


async def test_who_says_nothing_keeps_the_door_open_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LAST_WORD", 0.05)
    door = FrontDoor(greet)
    async with opened(door) as address:
        reader, writer = await asyncio.open_connection(*address)
        async with asyncio.timeout(PATIENCE):
            await door.close()
        assert await rest(reader) == b""
        writer.close()


async def test_a_slammed_door_waits_for_nobody_and_handlers_see_a_client_that_is_gone() -> None:
    ends: list[str] = []

    async def listen(scope: Scope, receive: Receive, send: Send) -> None:
        ends.append((await receive())["type"])

    door = FrontDoor(listen)
    async with opened(door) as address:
        _, writer = await asyncio.open_connection(*address)
        writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\n")
        while not door.server_state.tasks:  # noqa: ASYNC110  likewise
            await asyncio.sleep(0.005)
        async with asyncio.timeout(PATIENCE):
            await door.slam()
        assert ends == ["http.disconnect"]
        writer.close()


async def test_a_handler_that_listens_to_nobody_is_called_off_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    ends: list[str] = []

    async def think(exchange: Exchange) -> Reply:
        del exchange
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("called off")
        raise AssertionError

    door = FrontDoor(App(Routes([Route("GET", "/", think)]), Metrics()))
    async with opened(door) as address:
        _, writer = await asyncio.open_connection(*address)
        writer.write(ASK)
        while not door.server_state.tasks:  # noqa: ASYNC110  likewise
            await asyncio.sleep(0.005)
        async with asyncio.timeout(PATIENCE):
            await door.slam()
        left = list(door.server_state.tasks)
        for task in left:  # as asyncio does with what is left when a process ends
            task.cancel()
        await asyncio.wait(left, timeout=PATIENCE)
        writer.close()
    assert ends == ["called off"]
    assert [record.exc_info for record in caplog.records if record.exc_info] == []


async def test_an_address_lost_to_somebody_else_is_an_error_and_no_open_door() -> None:
    with bound() as listener, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(listener.getsockname())
        other.listen()
        with pytest.raises(OSError, match="in use"):
            await FrontDoor(greet).open(listener)

"""The front door: where connections come in, and how it is closed without anybody being left standing.

Three things are lost when a listening socket is simply closed: connections that the kernel has accepted and this
process has not, connections whose first request is still on its way, and requests that arrive on a kept connection
while it is being hung up. So a door that is to be closed first says ``connection: close`` with every answer, then
stops hearing new knocks, lets in whoever stands before it, and hangs up on nobody without an answer or a moment's
silence.
"""

import asyncio
import contextlib
import ctypes
import socket
import struct
import sys
from collections.abc import Callable, Collection, Generator
from functools import partial
from typing import Any

import uvicorn

from kf2v.admission.grants import spellings
from kf2v.server.protocol import Connections, Protocol

#: seconds an idle connection is kept: above 30 it spares the Java SDK reconnects, and creates are not sent twice
KEEP_ALIVE = 75
#: seconds that handlers get to notice that they were cut off
SLAM = 1.0
#: seconds that handshakes under way get to be finished once no new one begins: a round trip around the world
HANDSHAKE = 0.3
#: how often somebody else may be quicker
BAR_TRIES = 100
#: Linux's number for it, which the socket module does not tell
_SO_ATTACH_FILTER = 26
#: a classic BPF program of (code, jump if true, jump if false, value): a segment with SYN and without ACK is dropped
_NO_SYN = (
    (0x30, 0, 0, 13),  # load the byte of the TCP header with the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # accept all of it
)


class FrontDoor(uvicorn.Server):
    """Answers with ``app``. Made open by ``open``, closed by ``close`` in peace or by ``slam`` at once.

    What ``X-Forwarded-For`` and ``X-Forwarded-Proto`` say counts where a peer of ``trusted_proxies``, addresses and
    networks, says it; of several addresses, the last one that is none of theirs.
    """

    def __init__(self, app: Callable[..., Any], *, trusted_proxies: Collection[str] = ()) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            ws="none",
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=[form for proxy in trusted_proxies for form in spellings(proxy)],
            http=Protocol,
            loop="asyncio",
            backlog=2048,
            timeout_keep_alive=KEEP_ALIVE,
        )
        super().__init__(config)
        self.server_state: Connections = Connections()
        self._serving: asyncio.Task[None] | None = None

    async def open(self, listener: socket.socket) -> None:
        """Answer on ``listener`` from now on. Raises OSError where it cannot listen."""
        self._serving = asyncio.create_task(self.serve(sockets=[listener]))
        while not self.started and not self._serving.done():  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.005)
        if self._serving.done():
            await self._serving

    def announce(self) -> None:
        """Say with every answer that it is the last one on its connection: the door will be closed."""
        self.server_state.closing = True

    async def close(self) -> None:
        """Let nobody in any more, and wait until everybody inside is answered and gone."""
        assert self._serving is not None
        self.should_exit = True
        await asyncio.shield(self._serving)

    async def slam(self) -> None:
        """Close, and cut off whoever is inside: handlers see a client that has gone."""
        assert self._serving is not None
        self.should_exit = True
        enough = asyncio.get_running_loop().time() + SLAM
        while not self._serving.done():
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            self.force_exit = asyncio.get_running_loop().time() > enough
            await asyncio.wait({self._serving}, timeout=0.05)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals are the service's."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's own, for those it forgets as well."""
        self.server_state.closing = True
        deaf = all(_deafen(listener) for listener in sockets or [])
        await asyncio.sleep(HANDSHAKE if deaf else 0)
        self.server_state.closed = True
        protocol = partial(Protocol, config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        for late in await self._last_ones(sockets or [], deaf=deaf):
            with contextlib.suppress(OSError):  # gone again
                await asyncio.get_running_loop().connect_accepted_socket(protocol, late)
        await super().shutdown(sockets)

    async def _last_ones(self, sockets: list[socket.socket], *, deaf: bool) -> list[socket.socket]:
        """Stop listening on ``sockets``; whoever was connected by the kernel until then."""
        for listener in sockets:
            asyncio.get_running_loop().remove_reader(listener)
        for _ in range(3):  # asyncio drops what it has accepted and not yet set up when its server is closed
            await asyncio.sleep(0)
        spares = [listener.dup() for listener in sockets]
        for server in self.servers:
            server.close()
        return [late for spare in spares for late in _shut(spare, deaf=deaf)]


def _deafen(listener: socket.socket) -> bool:
    """From now on no new connection begins at ``listener``, while those whose handshake is under way are finished:
    whoever knocks is not heard, and is refused when he tries again. Only Linux can; elsewhere False."""
    if sys.platform != "linux":
        return False
    program = b"".join(struct.pack("HBBI", *step) for step in _NO_SYN)
    kept = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HP", len(_NO_SYN), ctypes.addressof(kept))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
    except OSError:  # a kernel that only looks like Linux
        return False
    return True


def _shut(listener: socket.socket, *, deaf: bool) -> list[socket.socket]:
    """Close ``listener``; whoever the kernel had connected until then.

    Between the last ``accept`` and ``close`` the kernel of a door that is not deaf would go on connecting clients, only
    to reset them. So its queue is made as short as it gets, which is one place, and that place is taken by ourselves:
    whoever comes now is not connected at all. That leaves those out whose handshake is just then between its halves;
    hence ``_deafen``, where there is that.
    """
    if deaf:
        with contextlib.closing(listener):
            return _queued(listener)
    late: list[socket.socket] = []
    listener.listen(0)
    with contextlib.ExitStack() as stoppers, contextlib.closing(listener):
        for _ in range(BAR_TRIES):
            late += _queued(listener)
            stopper = stoppers.enter_context(socket.socket(listener.family))
            stopper.setblocking(False)
            stopper.connect_ex(listener.getsockname())
            if _is_connected(stopper):  # else somebody was quicker
                break
    return late


def _queued(listener: socket.socket) -> list[socket.socket]:
    """Everybody in the queue of ``listener``."""
    found: list[socket.socket] = []
    with contextlib.suppress(OSError):
        while True:
            found.append(listener.accept()[0])
    for connection in found:
        connection.setblocking(False)
    return found


def _is_connected(client: socket.socket) -> bool:
    try:
        client.getpeername()
    except OSError:
        return False
    return True

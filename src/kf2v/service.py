"""One running service: what is started in which order, and how it ends without losing anything.

Start: the data directory is owned, what a dead server left is taken back, the back door opens, workers start, and
only then is the front door open and ``ready`` said. End (SIGTERM, SIGINT): no task is given out any more, running ones
are finished or handed back while polls and creates are still answered, then the front door closes behind the last
answer, events under way get to arrive, then the rest. A second signal skips the waiting; what it cuts off is as safe
as after a crash.
"""

import asyncio
import contextlib
import gc
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from kf2v import logs
from kf2v.admission.keys import DEFAULT_ACCOUNT, OWNER
from kf2v.assembly.data_dir import open_blobs, open_store, owner_key, prepare_data_dir, signing_secret
from kf2v.assembly.doors import app_of
from kf2v.assembly.fleet import build_fleet
from kf2v.assembly.front import Front, backstage_of, build_front
from kf2v.assembly.panel import lay_out_lists
from kf2v.clock import SystemClock
from kf2v.net.unix import bind, socket_path
from kf2v.server.backstage import opened
from kf2v.server.front_door import FrontDoor
from kf2v.server.sweeper import keep_sweeping
from kf2v.server.uses import keep_writing_uses
from kf2v.server.watchkeeper import keep_watch
from kf2v.settings import Settings
from kf2v.worker.pools.fleet import Fleet

log = structlog.get_logger(__name__)

#: seconds that requests under way get at least to be answered, however much of the drain the work took
LAST_ANSWERS = 3.0
#: seconds within which a signal is the one before once more: ``timeout`` and ``uv run`` pass on what a terminal or
#: their own call has sent to the whole process group already
ECHO = 0.2


class _Ending:
    """What signals ask for: the first one to end, the next one to hurry."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurried = asyncio.Event()
        self._since = 0.0

    def signal(self) -> None:
        if not self.asked.is_set():
            self._since = time.monotonic()
            self.asked.set()
        elif time.monotonic() - self._since > ECHO:
            self.hurried.set()

    def left_of(self, seconds: float) -> float:
        """What is left of so many seconds since it was asked for."""
        return seconds - (time.monotonic() - self._since)

    async def unless_hurried(self, work: asyncio.Future[None], *, seconds: float | None = None) -> None:
        """Wait for ``work`` to end, or for somebody in a hurry, or so many seconds. Raises what ``work`` raises."""
        hurried = asyncio.ensure_future(self.hurried.wait())
        await asyncio.wait({work, hurried}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if work.done():
            work.result()


def serve(settings: Settings) -> None:
    """Run until a signal ends it.

    Raises StoreInUse if another server has the data directory, and OSError where the address cannot be had.
    """
    logs.configure(settings.log_level)
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    with _signals() as ending:
        await _live(settings, ending)


async def _live(settings: Settings, ending: _Ending) -> None:
    prepare_data_dir(settings)
    lay_out_lists(settings)
    clock, secret = SystemClock(), signing_secret(settings)
    async with AsyncExitStack() as house:
        store = await open_store(settings)
        house.push_async_callback(store.close)
        blobs = open_blobs(settings)
        listener = house.enter_context(contextlib.closing(_listen(settings.host, settings.port)))
        base = settings.local_url(listener.getsockname()[1])

        async def mourn(name: str) -> bool:
            return await front.desk.worker_died(name)

        fleet = build_fleet(settings, on_exit=mourn, silence=lambda worker: front.desk.roster.silence(worker))
        front = build_front(
            settings,
            store=store,
            blobs=blobs,
            clock=clock,
            secret=secret,
            workers_alive=lambda: fleet.alive,
            seats=lambda: fleet.places,
        )
        key = owner_key(settings)
        owner = await front.keys.ensure(key, DEFAULT_ACCOUNT, OWNER)
        if owner.revoked_at is not None:
            log.warning("the owner's key is revoked or was rotated", hint=owner.hint)
        await front.desk.recover()
        shutil.rmtree(settings.scratch_dir, ignore_errors=True)
        back = bind(socket_path(settings.data_dir))
        await house.enter_async_context(opened(backstage_of(front), back))
        await house.enter_async_context(_meanwhile(keep_sweeping(front.sweeper)))
        await house.enter_async_context(_meanwhile(keep_writing_uses(front.keys)))
        await house.enter_async_context(_meanwhile(keep_watch(front.desk, fleet.kill, understudy=fleet.understudy)))
        house.push_async_callback(lambda: front.courier.finish(0.0))
        await house.enter_async_context(_meanwhile(front.courier.run()))
        await fleet.start()
        house.push_async_callback(fleet.stop)
        _collect_seldom()
        door = FrontDoor(app_of(front), trusted_proxies=settings.trusted_proxies)
        await door.open(listener)
        house.push_async_callback(door.slam)
        house.enter_context(_found_at(settings.address_file, base))
        _announce(base, key)
        await ending.asked.wait()
        await _drain(front, fleet, door, ending)


async def _drain(front: Front, fleet: Fleet, door: FrontDoor, ending: _Ending) -> None:
    """Let all that is under way come to its end, as long as nobody is in a hurry."""
    seconds = front.settings.drain_seconds
    log.info("draining", seconds=seconds)
    front.vitals.draining = True
    front.desk.drain()
    door.announce()
    await ending.unless_hurried(asyncio.create_task(fleet.drain(seconds)))
    front.journal.close()
    front.limits.close()
    closing = asyncio.create_task(door.close())
    await ending.unless_hurried(closing, seconds=max(LAST_ANSWERS, ending.left_of(seconds)))
    if not closing.done():
        log.warning("clients cut off", connections=len(door.server_state.connections))
    telling = asyncio.create_task(front.courier.finish(max(LAST_ANSWERS, ending.left_of(seconds))))
    await ending.unless_hurried(telling)


@asynccontextmanager
async def _meanwhile(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.contextmanager
def _signals() -> Generator[_Ending, None, None]:
    """SIGTERM and SIGINT, from the first moment to the last."""
    loop, ending = asyncio.get_running_loop(), _Ending()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.signal)
    try:
        yield ending
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _collect_seldom() -> None:
    """What is loaded by now stays, so the collector need not look at it; and requests leave hardly any cycles. Measured
    under saturating creates: an eighth more of them a second, and the slowest percent waits a third as long."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@contextlib.contextmanager
def _found_at(file: Path, base: str) -> Generator[None, None, None]:
    """Commands of the same data directory find the server by ``file``, whatever port it took."""
    file.write_text(base + "\n")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # the protocol is named because asyncio sets TCP_NODELAY only where it is: without it every answer on a connection
    # that is kept waits 40 ms for the client's delayed acknowledgement
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _announce(base: str, key: str) -> None:
    """The banner for people on stdout, the one line for scripts on stderr."""
    api = f"{base}/api/v1"
    lines = (
        "kf2v is serving the DashScope kf2v API.",
        "",
        f"  base URL   {api}",
        f"  API key    {key}",
        "",
        "Point the official SDKs and the dashscope CLI here:",
        "",
        f"  export DASHSCOPE_HTTP_BASE_URL={api}",
        f"  export DASHSCOPE_API_KEY={key}",
        f"  export NO_PROXY=127.0.0.1,localhost{',' + os.environ['NO_PROXY'] if os.environ.get('NO_PROXY') else ''}",
        "",
    )
    for stream, text in ((sys.stdout, "\n".join(lines) + "\n"), (sys.stderr, f"ready {base}\n")):
        with contextlib.suppress(OSError):  # nobody reads it, and it is served all the same
            stream.write(text)
            stream.flush()

"""The worker processes that a service of these settings has, and how they are started."""

import os
import sys
from collections.abc import Awaitable, Callable

from kf2v.assembly.engines import relays, workers_here
from kf2v.net.unix import socket_path
from kf2v.settings import Settings
from kf2v.worker.pools.fleet import Fleet


def build_fleet(
    settings: Settings, *, on_exit: Callable[[str], Awaitable[bool]], silence: Callable[[str], float]
) -> Fleet:
    """None of them is started yet; ``on_exit`` and ``silence`` are what ``Fleet`` has them for."""
    return Fleet(
        [sys.executable, "-m", "kf2v", "worker", "--socket", str(socket_path(settings.data_dir))],
        _environment(settings),
        makers=workers_here(settings),
        relays=relays(settings),
        loops=settings.remote_running,
        unreachable_within=10.0 + 2 * settings.lease_seconds,
        on_exit=on_exit,
        silence=silence,
    )


def _environment(settings: Settings) -> dict[str, str]:
    """This process's environment with its settings in it, flags and files included, so that workers agree with it."""
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("KF2V_")}
    return inherited | settings.environment()

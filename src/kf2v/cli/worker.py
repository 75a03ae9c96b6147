"""``kf2v worker``: one worker process. The server starts it; by hand it is of no use."""

from pathlib import Path
from typing import Annotated

import typer

#: the status of a worker whose process can do no more work
RUINED = 70
#: seconds between two heartbeats at most: a worker hears in one that its task was canceled, and a beat is one small
#: write that is committed along with whatever else is written then (0.3 ms of a core, a flush of the disk)
BEAT = 0.5


def worker(
    socket: Annotated[Path, typer.Option(help="The server's backstage socket.")],
    name: Annotated[str, typer.Option(help="What the server calls this worker.")],
    seat: Annotated[int, typer.Option(help="Which of the server's workers this is, from 0: it chooses the GPU.")] = 0,
    forward: Annotated[
        int, typer.Option(help="Have so many videos at once made elsewhere, instead of making one here.")
    ] = 0,
) -> None:
    """Make videos for one server until it says stop. Standard input is the line to it: when it ends, so does this."""
    from kf2v.worker.tether import tether

    cue = tether()

    import faulthandler
    import os
    import signal
    import sys

    from kf2v import logs
    from kf2v.assembly.production import build_recipe, build_relay
    from kf2v.engines import EngineUnavailable
    from kf2v.errors import ProcessRuined
    from kf2v.settings import Settings
    from kf2v.wire.backstage import worker_names
    from kf2v.worker.connection import Connection
    from kf2v.worker.ledger import LedgerLost
    from kf2v.worker.loop import Loop, run_all

    faulthandler.enable()
    settings = Settings()
    logs.configure(settings.log_level)
    ledger = Connection(socket)
    try:
        production = build_relay(settings) if forward else build_recipe(settings, seat=seat)
    except EngineUnavailable as error:
        raise SystemExit(f"worker {name}: {error}") from error
    loops = [
        Loop(
            each,
            ledger=ledger,
            production=production,
            heartbeat_every=min(BEAT, settings.lease_seconds / 6),
            may_end=not forward,
        )
        for each in (worker_names(name, forward) if forward else [name])
    ]
    # what goes on elsewhere goes on without this process, and the next one takes it up where it is
    grace = 0.0 if forward else settings.drain_seconds

    def stop(number: int, frame: object) -> None:
        del number, frame
        for loop in loops:
            loop.stop(grace)
        if all(loop.idle for loop in loops):
            raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    cue.wait()
    try:
        run_all(loops)
    except LedgerLost as error:
        raise SystemExit(f"worker {name}: {error}") from error
    except ProcessRuined:
        sys.stderr.flush()
        os._exit(RUINED)  # not in order: what is ruined may not even be able to take leave

"""The ledger over a Unix socket: asks until it is answered, because every question may be asked twice."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog

from kf2v.net.unix_client import UnixClient, Unreachable
from kf2v.store import Settled
from kf2v.tasks import Lease, Outcome
from kf2v.wire import backstage as wire
from kf2v.worker.ledger import LedgerLost

#: seconds between two tries, growing from the first to the second
SOONEST, LATEST = 0.05, 1.0

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Connection:
    """The ``Ledger`` behind ``socket``. May be used from several threads at once.

    All calls mean the same when repeated: a claim gives what it gave, a settlement says that it was repeated.
    So a call that got no answer, or an answer that the server is in trouble, is made again until it is answered or
    ``limit`` seconds have passed.
    """

    def __init__(self, socket: Path, *, limit: float = 60.0, pause: Callable[[float], None] = time.sleep) -> None:
        self._client = UnixClient(socket)
        self._limit = limit
        self._pause = pause

    def claim(self, worker: str, *, engines: frozenset[str]) -> Lease | None:
        answer = self._ask("/claim", wire.Claim(worker=worker, engines=engines))
        return wire.parse_optional(Lease, answer)

    def renew(self, lease: Lease, phase: str, progress: float, notes: tuple[str, ...] = ()) -> bool:
        beat = wire.Renew(task_id=lease.task_id, attempt=lease.attempt, phase=phase, progress=progress, notes=notes)
        return wire.parse(bool, self._ask("/renew", beat))

    def settle(self, lease: Lease, outcome: Outcome, notes: tuple[str, ...] = ()) -> Settled:
        said = wire.Settle(task_id=lease.task_id, attempt=lease.attempt, outcome=outcome, notes=notes)
        return Settled(wire.parse(str, self._ask("/settle", said)))

    def hand_back(self, lease: Lease) -> None:
        self._ask("/hand_back", wire.HandBack(task_id=lease.task_id, attempt=lease.attempt))

    def reroute(self, lease: Lease, reason: str) -> bool:
        asked = wire.Reroute(task_id=lease.task_id, attempt=lease.attempt, reason=reason)
        return wire.parse(bool, self._ask("/reroute", asked))

    def over(self, lease: Lease) -> bool:
        return wire.parse(bool, self._ask("/over", wire.Over(task_id=lease.task_id)))

    def _ask(self, path: str, message: object) -> bytes:
        body = wire.render(message)
        enough = time.monotonic() + self._limit
        wait = SOONEST
        while True:
            try:
                return self._once(path, body)
            except Unreachable as error:
                if time.monotonic() + wait > enough:
                    raise LedgerLost(f"no answer to {path} within {self._limit:g} s") from error
                log.debug("server away", path=path, error=str(error))
            self._pause(wait)
            wait = min(2 * wait, LATEST)

    def _once(self, path: str, body: bytes) -> bytes:
        status, answer = self._client.ask("POST", path, body)
        if status >= 500:
            raise Unreachable(f"the server is in trouble: {status}")
        if status != 200:
            raise ValueError(f"{path} was refused with {status}: {answer.decode(errors='replace')}")
        return answer

"""Claim, make, settle: a worker's life. What is made, and who keeps the ledger, it does not know."""

import time
from collections.abc import Callable
from typing import Protocol

import structlog

from kf2v.errors import AlgorithmError, ApiError, Canceled, ProcessRuined
from kf2v.pipeline.progress import Progress
from kf2v.store import Settled
from kf2v.tasks import Failure, Lease, Outcome
from kf2v.worker.heartbeat import Heartbeat
from kf2v.worker.ledger import Ledger

log = structlog.get_logger(__name__)


class Production(Protocol):
    """What a worker does with a lease; ``pipeline.recipe.Recipe`` is one."""

    @property
    def engines(self) -> frozenset[str]:
        """The engines whose jobs it can do."""
        ...

    def produce(self, lease: Lease, progress: Progress) -> Outcome:
        """Do it. Raises ApiError for what the client may be told, and Canceled when ``progress`` calls it off."""
        ...

    def discard(self, outcome: Outcome) -> None:
        """Throw away what ``outcome`` brought."""
        ...


class Loop:
    """One worker. ``run`` it in a thread of its own, ``stop`` it from anywhere."""

    def __init__(
        self,
        name: str,
        *,
        ledger: Ledger,
        production: Production,
        heartbeat_every: float,
        may_end: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``heartbeat_every`` is in seconds; ``may_end`` says that whoever runs this ends with ProcessRuined and is
        replaced: without, a task that brings it fails like any other.
        """
        self.name = name
        self._ledger = ledger
        self._production = production
        self._every = heartbeat_every
        self._may_end = may_end
        self._monotonic = monotonic
        self._stop_at: float | None = None
        #: whether nothing would be lost if the process ended now
        self.idle = True

    def run(self) -> None:
        """Work until stopped.

        Raises LedgerLost when the server is gone for good, and ProcessRuined, where it may, with its task unsettled.
        """
        while self._stop_at is None:
            lease = self._ledger.claim(self.name, engines=self._production.engines)
            if lease is not None:
                self.idle = False
                self._work(lease)
                self.idle = True

    def stop(self, grace: float) -> None:
        """Claim nothing more; what is running has ``grace`` seconds to finish before it is handed back."""
        if self._stop_at is None:
            self._stop_at = self._monotonic() + grace

    def _out_of_time(self) -> bool:
        return self._stop_at is not None and self._monotonic() >= self._stop_at

    def _work(self, lease: Lease) -> None:
        with Heartbeat(self._ledger, lease, every=self._every, called_off=self._out_of_time) as watch:
            try:
                outcome = self._outcome(lease, watch)
            except Canceled:
                log.info("work called off", task_id=lease.task_id, attempt=lease.attempt, lost=watch.lost)
                if not watch.lost:
                    self._ledger.hand_back(lease)
                return
            settled = self._ledger.settle(lease, outcome, watch.unsent())
        if settled is Settled.LOST:
            log.warning("lease was lost", task_id=lease.task_id, attempt=lease.attempt)
            self._production.discard(outcome)

    def _outcome(self, lease: Lease, progress: Progress) -> Outcome:
        """How it ended, whatever happened. Only Canceled passes through, and ProcessRuined where that may be."""
        try:
            return self._production.produce(lease, progress)
        except Canceled:
            raise
        except ProcessRuined:
            if self._may_end:
                raise
            log.exception("task failed, and so will others", task_id=lease.task_id, attempt=lease.attempt)
            return Outcome(failure=Failure(code=AlgorithmError.code, message=AlgorithmError.sentence))
        except ApiError as error:
            log.info("task failed", task_id=lease.task_id, code=error.code, cause=type(error.__cause__).__name__)
            return Outcome(failure=Failure(code=error.code, message=error.message))
        except Exception:
            log.exception("task failed unexpectedly", task_id=lease.task_id, attempt=lease.attempt)
            return Outcome(failure=Failure(code=AlgorithmError.code, message=AlgorithmError.sentence))

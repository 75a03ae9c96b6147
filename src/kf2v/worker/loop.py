"""Claim, make, settle: a worker's life. What is made, and who keeps the ledger, it does not know."""

import time
from collections.abc import Callable, Sequence
from queue import Queue
from threading import Thread
from typing import Protocol

import structlog

from kf2v.errors import AlgorithmError, ApiError, Canceled, OutOfOrder, ProcessRuined
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

    def abandon(self, lease: Lease) -> None:
        """End what goes on elsewhere for ``lease``: its task has ended without it. Raises nothing."""
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
                elif self._ledger.over(lease):
                    self._production.abandon(lease)
                return
            except OutOfOrder as error:
                log.warning("engine out of order", task_id=lease.task_id, engine=lease.job.engine, reason=error.reason)
                if self._ledger.reroute(lease, error.reason):
                    return
                outcome = Outcome(failure=Failure(code=error.code, message=error.message))
            settled = self._ledger.settle(lease, outcome, watch.unsent())
        if settled is Settled.LOST:
            log.warning("lease was lost", task_id=lease.task_id, attempt=lease.attempt)
            self._production.discard(outcome)

    def _outcome(self, lease: Lease, progress: Progress) -> Outcome:
        """How it ended, whatever happened. Canceled and OutOfOrder pass through, and ProcessRuined where it may."""
        try:
            return self._production.produce(lease, progress)
        except (Canceled, OutOfOrder):
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


def run_all(loops: Sequence[Loop]) -> None:
    """Let every one of ``loops`` work until all are stopped, each in a thread of its own but for a single one.

    Raises what the first of them that cannot go on raises, and does not wait for the others then.
    """
    if len(loops) == 1:
        return loops[0].run()
    ended: Queue[BaseException | None] = Queue()

    def run(loop: Loop) -> None:
        try:
            loop.run()
        except BaseException as error:  # noqa: BLE001  raised where somebody can do something about it
            ended.put(error)
        else:
            ended.put(None)

    for loop in loops:
        Thread(target=run, args=(loop,), name=loop.name, daemon=True).start()
    for _ in loops:
        if (error := ended.get()) is not None:
            raise error
    return None

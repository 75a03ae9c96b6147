"""Keeps one lease alive while the work under it goes on, and tells the work when it is off."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from kf2v.errors import Canceled
from kf2v.pipeline.progress import overall
from kf2v.tasks import Lease
from kf2v.worker.ledger import Ledger

log = structlog.get_logger(__name__)


class Heartbeat:
    """The ``Watch`` of one piece of work: what is reported here is sent along with the next beat.

    A context: inside it a thread renews ``lease`` ``every`` so many seconds. Once the ledger says that the lease is
    gone, or ``called_off`` answers True, ``report`` raises Canceled.
    """

    def __init__(self, ledger: Ledger, lease: Lease, *, every: float, called_off: Callable[[], bool]) -> None:
        self._ledger = ledger
        self._lease = lease
        self._every = every
        self._called_off = called_off
        self._phase = ""
        self._progress = 0.0
        self._notes: list[str] = []
        self._noted: set[str] = set()
        self._noting = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat-{lease.task_id}", daemon=True)
        #: whether the lease is known to be gone
        self.lost = False

    def report(self, phase: str, done: float) -> None:
        """See ``engines.Watch``. The whole's progress never goes back, whatever the phases do."""
        progress = overall(phase, done)
        self._phase = phase
        self._progress = max(self._progress, progress or 0.0)
        if self.lost or self._called_off():
            raise Canceled

    def note(self, text: str) -> None:
        """See ``engines.Watch``. Sent with the next beat, and once, however often it is said."""
        with self._noting:
            if text not in self._noted:
                self._noted.add(text)
                self._notes.append(text)

    def unsent(self) -> tuple[str, ...]:
        """What was noted and not sent yet, for whoever sends it now."""
        with self._noting:
            notes, self._notes = tuple(self._notes), []
        return notes

    def _beat(self) -> None:
        while not self._ended.wait(self._every):
            try:
                held = self._ledger.renew(self._lease, self._phase, self._progress, self.unsent())
            except Exception:
                log.exception("heartbeat failed", task_id=self._lease.task_id)
                held = False
            if not held:
                self.lost = True
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

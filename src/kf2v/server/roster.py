"""The workers there are: who was heard of when, who fell silent, and who does not let go of a task that was stopped.

A worker that holds nothing owes one thing: to ask for work. One that neither holds a lease nor asks for as long as a
lease lasts is stopped or hung, and its seat is needed.

A worker whose task was stopped hears of it at its next heartbeat, stops at the engine's next report, and asks for other
work. One that has not asked within a grace is busy with something that cannot be interrupted, and is killed: its
successor asks instead.
"""

import math
from collections import deque
from collections.abc import Set
from dataclasses import dataclass, replace

import structlog

from kf2v.clock import SECOND, Clock

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """A worker as it is known."""

    name: str
    #: when it was heard of first and last, milliseconds
    since: int
    heard: int


class Roster:
    """All methods belong to one event loop."""

    def __init__(self, clock: Clock, *, lease_ms: int, grace_ms: int) -> None:
        self._clock = clock
        self._lease = lease_ms
        self._grace = grace_ms
        self._present: dict[str, Presence] = {}
        #: workers that neither ask for work nor are known to have any, and since when
        self._silent: dict[str, int] = {}
        #: workers whose task was stopped, and until when they may take to let go of it
        self._dismissed: dict[str, int] = {}
        #: a claim may arrive after its worker's end was seen; names are never used twice
        self._dead: deque[str] = deque(maxlen=256)

    def present(self) -> tuple[Presence, ...]:
        """The workers that were heard of and have not ended, the longest known first."""
        return tuple(self._present.values())

    def silence(self, worker: str) -> float:
        """For how many seconds nothing was heard of ``worker``; for ever, if it is not known."""
        known = self._present.get(worker)
        return math.inf if known is None else (self._clock.now() - known.heard) / SECOND

    def is_dead(self, worker: str) -> bool:
        return worker in self._dead

    def heard_of(self, worker: str) -> None:
        now = self._clock.now()
        known = self._present.get(worker)
        if known is not None:
            self._present[worker] = replace(known, heard=now)
        elif worker not in self._dead:
            self._present[worker] = Presence(name=worker, since=now, heard=now)

    def asked(self, worker: str) -> None:
        """It wants work, so it let go of what it had."""
        self.heard_of(worker)
        self._dismissed.pop(worker, None)

    def waits(self, worker: str) -> None:
        """Its question is being answered; until it is, silence is expected of it."""
        self._silent.pop(worker, None)

    def answered(self, worker: str) -> None:
        """With work or without; the next word is its own."""
        self.heard_of(worker)
        if worker not in self._dead:
            self._silent[worker] = self._clock.now()

    def dismiss(self, worker: str) -> None:
        """Its task was stopped: from now on it has a grace to let go of it."""
        if worker not in self._dead:
            self._dismissed[worker] = self._clock.now() + self._grace

    def died(self, worker: str) -> bool:
        """Its process ended; whether that was to make it let go of its task."""
        self._dead.append(worker)
        self._silent.pop(worker, None)
        self._present.pop(worker, None)
        return self._dismissed.pop(worker, None) is not None

    @property
    def dismissed(self) -> frozenset[str]:
        """The workers that have not let go yet of a task that was stopped."""
        return frozenset(self._dismissed)

    def overstayers(self) -> frozenset[str]:
        """The workers that must be killed because they did not let go of a task that was stopped."""
        now = self._clock.now()
        found = frozenset(worker for worker, until in self._dismissed.items() if now >= until)
        for worker in found:
            self._dismissed[worker] = now + self._lease  # named again only if killing did not help
            log.warning("worker did not let go", worker=worker)
        return found

    def fallen_silent(self, *, busy: Set[str]) -> frozenset[str]:
        """The workers without a task that have not asked for one for too long, each once; ``busy`` are the others."""
        now = self._clock.now()
        for worker in busy & self._silent.keys():
            self._silent[worker] = now
        fallen = frozenset(worker for worker, since in self._silent.items() if now >= since + self._lease)
        for worker in fallen:
            del self._silent[worker]
            log.warning("worker silent", worker=worker)
        return fallen

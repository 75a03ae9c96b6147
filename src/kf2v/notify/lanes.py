"""One lane per account and host: how much may be on its way there at once, and when the host is left alone.

A host that hangs holds up its own lane and nothing else. Until a host has answered well once, and after it did not,
one delivery at a time is sent there; a host that does not answer at all rests too, and one delivery then finds out
whether it is back. What finds its lane full gets a slot later: slots of a lane lie one after the other, so that a
thousand deliveries to one host come up a few at a time instead of all in every round.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from kf2v.clock import MINUTE, SECOND

T = TypeVar("T")

#: deliveries on their way to a host that answers well
WIDTH = 4
#: deliveries that wait for that, per host
WAITING = 16
#: milliseconds between two slots
SPACING = 50
#: milliseconds that what was learnt of a host is remembered without news
MEMORY = 10 * MINUTE


@dataclass(slots=True)
class Lane(Generic[T]):
    """Times are milliseconds since the epoch."""

    waiting: deque[T] = field(default_factory=deque[T])
    under_way: int = 0
    #: whether its last answer was a good one
    proven: bool = False
    #: in a row
    failures: int = 0
    #: until when the host is left alone
    rests_until: int = 0
    #: the last slot that was given
    slot: int = 0
    #: when something was last learnt of the host
    learnt_at: int = 0

    def takes(self, now: int) -> bool:
        """Whether one more may wait here."""
        return now >= self.rests_until and len(self.waiting) < WAITING

    @property
    def ready(self) -> bool:
        """Whether one of those that wait may go."""
        return bool(self.waiting) and self.under_way < (WIDTH if self.proven else 1)

    def next_slot(self, now: int) -> int:
        """When to come back for one that found no place."""
        self.slot = max(self.slot + SPACING, now + SECOND, self.rests_until)
        return self.slot

    def answered(self, *, well: bool, now: int) -> None:
        """The host is there; ``well`` if it can take more."""
        self.proven, self.failures, self.learnt_at = well, 0, now

    def failed(self, *, until: int, now: int) -> list[T]:
        """The host is not; it rests, and whoever waited has to go."""
        self.proven, self.learnt_at = False, now
        self.failures += 1
        self.rests_until = self.slot = until
        sent_away = [*self.waiting]
        self.waiting.clear()
        return sent_away

    def hope(self) -> None:
        """The host is said to be back; one delivery may find out."""
        self.failures = self.rests_until = 0

    def idle(self, now: int) -> bool:
        """Whether hardly anything would be lost with it."""
        needed = max(self.rests_until, self.slot, self.learnt_at + MEMORY)
        return not self.waiting and not self.under_way and now >= needed

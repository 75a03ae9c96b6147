"""One lane per account and host: how much may be on its way there at once, and when the host is left alone.

A host that hangs holds up its own lane and nothing else. Until a host has answered well once, and after it did not,
one delivery at a time is sent there; a host that does not answer at all rests too, and one delivery then finds out
whether it is back. What finds its lane full gets a slot later: slots of a lane lie one after the other, so that a
thousand deliveries to one host come up a few at a time instead of all in every round.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Generic, TypeVar

from kf2v.clock import SECOND

T = TypeVar("T")

#: deliveries on their way to a host that answers well
WIDTH = 4
#: deliveries that wait for that, per host
WAITING = 16
#: milliseconds between two slots of a lane
SPACING = 50


class Standing(Enum):
    """What is known of a host. Deliveries to those of one account with one standing share what they may take up."""

    #: nothing, or that it has troubles of its own
    UNKNOWN = auto()
    #: its last answer was a good one
    ANSWERS = auto()
    #: it did not answer
    SILENT = auto()


@dataclass(slots=True)
class Slots:
    """Due dates one after the other, for those who found no place. Milliseconds throughout."""

    #: that was given
    last: int = 0

    def next(self, now: int, *, spacing: int, after: int = 0) -> int:
        self.last = max(self.last + spacing, now + SECOND, after)
        return self.last


@dataclass(slots=True)
class Lane(Generic[T]):
    """Times are milliseconds since the epoch."""

    standing: Standing = Standing.UNKNOWN
    waiting: deque[T] = field(default_factory=deque[T])
    under_way: int = 0
    #: in a row
    failures: int = 0
    #: until when the host is left alone
    rests_until: int = 0
    slots: Slots = field(default_factory=Slots)
    #: when something was last learnt of the host
    learnt_at: int = 0

    def takes(self, now: int) -> bool:
        """Whether one more may wait here."""
        return now >= self.rests_until and len(self.waiting) < WAITING

    @property
    def ready(self) -> bool:
        """Whether one of those that wait may go."""
        return bool(self.waiting) and self.under_way < (WIDTH if self.standing is Standing.ANSWERS else 1)

    def next_slot(self, now: int) -> int:
        """When to come back for one that found no place."""
        return self.slots.next(now, spacing=SPACING, after=self.rests_until)

    def answered(self, *, well: bool, now: int) -> None:
        """The host is there; ``well`` if it can take more."""
        self.standing = Standing.ANSWERS if well else Standing.UNKNOWN
        self.failures, self.learnt_at = 0, now

    def failed(self, *, until: int, now: int) -> list[T]:
        """The host is not; it rests, and whoever waited has to go."""
        self.standing, self.learnt_at = Standing.SILENT, now
        self.failures += 1
        self.rests_until = self.slots.last = until
        sent_away = [*self.waiting]
        self.waiting.clear()
        return sent_away

    def hope(self) -> None:
        """The host is said to be back; one delivery may find out."""
        self.failures = self.rests_until = 0
        if self.standing is Standing.SILENT:
            self.standing = Standing.UNKNOWN

    @property
    def idle(self) -> bool:
        """Whether nothing but what was learnt would be lost with it."""
        return not self.waiting and not self.under_way

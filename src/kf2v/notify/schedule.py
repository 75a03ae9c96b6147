"""When to try again, and when to give up.

The wait after the n-th try is drawn between nothing and ``first`` times 2ⁿ, at most ``longest``: exponential backoff
with full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter), so that what piled up
while a receiver was away does not come back all at once.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from kf2v.clock import HOUR, SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Milliseconds throughout."""

    #: how far away a second try may be at most
    first: int = 5 * SECOND
    longest: int = 2 * HOUR
    #: from the event; what is not delivered then is abandoned
    give_up: int = 24 * HOUR
    #: a float in [0, 1)
    draw: Callable[[], float] = random.random

    def pause(self, tries: int) -> int:
        """After so many tries."""
        ceiling = min(self.longest, self.first << min(max(tries - 1, 0), 32))
        return max(1, round(ceiling * self.draw()))

    def rest(self, failures: int) -> int:
        """Of a host that failed so many times in a row: short, because one try of one delivery ends it."""
        return min(60 * SECOND, self.first << min(max(failures - 1, 0), 32))

    def wished(self, header: str, *, now: int) -> int:
        """What a ``Retry-After`` asks for, within bounds; 0 where it asks for nothing that can be read."""
        if header.isascii() and header.isdigit():
            return min(int(header[:9]) * SECOND, self.longest)
        try:
            moment = parsedate_to_datetime(header)
        except (ValueError, OverflowError):
            return 0
        wished = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * SECOND) - now
        return min(max(wished, 0), self.longest)

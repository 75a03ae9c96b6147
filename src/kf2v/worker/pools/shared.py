"""When a process that several workers share has to be ended: not for one of them, who will hear that its work is off,
but when none of them is to be reached any more: each is unwelcome, and was not heard of since.
"""

import time
from collections.abc import Callable

from kf2v.wire.backstage import process_of


class Shared:
    """Hears which workers are unwelcome, of processes with ``count`` workers each."""

    def __init__(
        self,
        count: int,
        *,
        within: float,
        silence: Callable[[str], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``within`` is how many seconds all workers of a process that is out of reach are told of; ``silence`` says
        for how many nothing was heard of one.
        """
        self._count = count
        self._within = within
        self._silence = silence
        self._monotonic = monotonic
        self._told: dict[str, dict[str, float]] = {}

    def beyond_reach(self, worker: str) -> bool:
        """``worker`` is unwelcome: whether by now all in its process are."""
        now, process = self._monotonic(), process_of(worker)
        told = self._told.setdefault(process, {})
        told[worker] = now
        return sum(now - at <= min(self._within, self._silence(name)) for name, at in told.items()) >= self._count

    def ended(self, process: str) -> None:
        """Forget that process."""
        self._told.pop(process, None)

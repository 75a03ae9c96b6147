"""The calls a worker makes. Who answers them, and over what, it does not know."""

from typing import Protocol

from kf2v.store import Settled
from kf2v.tasks import Lease, Outcome


class Ledger(Protocol):
    """The server's side of a lease, as a worker sees it. Methods block and may be called from any thread.

    A variant that talks over a connection retries while the server is away; ``LedgerLost`` ends that.
    """

    def claim(self, worker: str, *, engines: frozenset[str]) -> Lease | None:
        """The next task, waiting a few seconds for one; None if none came."""
        ...

    def renew(self, lease: Lease, phase: str, progress: float, notes: tuple[str, ...] = ()) -> bool:
        """A heartbeat, and what the task's owner may like to know; False when the work must stop: the lease is gone."""
        ...

    def settle(self, lease: Lease, outcome: Outcome, notes: tuple[str, ...] = ()) -> Settled: ...

    def hand_back(self, lease: Lease) -> None:
        """Give the task back uncharged, because this worker was asked to stop."""
        ...

    def reroute(self, lease: Lease, reason: str) -> bool:
        """The lease's engine is out of order: another shall make it. False if no other can, or the lease is gone."""
        ...

    def over(self, lease: Lease) -> bool:
        """Whether the task has ended, whoever ended it, so that no other attempt will come."""
        ...


class LedgerLost(Exception):
    """The server went away and did not come back in time."""

"""Every state of a task and every way out of it.

A client sees five states and sees them go one way only: PENDING, RUNNING, then one of SUCCEEDED, FAILED or
CANCELED. Inside there is a sixth. When a worker dies, its task has to wait for another one, but it was RUNNING
already and DashScope's clients know no way back; so it becomes REQUEUED, which waits like PENDING and is shown as
RUNNING. It can no longer be cancelled by the API, exactly because it is shown as RUNNING.

Three events lead out of RUNNING without an end. ``LOSE`` is a worker that died or fell silent: the attempt was
charged when it was claimed, so a task that kills its workers runs out of attempts. ``HAND_BACK`` is a worker that
was asked to stop, or a server that died with it: nobody's fault, the charge is taken back. ``RENEW`` is a
heartbeat. ``EXHAUST`` replaces ``LOSE`` when no attempt is left, and ``TIME_OUT`` ends what runs too long.
``REROUTE`` is an engine that cannot do this one: it waits for another engine, uncharged.

``CANCEL`` is the word of the vendor's API and ends what nobody has begun. ``STOP`` is kf2v's own and ends whatever has
not ended: the lease is gone with it, and its worker hears of that at its next heartbeat.

Stores persist what :func:`follow` answers; they decide nothing themselves.
"""

from enum import StrEnum


class State(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    REQUEUED = "REQUEUED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"

    @property
    def shown(self) -> str:
        """The ``task_status`` a client sees."""
        return "RUNNING" if self is State.REQUEUED else self.value

    @property
    def final(self) -> bool:
        return self in FINAL

    @property
    def waiting(self) -> bool:
        """Whether a worker may claim it."""
        return self in WAITING


class Event(StrEnum):
    CLAIM = "claim"
    RENEW = "renew"
    LOSE = "lose"
    HAND_BACK = "hand back"
    EXHAUST = "exhaust"
    TIME_OUT = "time out"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    STOP = "stop"
    REROUTE = "reroute"


FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED})
WAITING = frozenset({State.PENDING, State.REQUEUED})

TABLE: dict[tuple[State, Event], State] = {
    (State.PENDING, Event.CLAIM): State.RUNNING,
    (State.PENDING, Event.CANCEL): State.CANCELED,
    (State.PENDING, Event.STOP): State.CANCELED,
    (State.REQUEUED, Event.CLAIM): State.RUNNING,
    (State.REQUEUED, Event.STOP): State.CANCELED,
    (State.REQUEUED, Event.TIME_OUT): State.FAILED,
    (State.RUNNING, Event.RENEW): State.RUNNING,
    (State.RUNNING, Event.LOSE): State.REQUEUED,
    (State.RUNNING, Event.HAND_BACK): State.REQUEUED,
    (State.RUNNING, Event.REROUTE): State.REQUEUED,
    (State.RUNNING, Event.STOP): State.CANCELED,
    (State.RUNNING, Event.EXHAUST): State.FAILED,
    (State.RUNNING, Event.TIME_OUT): State.FAILED,
    (State.RUNNING, Event.SUCCEED): State.SUCCEEDED,
    (State.RUNNING, Event.FAIL): State.FAILED,
}


def follow(state: State, event: Event) -> State | None:
    """The state after ``event``, or None where ``event`` cannot happen."""
    return TABLE.get((state, event))

"""What workers say to the server and hear from it, as JSON over a socket that only they and the owner can open.

No public surface: both ends come from the same installation, so it has no version and may change with any release.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from kf2v.errors import BodyInvalid
from kf2v.tasks import Outcome

T = TypeVar("T")

#: between the name of a process and the number of a worker in it
_MARK = "."


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """May I have a task of one of ``engines``? The answer is a Lease or null."""

    worker: str
    engines: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """I am alive and this far. The answer is whether the lease still holds."""

    task_id: str
    attempt: int
    phase: str
    #: 0 … 1
    progress: float
    #: what the task's owner may like to know; each is written down once, however often it is said
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """This is how it ended. The answer is ``recorded``, ``repeated`` or ``lost``."""

    task_id: str
    attempt: int
    outcome: Outcome
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HandBack:
    """Give it to another, I have to go. The answer is whether the lease still held."""

    task_id: str
    attempt: int


def worker_names(process: str, count: int) -> Sequence[str]:
    """What the ``count`` workers are called that live together in one process."""
    return [f"{process}{_MARK}{number}" for number in range(1, count + 1)]


def process_of(worker: str) -> str:
    """The process that ``worker`` is, or lives in."""
    return worker.partition(_MARK)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reroute:
    """My engine is out of order, another shall make it. The answer is whether another will."""

    task_id: str
    attempt: int
    #: for the owner
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """Has it ended? The answer is whether nobody will work on it any more."""

    task_id: str


def parse(kind: type[T], body: bytes) -> T:
    """``body`` as a ``kind``. Raises BodyInvalid if it is none."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise BodyInvalid(f"{BodyInvalid.sentence} ({error})") from error


def parse_optional(kind: type[T], body: bytes) -> T | None:
    """``body`` as a ``kind``, or None if it says null. Raises BodyInvalid if it is neither."""
    return None if body == b"null" else parse(kind, body)


def render(message: object) -> bytes:
    """``message``, one of the above or of ``tasks``, as JSON."""
    return msgspec.json.encode(message)

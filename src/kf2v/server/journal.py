"""What happened to tasks, account by account, for whoever follows it: in order, numbered, and only the latest of it.

A reader holds no queue, only the number of the last entry he has seen. So however slow he is, he costs nothing: what
he has not read when it falls off the journal's end is lost to him, and he is told so (:class:`Gap`).

An entry's id is ``<epoch>-<number>``. The epoch is another one in every life of a server, so that a number of the last
one is not taken for one of this. The journal is no record: rows are, and a reader who lost his place reads those.
"""

import secrets
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from kf2v.server.bell import Bell
from kf2v.tasks import State, Task

#: entries kept per account
LENGTH = 1_000
#: more than any number here has
DIGITS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened to a task."""

    number: int
    #: as it was then
    task: Task
    #: whether it is there no longer
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Something happened that cannot be told any more; what follows goes on from ``number``."""

    number: int


class Journal:
    """The journals of all accounts. All methods belong to one event loop."""

    def __init__(self, *, length: int = LENGTH, epoch: str | None = None) -> None:
        self._length = length
        self._epoch = epoch or secrets.token_hex(4)
        self._accounts: dict[str, _Pages] = {}
        self._closed = False

    def publish(self, task: Task, *, deleted: bool = False) -> None:
        """Enter that ``task`` is as it is; ignored where something later was entered already."""
        pages = self._of(task.account)
        if pages.add(task, deleted=deleted):
            pages.bell.ring()

    def close(self) -> None:
        """End every reading, once all that was entered is read."""
        self._closed = True
        for pages in self._accounts.values():
            pages.bell.ring()

    def name(self, number: int) -> str:
        """The id of the entry of that number."""
        return f"{self._epoch}-{number}"

    def last(self, account: str) -> int:
        """The number of the newest entry, 0 if there is none."""
        return self._of(account).last

    async def read(self, account: str, *, after: str | None = None) -> AsyncGenerator[Entry | Gap]:
        """What happens to the account's tasks from now on, or since the entry whose id is ``after``.

        Begins with a Gap if that entry is too old, or none of this life. Ends when the journal is closed.
        """
        pages = self._of(account)
        seen = pages.last if after is None else self._number(after)
        while True:
            bell = pages.bell.listen()
            if seen is None or not pages.first - 1 <= seen <= pages.last:
                seen = pages.last
                yield Gap(number=seen)
            elif seen < pages.last:
                entry = pages[seen + 1]
                seen = entry.number
                yield entry
            elif self._closed:
                return
            else:
                await bell.wait()

    def _of(self, account: str) -> "_Pages":
        pages = self._accounts.get(account)
        if pages is None:
            pages = self._accounts[account] = _Pages(self._length)
        return pages

    def _number(self, name: str) -> int | None:
        epoch, _, number = name.partition("-")
        ours = epoch == self._epoch and number.isascii() and number.isdigit() and len(number) < DIGITS
        return int(number) if ours else None


class _Pages:
    """The journal of one account."""

    def __init__(self, length: int) -> None:
        self._entries: deque[Entry] = deque()
        self._length = length
        self._latest: dict[str, Entry] = {}
        self.last = 0
        self.bell = Bell()

    @property
    def first(self) -> int:
        """The number of the oldest entry there is, or that there will be."""
        return self.last - len(self._entries) + 1

    def __getitem__(self, number: int) -> Entry:
        return self._entries[number - self.first]

    def add(self, task: Task, *, deleted: bool) -> bool:
        """False if that much, or something later, is known of ``task``."""
        entry, known = Entry(number=self.last + 1, task=task, deleted=deleted), self._latest.get(task.id)
        if known is not None and (_age(entry) < _age(known) or _sight(entry) == _sight(known)):
            return False
        self.last = entry.number
        self._entries.append(entry)
        self._latest[task.id] = entry
        if len(self._entries) > self._length:
            oldest = self._entries.popleft()
            if self._latest[oldest.task.id] is oldest:
                del self._latest[oldest.task.id]
        return True


def _age(entry: Entry) -> tuple[bool, bool, int, bool, float]:
    """Rises in the life of a task: rows are read while they change, and who reads first may come in second."""
    task = entry.task
    return entry.deleted, task.state.final, task.attempt, task.state is State.REQUEUED, task.progress


def _sight(entry: Entry) -> tuple[object, ...]:
    """What a reader would see change: heartbeats that bring nothing new are no news."""
    task = entry.task
    return entry.deleted, task.state, task.attempt, task.phase, round(100 * task.progress), task.kept

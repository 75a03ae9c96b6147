"""Whose turn it is: the queue is fair between accounts and first come, first served within one.

A worker that is free takes the task of the highest priority there is; among accounts with such a task, of the one
with the fewest tasks running; among those, of the one that was served longest ago; there, the task that has waited
longest. Without the second rule one account could hold every worker; without the third, a single worker would serve
whoever came first until he has nothing left, because nobody else ever has fewer running than none.

So an account with thousands of tasks waiting delays another's first by no more than what is running already. Priority
outranks all of that, which is why it belongs to keys and is the owner's to give.

Pure: a store says what waits and runs, and does what is answered here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

#: account and model → how many of its tasks may run at once; None: any number
Caps: TypeAlias = Callable[[str, str], int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """How many tasks of an account, model and engine wait and run."""

    account: str
    model: str
    engine: str
    waiting: int
    running: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The task of one line that is next there."""

    task_id: str
    account: str
    model: str
    priority: int
    submitted_at: int
    #: decides between tasks of the same millisecond
    seq: int


def unlimited(account: str, model: str) -> int | None:
    """The caps of a deployment that has none."""
    del account, model
    return None


def choose(heads: Iterable[Head], lines: Iterable[Line], *, served: Mapping[str, int], caps: Caps) -> Head | None:
    """Which of ``heads`` is next; None if there is none, or each one's account runs all it may.

    ``served`` says when accounts were served, as a number that rises; who is not in it never was.
    """
    running: dict[str, int] = {}
    at_once: dict[tuple[str, str], int] = {}
    for line in lines:
        running[line.account] = running.get(line.account, 0) + line.running
        at_once[line.account, line.model] = at_once.get((line.account, line.model), 0) + line.running

    def may_run(head: Head) -> bool:
        cap = caps(head.account, head.model)
        return cap is None or at_once.get((head.account, head.model), 0) < cap

    def order(head: Head) -> tuple[int, int, int, int, int]:
        account = head.account
        return -head.priority, running.get(account, 0), served.get(account, 0), head.submitted_at, head.seq

    return min(filter(may_run, heads), key=order, default=None)


def position(account: str, ahead: int, others: Mapping[str, int], *, served: Mapping[str, int]) -> int:
    """About how many tasks start before the one of ``account`` that has ``ahead`` of its own account's before it.

    ``others`` says how many tasks of each other account wait. In every round each of them is served once, so it gets
    in as many as this account has ahead, and one more if it was served longer ago. Priorities, caps and what comes
    later are left out.
    """
    turn = served.get(account, 0)
    return ahead + sum(
        min(waiting, ahead + (served.get(other, 0) < turn)) for other, waiting in others.items() if other != account
    )

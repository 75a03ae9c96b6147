"""Random histories: both stores and a model in a dictionary live through the same calls and never disagree."""

import asyncio
import tempfile
from collections.abc import Awaitable, Coroutine
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kf2v.catalog.models import SECONDS
from kf2v.metering import UsageQuery
from kf2v.store import Line, Once, OnceTaken, QueueFull, Settled, Store, TaskQuery
from kf2v.store.memory import MemoryStore
from kf2v.store.sqlite import SqliteStore
from kf2v.tasks import Event, Lease, State, Task
from kf2v.tasks.lifecycle import TABLE
from orders import EXHAUSTED, FAILED, LATE, MADE, NOW, job, order

T = TypeVar("T")
Aim: TypeAlias = tuple[bool, int, int]
ENGINES = ("still", "morph")
ACCOUNTS = ("mine", "theirs", "another's")
BOTH = frozenset(ENGINES)
NUMBERS = st.integers(0, 7)
#: whom a rule about leases means: mostly a running task, mostly in its current attempt
AIMS = st.tuples(st.sampled_from([True, True, True, False]), NUMBERS, st.sampled_from([0, 0, 0, 0, -1, 1]))
OUTCOMES = st.sampled_from([MADE, FAILED, LATE, EXHAUSTED])


def _anything_begun(histories: "Histories") -> bool:
    return any(task.attempt for task in histories.model.values())


def _line(task: Task) -> tuple[str, str, str]:
    return task.account, task.job.model, task.job.engine


async def _outcome(work: Awaitable[Any]) -> Any:
    """What it returned, or the class of what it refused with."""
    try:
        return await work
    except (OnceTaken, QueueFull) as refusal:
        return type(refusal)


class Histories(RuleBasedStateMachine):
    """``self.model`` is what a reader of the protocol's docstrings would expect, in plain assignments."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "kf2v.db"
        self.sqlite: Store = self.runner.run(SqliteStore.open(self.path))
        self.stores: tuple[Store, ...] = (MemoryStore(), self.sqlite)
        self.model: dict[str, Task] = {}
        #: by account and key: digest, task and when
        self.said: dict[tuple[str, str], tuple[str, str, int]] = {}
        #: accounts in the order they were served last
        self.served: list[str] = []
        #: what was booked
        self.seconds = 0
        self.now = NOW

    def teardown(self) -> None:
        self.run(self.sqlite.close())
        self.runner.close()
        self.folder.cleanup()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def ask(self, method: str, *positional: Any, **named: Any) -> Any:
        """The one answer that all stores give."""
        answers = [self.run(_outcome(getattr(store, method)(*positional, **named))) for store in self.stores]
        assert answers[0] == answers[1], f"{method}: memory says {answers[0]}, sqlite says {answers[1]}"
        return answers[0]

    def move(self, task_id: str, event: Event, speaker: int | None, **changes: Any) -> bool:
        task = self.model.get(task_id)
        if task is None or (task.state, event) not in TABLE or speaker not in (None, task.attempt):
            return False
        self.model[task_id] = replace(task, state=TABLE[task.state, event], **changes)
        return True

    def meant(self, aim: Aim) -> tuple[str, int]:
        of_running, number, offset = aim
        held = [task for task in self.model.values() if task.state is State.RUNNING]
        task = held[number % len(held)] if of_running and held else self.model.get(f"task-{number}")
        return (f"task-{number}", 1) if task is None else (task.id, task.attempt + offset)

    @initialize()
    def begin(self) -> None:
        for account in (*ACCOUNTS, *ACCOUNTS):
            self.insert(
                engine=ENGINES[len(self.model) % 2], earlier=0, account=account, priority=0, once=None, room=None
            )
        self.claim(engines=BOTH, worker="w1", cap=None)

    @rule(milliseconds=st.integers(0, 5_000))
    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds

    @precondition(lambda self: len(self.model) < 8)
    @rule(
        engine=st.sampled_from(ENGINES),
        earlier=st.integers(0, 1),
        account=st.sampled_from(ACCOUNTS),
        priority=st.sampled_from([0, 0, 0, 1, -1]),
        once=st.sampled_from([None, None, None, "a", "b"]),
        room=st.sampled_from([None, None, 0, 1, 2]),
    )
    def insert(
        self, engine: str, earlier: int, account: str, priority: int, once: str | None, room: int | None
    ) -> None:
        number = next(number for number in range(8) if f"task-{number}" not in self.model)
        fallbacks = tuple(other for other in ENGINES if other != engine)
        task = order(
            number,
            account=account,
            priority=priority,
            job=job(engine=engine, fallbacks=fallbacks),
            submitted_at=self.now - earlier,
        )
        word = None if once is None else Once(key="word", digest=once, since=self.now - 2_000)
        answer = self.ask("insert", task, once=word, room=room)
        said = self.said.get((account, "word"))
        if word is not None and said is not None and said[2] >= word.since:
            assert answer == (said[1] if said[0] == once else OnceTaken)
            return
        waiting = sum(other.state.waiting and other.account == account for other in self.model.values())
        if room is not None and waiting >= room:
            assert answer is QueueFull
            return
        assert answer == task.id
        self.model[task.id] = task
        if once is not None:
            self.said[account, "word"] = once, task.id, task.submitted_at

    def running_of(self, account: str) -> int:
        return sum(task.state is State.RUNNING and task.account == account for task in self.model.values())

    def next_of(self, waits: list[Task]) -> Task:
        """By the words of ``tasks.turns``, one sentence after the other; the model's order is that of insertion."""
        urgent = [task for task in waits if task.priority == max(other.priority for other in waits)]
        fewest = min(self.running_of(task.account) for task in urgent)
        idle = [task for task in urgent if self.running_of(task.account) == fewest]
        neglected = [task for task in idle if task.account not in self.served]
        if not neglected:
            account = next(account for account in self.served if any(task.account == account for task in idle))
            neglected = [task for task in idle if task.account == account]
        return min(neglected, key=lambda task: task.submitted_at)

    @precondition(lambda self: any(task.state.waiting for task in self.model.values()))
    @rule(
        engines=st.sampled_from([BOTH, BOTH, frozenset({"still"}), frozenset()]),
        worker=st.sampled_from(["w1", "w2"]),
        cap=st.sampled_from([None, None, 1, 2]),
    )
    def claim(self, engines: frozenset[str], worker: str, cap: int | None) -> None:
        lease: Lease | None = self.ask(
            "claim", worker, engines=engines, now=self.now, until=self.now + 30, caps=lambda account, model: cap
        )
        waits = [
            task
            for task in self.model.values()
            if task.state.waiting
            and task.job.engine in engines
            and (cap is None or self.running_of(task.account) < cap)
        ]
        if not waits:
            assert lease is None
            return
        first = self.next_of(waits)
        assert lease is not None
        assert (lease.task_id, lease.attempt) == (first.id, first.attempt + 1)
        self.served = [*(account for account in self.served if account != first.account), first.account]
        self.move(
            first.id,
            Event.CLAIM,
            None,
            attempt=first.attempt + 1,
            charged=first.charged + 1,
            scheduled_at=self.now if first.scheduled_at is None else first.scheduled_at,
            worker=worker,
            lease_until=self.now + 30,
            phase="",
            progress=0.0,
        )

    @precondition(lambda self: any(task.state.waiting for task in self.model.values()))
    @rule()
    def serve(self) -> None:
        """A quick worker: claims and is done with it."""
        before = {task.id: task.attempt for task in self.model.values()}
        self.claim(engines=BOTH, worker="quick", cap=None)
        (task,) = (task for task in self.model.values() if task.attempt > before[task.id])
        assert self.ask("settle", task.id, task.attempt, FAILED, now=self.now) is Settled.RECORDED
        ends = {"ended_at": self.now, "lease_until": None, "phase": "", "outcome": FAILED}
        self.move(task.id, Event.FAIL, task.attempt, **ends)

    @rule(number=NUMBERS)
    def stop(self, number: int) -> None:
        task_id = f"task-{number}"
        before = self.model.get(task_id)
        stopped = self.ask("stop", task_id, now=self.now)
        happened = self.move(task_id, Event.STOP, None, ended_at=self.now, lease_until=None, phase="")
        assert stopped == (before if happened else None)

    @precondition(_anything_begun)
    @rule(aim=AIMS)
    def reroute(self, aim: Aim) -> None:
        task_id, attempt = self.meant(aim)
        task = self.model.get(task_id)
        moved = self.ask("reroute", task_id, attempt)
        if task is None or not task.job.fallbacks:
            assert moved is None
            return
        changes = {"worker": None, "lease_until": None, "phase": "", "progress": 0.0, "charged": task.charged - 1}
        elsewhere = replace(task.job, engine=task.job.fallbacks[0], fallbacks=task.job.fallbacks[1:])
        happened = self.move(task_id, Event.REROUTE, attempt, job=elsewhere, **changes)
        assert moved == (self.model[task_id] if happened else None)

    @rule(age=st.integers(0, 5_000))
    def forget_words(self, age: int) -> None:
        old = {key for key, (_, _, at) in self.said.items() if at <= self.now - age}
        assert self.ask("forget_onces", created_before=self.now - age, limit=9) == len(old)
        for key in old:
            del self.said[key]

    @rule(number=NUMBERS)
    def cancel(self, number: int) -> None:
        task_id = f"task-{number}"
        happened = self.ask("cancel", task_id, now=self.now)
        assert happened == self.move(task_id, Event.CANCEL, None, ended_at=self.now)

    @precondition(_anything_begun)
    @rule(aim=AIMS, progress=st.floats(0, 1))
    def renew(self, aim: Aim, progress: float) -> None:
        task_id, attempt = self.meant(aim)
        until = self.now + 30
        happened = self.ask("renew", task_id, attempt, until=until, phase="generate", progress=progress)
        changes = {"lease_until": until, "phase": "generate", "progress": progress}
        assert happened == self.move(task_id, Event.RENEW, attempt, **changes)

    @precondition(_anything_begun)
    @rule(aim=AIMS, outcome=OUTCOMES)
    def settle(self, aim: Aim, outcome: Any) -> None:
        task_id, attempt = self.meant(aim)
        answer = self.ask("settle", task_id, attempt, outcome, now=self.now)
        before = self.model.get(task_id)
        ends = {"ended_at": self.now, "lease_until": None, "phase": "", "outcome": outcome}
        if outcome is MADE:
            happened = self.move(task_id, Event.SUCCEED, attempt, progress=1.0, **ends)
            self.seconds += 5 * happened
        else:
            happened = self.move(task_id, Event.FAIL, attempt, **ends)
        if happened:
            assert answer is Settled.RECORDED
        elif before is not None and (before.attempt, before.outcome) == (attempt, outcome):
            assert answer is Settled.REPEATED
        else:
            assert answer is Settled.LOST

    @precondition(_anything_begun)
    @rule(aim=AIMS)
    def hand_back(self, aim: Aim) -> None:
        task_id, attempt = self.meant(aim)
        happened = self.ask("hand_back", task_id, attempt)
        charged = self.model[task_id].charged - 1 if task_id in self.model else 0
        changes = {"worker": None, "lease_until": None, "phase": "", "progress": 0.0, "charged": charged}
        assert happened == self.move(task_id, Event.HAND_BACK, attempt, **changes)

    @precondition(_anything_begun)
    @rule(aim=AIMS, cap=st.integers(1, 3))
    def lose(self, aim: Aim, cap: int) -> None:
        task_id, attempt = self.meant(aim)
        state: State | None = self.ask("lose", task_id, attempt, now=self.now, cap=cap, exhausted=EXHAUSTED)
        if task_id in self.model and self.model[task_id].charged >= cap:
            ends = {"ended_at": self.now, "lease_until": None, "phase": "", "outcome": EXHAUSTED}
            happened = self.move(task_id, Event.EXHAUST, attempt, **ends)
        else:
            changes = {"worker": None, "lease_until": None, "phase": "", "progress": 0.0}
            happened = self.move(task_id, Event.LOSE, attempt, **changes)
        assert state == (self.model[task_id].state if happened else None)

    @precondition(_anything_begun)
    @rule(aim=AIMS)
    def time_out(self, aim: Aim) -> None:
        task_id, attempt = self.meant(aim)
        happened = self.ask("time_out", task_id, attempt, LATE, now=self.now)
        ends = {"ended_at": self.now, "lease_until": None, "phase": "", "outcome": LATE}
        assert happened == self.move(task_id, Event.TIME_OUT, attempt, **ends)

    @rule(age=st.integers(0, 5_000), limit=st.integers(1, 3))
    def forget(self, age: int, limit: int) -> None:
        limits = {"ended_before": self.now - age, "limit": limit}
        gone = [{task.id for task in self.run(store.forget(**limits))} for store in self.stores]
        ended = [(task.ended_at, task.id) for task in self.model.values() if task.ended_at is not None]
        due = [task_id for at, task_id in sorted(ended, key=itemgetter(0)) if at <= self.now - age]
        assert gone[0] == gone[1] == set(due[:limit])
        for task_id in due[:limit]:
            del self.model[task_id]

    @rule(
        account=st.sampled_from(ACCOUNTS),
        status=st.sampled_from([None, "PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED"]),
        age=st.integers(0, 9),
    )
    def find(self, account: str, status: str | None, age: int) -> None:
        query = TaskQuery(account=account, status=status, forgotten_before=self.now - age, page_size=100)
        page = self.ask("find", query)
        assert {task.id for task in page.tasks} == {
            task.id
            for task in self.model.values()
            if task.account == account
            and status in (None, task.state.shown)
            and (task.ended_at is None or task.ended_at > self.now - age)
        }

    @rule()
    def open_again(self) -> None:
        self.run(self.sqlite.close())
        self.sqlite = self.run(SqliteStore.open(self.path))
        self.stores = (self.stores[0], self.sqlite)

    @invariant()
    def every_task_reads_as_the_model_has_it(self) -> None:
        for number in range(8):
            assert self.ask("get", f"task-{number}") == self.model.get(f"task-{number}")

    @invariant()
    def counts_agree(self) -> None:
        counts = self.ask("counts")
        assert sum(counts.values()) == len(self.model)

    @invariant()
    def lines_agree_with_the_tasks(self) -> None:
        unfinished = [task for task in self.model.values() if not task.state.final]
        expected = {
            line: Line(
                account=line[0],
                model=line[1],
                engine=line[2],
                waiting=sum(_line(task) == line and task.state.waiting for task in unfinished),
                running=sum(_line(task) == line and task.state is State.RUNNING for task in unfinished),
            )
            for line in {_line(task) for task in unfinished}
        }
        assert self.ask("lines") == tuple(expected[line] for line in sorted(expected))

    @invariant()
    def what_has_not_ended_comes_to_so_much(self) -> None:
        for account in ACCOUNTS:
            unfinished = sum(task.account == account and not task.state.final for task in self.model.values())
            assert sum(footage.seconds for footage in self.ask("promised", account)) == SECONDS * unfinished

    @invariant()
    def places_agree(self) -> None:
        for task in self.model.values():
            assert (self.ask("place", task.id) is None) == (not task.state.waiting)

    @invariant()
    def what_was_made_is_booked(self) -> None:
        assert sum(line.seconds for line in self.ask("usage", UsageQuery())) == self.seconds


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)

"""What each event makes of one task: pure, so that every store moves tasks alike.

A store fetches the row, asks here, and writes the answer back within one transaction. None means that the event
cannot happen: the state has no such way out, or the attempt that speaks holds the lease no longer.
"""

from dataclasses import replace
from typing import Any

from kf2v.tasks.lifecycle import Event, State, follow
from kf2v.tasks.task import Lease, Outcome, Task


def claim(task: Task, *, worker: str, now: int, until: int) -> Task | None:
    """Give a waiting task to ``worker``: the attempt is counted and charged before any work is done."""
    return _move(
        task,
        Event.CLAIM,
        scheduled_at=now if task.scheduled_at is None else task.scheduled_at,
        attempt=task.attempt + 1,
        charged=task.charged + 1,
        worker=worker,
        lease_until=until,
        phase="",
        progress=0.0,
    )


def lease_of(task: Task) -> Lease:
    """What the worker of a task just claimed gets to hold."""
    assert task.worker is not None
    assert task.lease_until is not None
    return Lease(
        task_id=task.id,
        attempt=task.attempt,
        worker=task.worker,
        until=task.lease_until,
        job=task.job,
        flaw=task.flaw,
    )


def renew(task: Task, attempt: int, *, until: int, phase: str, progress: float) -> Task | None:
    """Prolong the lease and note how far the work is."""
    if task.attempt != attempt:
        return None
    return _move(task, Event.RENEW, lease_until=until, phase=phase, progress=progress)


def settle(task: Task, attempt: int, outcome: Outcome, *, now: int) -> Task | None:
    """End with what the leaseholder reports."""
    if task.attempt != attempt:
        return None
    return _end(task, Event.FAIL if outcome.video is None else Event.SUCCEED, outcome, now)


def repeats(task: Task, attempt: int, outcome: Outcome) -> bool:
    """Whether ``attempt`` ended ``task`` with this very ``outcome`` already."""
    return task.state.final and task.attempt == attempt and task.outcome == outcome


def hand_back(task: Task, attempt: int) -> Task | None:
    """Queue again and take the charge back; the attempt stays counted, because it fences."""
    if task.attempt != attempt:
        return None
    return _queue_again(task, Event.HAND_BACK, charged=task.charged - 1)


def lose(task: Task, attempt: int, *, now: int, cap: int, exhausted: Outcome) -> Task | None:
    """Queue again after the leaseholder died, or end with ``exhausted`` when ``cap`` claims are charged."""
    if task.attempt != attempt:
        return None
    if task.charged >= cap:
        return _end(task, Event.EXHAUST, exhausted, now)
    return _queue_again(task, Event.LOSE)


def time_out(task: Task, attempt: int, outcome: Outcome, *, now: int) -> Task | None:
    """End what took too long."""
    if task.attempt != attempt:
        return None
    return _end(task, Event.TIME_OUT, outcome, now)


def cancel(task: Task, *, now: int) -> Task | None:
    """End on the client's word, without an outcome."""
    return _end(task, Event.CANCEL, None, now)


def stop(task: Task, *, now: int) -> Task | None:
    """End whatever has not ended, without an outcome."""
    return _end(task, Event.STOP, None, now)


def reroute(task: Task, attempt: int) -> Task | None:
    """Queue again, uncharged, for the first of the job's fallbacks; None as well where there is none."""
    if task.attempt != attempt or not task.job.fallbacks:
        return None
    engine, *others = task.job.fallbacks
    job = replace(task.job, engine=engine, fallbacks=tuple(others))
    return _queue_again(task, Event.REROUTE, charged=task.charged - 1, job=job)


def _end(task: Task, event: Event, outcome: Outcome | None, now: int) -> Task | None:
    done = outcome is not None and outcome.video is not None
    return _move(
        task,
        event,
        ended_at=now,
        lease_until=None,
        phase="",
        progress=1.0 if done else task.progress,
        outcome=outcome,
    )


def _queue_again(task: Task, event: Event, **changes: Any) -> Task | None:
    return _move(task, event, worker=None, lease_until=None, phase="", progress=0.0, **changes)


def _move(task: Task, event: Event, **changes: Any) -> Task | None:
    state: State | None = follow(task.state, event)
    return None if state is None else replace(task, state=state, **changes)

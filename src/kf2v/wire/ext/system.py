"""Engines, workers and the state of the house, as JSON."""

from collections.abc import Iterable
from dataclasses import dataclass

from kf2v.tasks import State, Task
from kf2v.wire.ext.tasks import percent
from kf2v.wire.v1 import times


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStanding:
    """Whether an engine can make a model here."""

    model: str
    #: why it cannot, and what would help; None where it can
    reason: str | None = None
    fix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStanding:
    """Whether an engine can work here, and for which models."""

    engine: str
    #: stands in for the others
    fallback: bool = False
    reason: str | None = None
    fix: str | None = None
    models: tuple[ModelStanding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """A worker at its place."""

    name: str
    seat: int | None
    #: when it was heard of first and last, milliseconds; None if not yet
    since: int | None
    heard: int | None
    #: what it is at
    task: Task | None
    #: whether it has not let go yet of a task that was canceled
    stopping: bool


def engine(standing: EngineStanding, breaker: str = "closed", *, why: bool = True) -> dict[str, object]:
    """``breaker``: ``closed`` while it works, ``open`` while it is left alone after failures, ``half-open`` while one
    task tries it. Without ``why`` reasons are left out.
    """
    models = [_ready({"model": model.model}, model.reason, model.fix, why=why) for model in standing.models]
    members: dict[str, object] = {"engine": standing.engine, "fallback": standing.fallback, "breaker": breaker}
    return _ready(members, standing.reason, standing.fix, why=why) | {"models": models}


def worker(hand: Hand) -> dict[str, object]:
    members: dict[str, object | None] = {
        "worker": hand.name,
        "seat": hand.seat,
        "state": _state(hand),
        "since": None if hand.since is None else times.render(hand.since),
        "last_heard": None if hand.heard is None else times.render(hand.heard),
        "task": None if hand.task is None else _work(hand.task),
    }
    return {name: value for name, value in members.items() if value is not None}


def _state(hand: Hand) -> str:
    if hand.since is None:
        return "starting"
    if hand.task is not None:
        return "working"
    return "stopping" if hand.stopping else "idle"


def counts(tasks: dict[State, int]) -> dict[str, int]:
    """By state as clients see it, with those of which there are none."""
    shown = dict.fromkeys((state.shown for state in State), 0)
    for state, count in tasks.items():
        shown[state.shown] += count
    return shown


def queues(lines: Iterable[tuple[str, str, str, int, int]]) -> list[dict[str, object]]:
    """What waits and runs, by account, model and engine."""
    return [
        {"account": account, "model": model, "engine": engine, "waiting": waiting, "running": running}
        for account, model, engine, waiting, running in lines
    ]


def _work(task: Task) -> dict[str, object]:
    work: dict[str, object] = {
        "task_id": task.id,
        "attempt": task.attempt,
        "model": task.job.model,
        "engine": task.job.engine,
        "phase": task.phase or "starting",
        "percent": percent(task),
    }
    if task.scheduled_at is not None:
        work["scheduled_time"] = times.render(task.scheduled_at)
    return work


def _ready(members: dict[str, object], reason: str | None, fix: str | None, *, why: bool) -> dict[str, object]:
    lacking = {name: text for name, text in (("reason", reason), ("fix", fix)) if why and text is not None}
    return members | {"ready": reason is None} | lacking

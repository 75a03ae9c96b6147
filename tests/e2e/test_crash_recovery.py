"""Crashes, seen from outside: processes die at random under load, and nobody may be able to tell from their tasks.

``KF2V_CRASH_ROUNDS`` makes it longer, ``KF2V_CRASH_SEED`` repeats a schedule (as far as a schedule repeats).
"""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest
from clientele import Clientele, download, ordered
from deployment import Deployment, Worker, deployed, needs_proc, until

pytestmark = needs_proc

ROUNDS = int(os.environ.get("KF2V_CRASH_ROUNDS", "1"))
SEED = int(os.environ.get("KF2V_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
#: of one round
ORDERS, BLOWS = 36, 10
#: seconds of silence after which a worker is given up; a frozen one costs that
LEASE = 3.0
#: seconds in which one round must be over, on a machine that has other things to do
BOUND = 150


class Nemesis:
    """Does harm at random, by a seed."""

    def __init__(self, deployment: Deployment, seed: int) -> None:
        self.done: Counter[str] = Counter()
        #: names of workers that were killed or frozen, each of which may have cost a task an attempt
        self.victims: set[str] = set()
        self._deployment = deployment
        self._random = random.Random(seed)

    def strike(self) -> None:
        """One blow; afterwards there is a server again."""
        blow = self._random.choice((self.worker, self.worker, self.freeze, self.server, self.both, self.twice))
        blow()
        self.done[blow.__name__] += 1

    def lurk(self) -> None:
        """Let things go well for a moment, then wait until somebody works, but not for ever."""
        time.sleep(self._random.uniform(0.0, 1.0))
        enough = time.monotonic() + 2.0
        while not self._busy() and time.monotonic() < enough:
            time.sleep(0.02)
        time.sleep(self._random.uniform(0.0, 0.3))

    def worker(self) -> None:
        self._send(signal.SIGKILL)

    def freeze(self) -> None:
        """Every other time, a busy one, and things go on until it is given up."""
        busy = self._busy()
        frozen = self._send(signal.SIGSTOP)
        if frozen in busy and self._random.random() < 0.5:
            until("a frozen worker is killed", lambda: frozen not in self._deployment.workers())

    def server(self) -> None:
        self._deployment.kill()
        self._deployment.start()

    def both(self) -> None:
        """A worker, and the server before it can notice."""
        os.kill(self._deployment.process.pid, signal.SIGSTOP)
        self._send(signal.SIGKILL)
        self._deployment.kill()
        self._deployment.start()

    def twice(self) -> None:
        """The server, and its successor while it starts."""
        self._deployment.kill()
        self._deployment.launch()
        time.sleep(self._random.uniform(0.0, 1.0))
        self._deployment.kill()
        self._deployment.start()

    def _busy(self) -> list[Worker]:
        """Workers with a task, as far as the log tells."""
        settled = {(event["task_id"], event["attempt"]) for event in events(self._deployment, "task settled")}
        claimed = events(self._deployment, "task claimed")
        names = {event["worker"] for event in claimed if (event["task_id"], event["attempt"]) not in settled}
        return [worker for worker in self._deployment.workers() if worker.name in names]

    def _send(self, number: signal.Signals) -> Worker | None:
        """To a worker that was not hurt yet, best to a busy one."""
        unhurt = [worker for worker in self._deployment.workers() if worker.name not in self.victims]
        workers = [worker for worker in self._busy() if worker in unhurt] or unhurt
        if not workers:
            return None
        chosen = self._random.choice(workers)
        self.victims.add(chosen.name)
        chosen.send(number)
        return chosen


@dataclass(frozen=True, kw_only=True)
class Row:
    """A task as it lies on the disk in the end."""

    state: str
    attempt: int
    charged: int
    #: key of the video; None if there is none
    video: str | None
    #: why it failed
    code: str | None


def rows(data_dir: Path) -> dict[str, Row]:
    """Every task of a stopped server. Fails if the file is damaged."""
    db = apsw.Connection(str(data_dir / "kf2v.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = db.execute("SELECT id, state, attempt, charged, outcome FROM task").fetchall()
    finally:
        db.close()
    return {task_id: _row(*columns) for task_id, *columns in found}


def _row(state: str, attempt: int, charged: int, outcome: str | bytes | None) -> Row:
    told: dict[str, Any] = json.loads(outcome) if outcome else {}
    video, failure = told.get("video") or {}, told.get("failure") or {}
    return Row(state=state, attempt=attempt, charged=charged, video=video.get("key"), code=failure.get("code"))


def events(deployment: Deployment, name: str) -> list[dict[str, Any]]:
    """What was logged under that name."""
    mark = f'"event": "{name}"'
    return [json.loads(line) for line in deployment.log if mark in line]


@pytest.mark.timeout(BOUND * ROUNDS + 60)
def test_whatever_dies_every_accepted_task_ends_once_and_nobody_sees_it_go_backwards(tmp_path: Path) -> None:
    print(f"KF2V_CRASH_SEED={SEED} KF2V_CRASH_ROUNDS={ROUNDS}")
    with deployed(tmp_path, workers=2, lease_seconds=str(LEASE), drain_seconds="5") as deployment:
        service = deployment.start()
        nemesis = Nemesis(deployment, SEED)
        clients = Clientele(service, orders=ORDERS * ROUNDS, makers=3, watchers=2, pause=0.3)
        began = time.monotonic()
        clients.begin()
        try:
            while nemesis.done.total() < BLOWS * ROUNDS or not clients.has_ordered_all:
                nemesis.lurk()
                nemesis.strike()
            until("all tasks were seen to end", lambda: clients.has_seen_all_end, within=BOUND * ROUNDS)
        finally:
            clients.stop()
        took = time.monotonic() - began
        videos = {url: download(service, url) for url in links(clients)}
        assert deployment.end() == 0
        assert deployment.none_left(), "a process outlived its server"
        kept = rows(deployment.data_dir)
        report(deployment, nemesis, clients, kept, took)
        assert not clients.violations
        assert not deployment.complaints()
        examine(deployment, nemesis, clients, kept)
        assert len({video.digest for video in videos.values()}) == 1, "the same order gives the same video"
        assert len(videos) == sum(kept[task_id].state == "SUCCEEDED" for task_id in clients.accepted)


def links(clients: Clientele) -> set[str]:
    """Of all videos that anybody was shown."""
    sightings = (sighting for task_id in clients.accepted for sighting in clients.sightings(task_id))
    return {url for sighting in sightings for _, url, _ in sighting.ends if url}


def examine(deployment: Deployment, nemesis: Nemesis, clients: Clientele, kept: dict[str, Row]) -> None:
    """Hold what clients saw against what is on the disk."""
    assert len(set(clients.accepted)) == len(clients.accepted)
    assert set(clients.accepted) <= set(kept), "a promised task is lost"
    assert len(kept) <= len(clients.accepted) + clients.unanswered, "a task that nobody ordered"
    settled = Counter(
        event["task_id"] for event in events(deployment, "task settled") if event["settled"] == "recorded"
    )
    assert set(settled.values()) <= {1}, "a task ended twice"
    for task_id in clients.accepted:
        row = kept[task_id]
        for sighting in clients.sightings(task_id):
            assert sighting.goes_forward, (task_id, sighting)
            assert len(sighting.ends) == 1, (task_id, sighting)
        assert len({end for sighting in clients.sightings(task_id) for end in sighting.ends}) == 1
        assert row.state == clients.sightings(task_id)[0].statuses[-1]
        if row.state != "SUCCEEDED":
            assert (row.state, row.code, row.charged) == ("FAILED", "InternalError.Algo", 3)
            assert harmed(deployment, nemesis, task_id) >= 3, "it failed without three of its workers being hurt"
    keys = [row.video for row in kept.values() if row.video is not None]
    assert len(set(keys)) == len(keys), "two tasks with one file"
    assert all((deployment.data_dir / "blobs" / key).is_file() for key in keys)
    assert all(row.state in ("SUCCEEDED", "FAILED") for row in kept.values()), "what nobody was told of ends as well"


def harmed(deployment: Deployment, nemesis: Nemesis, task_id: str) -> int:
    """How many of the workers that had that task were hurt by ``nemesis``."""
    workers = {event["worker"] for event in events(deployment, "task claimed") if event["task_id"] == task_id}
    return len(workers & nemesis.victims)


def report(deployment: Deployment, nemesis: Nemesis, clients: Clientele, kept: dict[str, Row], took: float) -> None:
    """The figures, for whoever runs this by hand (``pytest -s``)."""
    claimed = Counter(event["task_id"] for event in events(deployment, "task claimed"))
    files = sum(1 for _ in (deployment.data_dir / "blobs" / "videos").rglob("*.mp4"))
    print(
        f"seconds={took:.0f} accepted={len(clients.accepted)} unanswered={clients.unanswered} rows={len(kept)} "
        f"states={dict(Counter(row.state for row in kept.values()))} blows={dict(nemesis.done)} "
        f"polls={clients.polls} claims={claimed.total()} again={sum(count > 1 for count in claimed.values())} "
        f"most_attempts={max(row.attempt for row in kept.values())} "
        f"lost={dict(Counter(event['why'] for event in events(deployment, 'lease lost')))} "
        f"orphan_files={files - sum(row.video is not None for row in kept.values())}"
    )


@pytest.fixture
def theatre(tmp_path: Path) -> Iterator[Deployment]:
    """Plays what the prompt says, see ``sabotage``; seconds are short here."""
    with deployed(tmp_path, workers=1, lease_seconds="3", cancel_grace_seconds="3") as made:
        made.sabotage()
        yield made
        assert not made.complaints()


def test_a_task_that_crashes_its_workers_fails_after_three_and_the_others_go_on(theatre: Deployment) -> None:
    service = theatre.start()
    poison, other = ordered(service, "crash"), ordered(service)
    output = service.finish(poison)["output"]
    assert (output["task_status"], output["code"]) == ("FAILED", "InternalError.Algo")
    assert service.finish(other)["output"]["task_status"] == "SUCCEEDED"
    assert theatre.end() == 0
    kept = rows(theatre.data_dir)
    assert (kept[poison].attempt, kept[poison].charged, kept[other].attempt) == (3, 3, 1)
    assert not list((theatre.data_dir / "blobs").rglob("*.mp4"))[1:], "there is one video"


def test_a_stuck_task_times_out_and_its_worker_is_replaced(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=1, task_timeout="5", lease_seconds="3") as theatre:
        theatre.sabotage()
        service = theatre.start()
        stuck = ordered(service, "hang")
        until("it runs", lambda: service.task(stuck)["output"]["task_status"] == "RUNNING")
        other = ordered(service)
        (worker,) = theatre.workers()
        output = service.finish(stuck)["output"]
        assert (output["task_status"], output["code"]) == ("FAILED", "InternalError.Timeout")
        assert service.finish(other)["output"]["task_status"] == "SUCCEEDED"
        (successor,) = theatre.workers()
        assert successor != worker
        assert theatre.end() == 0
        assert rows(theatre.data_dir)[stuck].attempt == 1, "heartbeats kept its lease"
        assert not theatre.complaints()


def test_who_follows_a_worker_that_does_not_let_go_was_there_before_it_went(theatre: Deployment) -> None:
    service = theatre.start()
    stuck, following = ordered(service, "hang"), ordered(service)
    until("it runs", lambda: service.task(stuck)["output"]["task_status"] == "RUNNING")
    (worker,) = theatre.workers()
    assert service.request("POST", f"/kf2v/v1/tasks/{stuck}/cancel").status == 200
    until("another is there", lambda: len(theatre.workers()) == 2)
    (understudy,) = (other for other in theatre.workers() if other != worker)
    assert service.finish(following)["output"]["task_status"] == "SUCCEEDED"
    assert theatre.workers() == [understudy], "it waits until the seat is empty"
    assert service.task(stuck)["output"]["task_status"] == "CANCELED"
    assert theatre.end() == 0


def test_nobody_follows_a_worker_that_lets_go_in_time(theatre: Deployment, tmp_path: Path) -> None:
    service = theatre.start()
    stopped, followed = (ordered(service, f"wait {tmp_path / name}") for name in ("first", "second"))
    until("it runs", lambda: service.task(stopped)["output"]["task_status"] == "RUNNING")
    (worker,) = theatre.workers()
    assert service.request("POST", f"/kf2v/v1/tasks/{stopped}/cancel").status == 200
    until("the next runs", lambda: service.task(followed)["output"]["task_status"] == "RUNNING")
    until("it is alone", lambda: theatre.workers() == [worker])
    (tmp_path / "second").touch()
    assert service.finish(followed)["output"]["task_status"] == "SUCCEEDED"
    assert theatre.end() == 0


def test_a_frozen_worker_cannot_end_its_task_when_it_thaws(theatre: Deployment, tmp_path: Path) -> None:
    service = theatre.start()
    task_id = ordered(service, f"wait {tmp_path / 'curtain'}")
    until("it runs", lambda: service.task(task_id)["output"]["task_status"] == "RUNNING")
    (frozen,) = theatre.workers()
    assert frozen.send(signal.SIGSTOP)
    theatre.kill()
    service = theatre.start()
    frozen.send(signal.SIGCONT)
    (tmp_path / "curtain").touch()
    assert service.finish(task_id)["output"]["task_status"] == "SUCCEEDED"
    assert theatre.end() == 0
    assert theatre.none_left()
    kept = rows(theatre.data_dir)[task_id]
    assert (kept.attempt, kept.charged) == (2, 1), "the server's death is not the task's fault"


def test_a_worker_frozen_while_it_waits_for_work_is_replaced(theatre: Deployment) -> None:
    service = theatre.start()
    assert service.finish(ordered(service))["output"]["task_status"] == "SUCCEEDED"
    (frozen,) = theatre.workers()
    assert frozen.send(signal.SIGSTOP)
    until("somebody else sits there", lambda: theatre.workers() and frozen not in theatre.workers())
    assert service.finish(ordered(service))["output"]["task_status"] == "SUCCEEDED"

"""Clients that never give up: they order, watch every task to its end and beyond, and remember what they saw."""

import base64
import hashlib
import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from gallery import COLD, WARM, picture
from service import FINAL, Service

#: what comes before what
RANKS = {"PENDING": 0, "RUNNING": 1, "SUCCEEDED": 2, "FAILED": 2, "CANCELED": 2}


def _inline(colour: tuple[int, int, int]) -> str:
    return "data:image/png;base64," + base64.b64encode(picture(colour, width=360, height=360)).decode()


def order(prompt: str = "a ball rolls") -> dict[str, Any]:
    """The smallest task there is; always the same, so the same video."""
    return {
        "model": "wan2.2-kf2v-flash",
        "input": {"prompt": prompt, "first_frame_url": _inline(WARM), "last_frame_url": _inline(COLD)},
        "parameters": {"resolution": "480P", "seed": 7, "prompt_extend": False},
    }


def ordered(service: Service, prompt: str = "a ball rolls") -> str:
    """The id of a task just accepted."""
    reply = service.create(order(prompt))
    assert reply.status == 200, reply.body
    return reply.json["output"]["task_id"]


@dataclass
class Sighting:
    """What was seen of one task, in order, without repetitions."""

    statuses: list[str] = field(default_factory=list)
    #: status, link and code, each time it was seen to have ended
    ends: set[tuple[str, str, str]] = field(default_factory=set)

    @property
    def ended(self) -> bool:
        return bool(self.statuses) and self.statuses[-1] in FINAL

    @property
    def goes_forward(self) -> bool:
        """Whether it never went backwards, nor from one end to another."""
        ranks = [RANKS.get(status, -1) for status in self.statuses]
        return -1 not in ranks and all(before < after for before, after in pairwise(ranks))


class Watcher:
    """One client that polls all tasks, one after the other, for ever."""

    def __init__(self, service: Service, tasks: Sequence[str], stopping: threading.Event) -> None:
        """``tasks`` may grow."""
        self.seen: dict[str, Sighting] = {}
        #: answers that no client should ever get
        self.violations: list[str] = []
        self.polls = 0
        self._service = service
        self._tasks = tasks
        self._stopping = stopping

    def watch(self) -> None:
        while not self._stopping.wait(0.2):
            for task_id in list(self._tasks):
                if not self._stopping.is_set():
                    self._look_at(task_id)

    def has_seen_all_end(self) -> bool:
        return all(self.seen.get(task_id, Sighting()).ended for task_id in list(self._tasks))

    def _look_at(self, task_id: str) -> None:
        try:
            reply = self._service.get(f"/api/v1/tasks/{task_id}")
        except (OSError, http.client.HTTPException):
            self._stopping.wait(0.05)
            return
        self.polls += 1
        if reply.status != 200:
            self.violations.append(f"poll: {reply.status} {reply.body!r}")
            return
        output, sighting = reply.json["output"], self.seen.setdefault(task_id, Sighting())
        if sighting.statuses[-1:] != [output["task_status"]]:
            sighting.statuses.append(output["task_status"])
        if sighting.ended:
            sighting.ends.add((output["task_status"], output.get("video_url", ""), output.get("code", "")))


class Clientele:
    """``makers`` clients that order ``orders`` tasks in all and ``watchers`` that poll them, until told to stop."""

    def __init__(self, service: Service, *, orders: int, makers: int, watchers: int, pause: float) -> None:
        #: ``pause`` is what a maker waits between two orders, in seconds
        #: ids of tasks whose creation was answered
        self.accepted: list[str] = []
        #: creates whose connection broke or was never made: nobody can say whether they took effect
        self.unanswered = 0
        self._refused: list[str] = []
        self._service = service
        self._left = orders
        self._pause = pause
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self.watchers = [Watcher(service, self.accepted, self._stopping) for _ in range(watchers)]
        self._makers = [threading.Thread(target=self._make, daemon=True) for _ in range(makers)]
        self._threads = [threading.Thread(target=watcher.watch, daemon=True) for watcher in self.watchers]

    def begin(self) -> None:
        for thread in self._makers + self._threads:
            thread.start()

    @property
    def has_ordered_all(self) -> bool:
        return not any(maker.is_alive() for maker in self._makers)

    @property
    def has_seen_all_end(self) -> bool:
        return self.has_ordered_all and all(watcher.has_seen_all_end() for watcher in self.watchers)

    @property
    def violations(self) -> list[str]:
        """Answers that no client should ever get."""
        return self._refused + [violation for watcher in self.watchers for violation in watcher.violations]

    @property
    def polls(self) -> int:
        return sum(watcher.polls for watcher in self.watchers)

    def sightings(self, task_id: str) -> list[Sighting]:
        """What each watcher saw of that task."""
        return [watcher.seen.get(task_id, Sighting()) for watcher in self.watchers]

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._makers + self._threads:
            thread.join()

    def _make(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                self._left -= 1
                if self._left < 0:
                    return
            self._order_one()
            self._stopping.wait(self._pause)

    def _order_one(self) -> None:
        while not self._stopping.is_set():
            try:
                reply = self._service.create(order())
            except (OSError, http.client.HTTPException):
                with self._lock:
                    self.unanswered += 1
                self._stopping.wait(0.1)
                continue
            if reply.status == 200:
                self.accepted.append(reply.json["output"]["task_id"])
            else:
                self._refused.append(f"create: {reply.status} {reply.body!r}")
            return


@dataclass(frozen=True, kw_only=True)
class Download:
    """A finished video."""

    digest: str
    size: int


def download(service: Service, url: str) -> Download:
    """Fetch the video at ``url`` whole; fails unless it is one and its ETag is its digest."""
    reply = service.request("GET", url, key=None)
    assert reply.status == 200, reply.body
    assert reply.body[4:8] == b"ftyp"
    digest = hashlib.sha256(reply.body).hexdigest()
    assert reply.headers["etag"] == f'"{digest}"'
    return Download(digest=digest, size=len(reply.body))


def patiently(service: Service, task_id: str, within: float) -> Any:
    """The task once it has ended, however often the server goes away meanwhile."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            task = service.task(task_id)
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
            continue
        if task["output"]["task_status"] in FINAL:
            return task
        time.sleep(0.05)
    raise AssertionError(f"not ended within {within:g} s: {task_id}")

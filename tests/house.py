"""The whole HTTP surface in this process, over rows and bytes in memory and a clock that tests move."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from PIL import Image

from kf2v.assembly.doors import app_of
from kf2v.assembly.front import Front, build_front
from kf2v.blobs.memory import MemoryBlobs
from kf2v.clock import ManualClock
from kf2v.server.app import App
from kf2v.settings import Settings
from kf2v.store.memory import MemoryStore
from kf2v.tasks import Failure, Outcome, Usage, Video

CREATE = "/api/v1/services/aigc/image2video/video-synthesis"
T = TypeVar("T")


@dataclass
class House:
    """A service without a socket and without workers; the test is the worker."""

    front: Front
    app: App
    store: MemoryStore
    blobs: MemoryBlobs
    clock: ManualClock
    client: httpx2.AsyncClient
    key: str
    other_key: str
    runner: asyncio.Runner
    claims: int = 0

    def run(self, work: Awaitable[T]) -> T:
        async def waiting() -> T:
            return await work

        return self.runner.run(waiting())

    def call(self, method: str, path: str, *, key: str | None = "mine", **request: Any) -> httpx2.Response:
        headers: dict[str, Any] = dict(request.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {self.key if key == 'mine' else key}".encode("latin-1")
        return self.run(self.client.request(method, path, headers=headers, **request))

    def create(self, body: Any = None, *, path: str = CREATE, **request: Any) -> httpx2.Response:
        headers = {"X-DashScope-Async": "enable", **request.pop("headers", {})}
        if "content" not in request:
            request["json"] = submission() if body is None else body
        return self.call("POST", path, headers=headers, **request)

    def created(self, body: Any = None, **request: Any) -> str:
        answer = self.create(body, **request)
        assert answer.status_code == 200, answer.text
        return answer.json()["output"]["task_id"]

    def query(self, task_id: str, **request: Any) -> dict[str, Any]:
        answer = self.call("GET", f"/api/v1/tasks/{task_id}", **request)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def start(self, task_id: str) -> int:
        """Claim, each time as another worker, until it is this task's turn; returns the attempt."""
        while True:
            self.claims += 1
            worker = f"worker-{self.claims}"
            lease = self.run(self.front.desk.claim(worker, engines=frozenset({"still"})))
            assert lease is not None
            if lease.task_id == task_id:
                return lease.attempt

    def lose_worker(self) -> None:
        """The worker that claimed last dies."""
        self.run(self.front.desk.worker_died(f"worker-{self.claims}"))

    def finish(self, task_id: str, *, actual_prompt: str | None = None, data: bytes = b"not really a film") -> None:
        attempt = self.start(task_id)
        key = f"videos/{task_id}/{attempt}-x.mp4"
        self.blobs.put(key, data)
        usage = Usage(video_duration=5, video_count=1, sr=720)
        video = Video(key=key, digest="d" * 64, size=len(data), width=1280, height=720)
        self.run(
            self.front.desk.settle(task_id, attempt, Outcome(video=video, actual_prompt=actual_prompt, usage=usage))
        )

    def fail(self, task_id: str, code: str = "InvalidURL", message: str = "no such picture") -> None:
        attempt = self.start(task_id)
        self.run(self.front.desk.settle(task_id, attempt, Outcome(failure=Failure(code=code, message=message))))


def submission(**changes: Any) -> dict[str, Any]:
    """A create body that is right, with members changed: ``input__prompt=…``, ``parameters__seed=…``; ``...`` drops."""
    body: dict[str, Any] = {
        "model": "wan2.2-kf2v-flash",
        "input": {
            "first_frame_url": "https://example.com/first.png",
            "last_frame_url": "https://example.com/last.png",
            "prompt": "the camera rises",
        },
        "parameters": {"resolution": "480P", "prompt_extend": True},
    }
    for path, value in changes.items():
        place = body
        *parents, name = path.split("__")
        for parent in parents:
            place = place[parent]
        if value is ...:
            del place[name]
        else:
            place[name] = value
    return body


def picture(*, size: tuple[int, int] = (400, 400), kind: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, (90, 120, 30)).save(data, kind)
    return data.getvalue()


def served_paths(home: Path) -> dict[str, set[str]]:
    """Every path of a server, and the methods it takes there."""
    with asyncio.Runner() as runner:
        house = runner.run(build(runner, Settings(data_dir=home, engine="still", workers=0)))
        table: Any = house.app
        runner.run(house.client.aclose())
    served = {path: set(methods) for path, methods in table._routes._fixed.items()}
    return served | {path: set(methods) for path, (_, methods) in table._routes._open.items()}


Open = Callable[..., House]


async def build(runner: asyncio.Runner, settings: Settings) -> House:
    store, blobs, clock = MemoryStore(), MemoryBlobs(), ManualClock()
    front = build_front(settings, store=store, blobs=blobs, clock=clock, secret=b"s" * 32, workers_alive=lambda: 0)
    app = app_of(front)
    _, key = await front.keys.create("mine")
    _, other_key = await front.keys.create("theirs")
    transport = httpx2.ASGITransport(app=app)
    client = httpx2.AsyncClient(transport=transport, base_url="http://kf2v.test")
    return House(front, app, store, blobs, clock, client, key, other_key, runner)

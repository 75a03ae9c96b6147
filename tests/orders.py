"""Tasks, outcomes, keys and other rows to keep somewhere."""

from typing import Any

from kf2v.store import Key, Upload, Workspace
from kf2v.tasks import Failure, FrameSource, Job, Outcome, State, Task, Usage, Video
from kf2v.tasks.news import Webhook

NOW = 1_760_000_000_000


def job(**changes: Any) -> Job:
    values = {
        "model": "wan2.2-kf2v-flash",
        "engine": "still",
        "first": FrameSource(kind="url", place="https://example.com/first.png"),
        "last": FrameSource(kind="blob", place="frames/last"),
        "prompt": "一只黑猫好奇地看着天空 🐈‍⬛\x00\u2028",
        "negative_prompt": "",
        "resolution": "720P",
        "area": 1280 * 720,
        "seed": 2_147_483_647,
        "prompt_extend": True,
        "watermark": False,
    }
    return Job(**(values | changes))


def order(number: int = 0, *, engine: str = "still", model: str = "wan2.2-kf2v-flash", **changes: Any) -> Task:
    """The ``number``-th task, submitted that many milliseconds after NOW."""
    values = {
        "id": f"task-{number}",
        "account": "mine",
        "key_id": "key-1",
        "request_id": f"request-{number}",
        "region": "ap-southeast-1",
        "job": job(engine=engine, model=model),
        "submitted_at": NOW + number,
    }
    return Task(**(values | changes))


def running(number: int = 0, **changes: Any) -> Task:
    """A task in its first attempt."""
    held = {"attempt": 1, "charged": 1, "worker": "w", "scheduled_at": NOW, "lease_until": NOW + 30_000}
    return order(number, **{"state": State.RUNNING, **held, **changes})


def ended(number: int = 0, *, at: int, **changes: Any) -> Task:
    """A task that failed at ``at``."""
    return order(number, **{"state": State.FAILED, "ended_at": at, "outcome": FAILED, **changes})


MADE = Outcome(
    video=Video(key="videos/a.mp4", digest="ab" * 32, size=1_234_567, width=1280, height=720),
    actual_prompt="a black cat looks up",
    usage=Usage(video_duration=5, video_count=1, sr=720),
)
FAILED = Outcome(failure=Failure(code="InvalidURL", message="no such picture"))
EXHAUSTED = Outcome(failure=Failure(code="InternalError.Algo", message="crashed too often"))
LATE = Outcome(failure=Failure(code="InternalError.Timeout", message="took too long"))


def key(number: int = 0, **changes: Any) -> Key:
    values = {
        "id": f"key-{number}",
        "account": "mine",
        "digest": f"{number:064x}",
        "hint": "abcd",
        "created_at": NOW + number,
    }
    return Key(**(values | changes))


def upload(number: int = 0, **changes: Any) -> Upload:
    values = {
        "key": f"dashscope-instant/{number}/图片 一.png",
        "blob": f"uploads/{number}",
        "account": "mine",
        "model": "wan2.2-kf2v-flash",
        "size": 10_485_760,
        "created_at": NOW + number,
    }
    return Upload(**(values | changes))


def workspace(number: int = 0, **changes: Any) -> Workspace:
    values = {
        "id": f"ws-{number}",
        "account": "mine",
        "label": "片场",
        "models": ("a", "b"),
        "created_at": NOW + number,
    }
    return Workspace(**({"created_at": NOW + number} | values | changes))


def webhook(number: int = 0, **changes: Any) -> Webhook:
    values = {
        "id": f"hook-{number}",
        "account": "mine",
        "url": f"https://example.com/hooks/{number}",
        "secret": "whsec_c2VjcmV0",
        "created_at": NOW + number,
    }
    return Webhook(**(values | changes))

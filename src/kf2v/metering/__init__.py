"""What a successful task is counted as, and what is booked for it."""

from dataclasses import dataclass

from kf2v.catalog.models import MODELS, SECONDS
from kf2v.tasks import Job, State, Task, Usage
from kf2v.wire.v1.times import day_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One video that was made: booked once, in the transaction that ends its task, and kept when that is forgotten."""

    task_id: str
    account: str
    key_id: str
    workspace: str | None
    #: as the list API names it
    region: str
    model: str
    engine: str
    #: ``480P``, ``720P`` or ``1080P``
    resolution: str
    videos: int
    #: of video, over all ``videos``
    seconds: int
    #: milliseconds since the epoch
    booked_at: int
    #: milliseconds from its first start to its end
    ran: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """Which charges to add up. None: all of them."""

    account: str | None = None
    key_id: str | None = None
    workspace: str | None = None
    model: str | None = None
    #: booked at or after, milliseconds
    since: int | None = None
    #: booked before, milliseconds
    until: int | None = None

    def covers(self, charge: Charge) -> bool:
        return (
            self.account in (None, charge.account)
            and self.key_id in (None, charge.key_id)
            and self.workspace in (None, charge.workspace)
            and self.model in (None, charge.model)
            and (self.since is None or charge.booked_at >= self.since)
            and (self.until is None or charge.booked_at < self.until)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageLine:
    """The charges of one day that agree in everything named here, added up."""

    #: ``2026-11-21``, in UTC+8 as all days and times of this API
    day: str
    account: str
    key_id: str
    workspace: str | None
    region: str
    model: str
    engine: str
    resolution: str
    videos: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """So much video that has one price."""

    #: as the list API names it
    region: str
    model: str
    resolution: str
    seconds: int


def footage_of(task: Task) -> Footage:
    """What ``task`` comes to if it is made."""
    return Footage(region=task.region, model=task.job.model, resolution=task.job.resolution, seconds=SECONDS)


def usage_of(job: Job) -> Usage:
    """The ``usage`` of a video made for ``job``: by ``SR`` or by ``video_ratio``, as its model is counted."""
    by_resolution = MODELS[job.model].counted_by == "SR"
    return Usage(
        video_duration=SECONDS,
        video_count=1,
        sr=int(job.resolution.removesuffix("P")) if by_resolution else None,
        video_ratio=None if by_resolution else "standard",
    )


def charge_of(task: Task) -> Charge | None:
    """What is booked for ``task``, which has ended; None for one that costs nothing, as all but successes do."""
    if task.state is not State.SUCCEEDED or task.outcome is None or task.outcome.usage is None:
        return None
    assert task.ended_at is not None
    assert task.scheduled_at is not None
    usage = task.outcome.usage
    return Charge(
        task_id=task.id,
        account=task.account,
        key_id=task.key_id,
        workspace=task.workspace,
        region=task.region,
        model=task.job.model,
        engine=task.job.engine,
        resolution=task.job.resolution,
        videos=usage.video_count,
        seconds=usage.video_count * usage.video_duration,
        booked_at=task.ended_at,
        ran=task.ended_at - task.scheduled_at,
    )


def line_of(charge: Charge) -> UsageLine:
    """``charge`` alone, as a line that others can be added to."""
    return UsageLine(
        day=day_of(charge.booked_at),
        account=charge.account,
        key_id=charge.key_id,
        workspace=charge.workspace,
        region=charge.region,
        model=charge.model,
        engine=charge.engine,
        resolution=charge.resolution,
        videos=charge.videos,
        seconds=charge.seconds,
    )

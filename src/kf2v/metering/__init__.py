"""What a successful task is counted as."""

from kf2v.catalog.models import MODELS, SECONDS
from kf2v.tasks import Job, Usage


def usage_of(job: Job) -> Usage:
    """The ``usage`` of a video made for ``job``: by ``SR`` or by ``video_ratio``, as its model is counted."""
    by_resolution = MODELS[job.model].counted_by == "SR"
    return Usage(
        video_duration=SECONDS,
        video_count=1,
        sr=int(job.resolution.removesuffix("P")) if by_resolution else None,
        video_ratio=None if by_resolution else "standard",
    )

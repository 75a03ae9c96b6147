"""What moderators are told of that which they look at."""

from kf2v.moderation import Exhibit, Part
from kf2v.tasks import Lease


def exhibit(lease: Lease, part: Part, number: int | None = None) -> Exhibit:
    """``part`` of the task of ``lease``; ``number`` is a frame's."""
    side = "output" if part in ("frame", "preview") else "input"
    return Exhibit(side=side, part=part, task_id=lease.task_id, model=lease.job.model, number=number)

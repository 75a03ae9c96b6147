"""The promise: what was ordered, what state it is in, and when it is forgotten.

Knows no HTTP, no SQL and no pixels.
"""

from kf2v.tasks.job import FrameSource, Job
from kf2v.tasks.lifecycle import Event, State
from kf2v.tasks.query import Page, TaskQuery
from kf2v.tasks.task import Failure, Lease, Outcome, Task, Usage, Video

__all__ = [
    "Event",
    "Failure",
    "FrameSource",
    "Job",
    "Lease",
    "Outcome",
    "Page",
    "State",
    "Task",
    "TaskQuery",
    "Usage",
    "Video",
]

"""From a submission to what is generated: its wishes, and the defaults where it has none."""

import secrets

from kf2v.catalog.models import AREAS, Model
from kf2v.tasks import FrameSource, Job
from kf2v.tasks.job import Side
from kf2v.wire import Submission
from kf2v.wire.v1.create import SEED_LIMIT


def job_of(
    submission: Submission,
    model: Model,
    *,
    route: tuple[str, tuple[str, ...]],
    first: FrameSource,
    last: FrameSource,
    inspect: tuple[Side, ...] = (),
) -> Job:
    """The job of a submission that passed ``rules.check`` for ``model``.

    ``route`` is the engine that tries first, and those that try after it in their order.
    """
    engine, fallbacks = route
    resolution = submission.resolution or model.default_resolution
    return Job(
        model=model.name,
        engine=engine,
        fallbacks=fallbacks,
        first=first,
        last=last,
        prompt=submission.prompt,
        negative_prompt=submission.negative_prompt,
        resolution=resolution,
        area=AREAS[resolution],
        seed=secrets.randbelow(SEED_LIMIT + 1) if submission.seed is None else submission.seed,
        prompt_extend=submission.prompt_extend,
        watermark=submission.watermark,
        inspect=inspect,
    )

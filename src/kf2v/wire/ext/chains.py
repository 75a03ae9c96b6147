"""A chain: several videos, each beginning with the frame that the one before ends with.

Its body is that of a create call, but ``input`` has ``frames`` for the two, and may have ``prompts``, one a step.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import cast

from kf2v.errors import InvalidParameter
from kf2v.wire import Submission
from kf2v.wire.v1 import create
from kf2v.wire.v1.fields import misfit, missing
from kf2v.wire.v1.media import check_reference

#: how many frames a chain has: three make two videos
LEAST, MOST = 3, 25


def parse(body: bytes) -> tuple[Submission, ...]:
    """The steps of a chain, in order; none has a flaw. Raises BodyInvalid and InvalidParameter."""
    members = create.object_of(body)
    given = members.get("input")
    if not isinstance(given, dict):
        raise missing("input", f"an object with {LEAST} to {MOST} frames")
    said = cast("Mapping[str, object]", given)
    frames = _texts("frames", said.get("frames"), LEAST, MOST)
    for number, frame in enumerate(frames):
        if flaw := check_reference(field_of(number), frame):
            raise flaw
    steps = len(frames) - 1
    prompts = [said.get("prompt")] * steps
    if said.get("prompts") is not None:
        if said.get("prompt") is not None:
            raise InvalidParameter("Input should be one of both, but got both: input.prompt, input.prompts.")
        prompts = _texts("prompts", said["prompts"], steps, steps)
    return tuple(_step(members, said, *ends, prompt) for ends, prompt in zip(pairwise(frames), prompts, strict=True))


def field_of(number: int) -> str:
    """What sentences call a frame, counted from 0."""
    return f"input.frames[{number}]"


def render(task_ids: list[str]) -> list[dict[str, object]]:
    """The tasks of a chain, in order."""
    return [create.answer(task_id) for task_id in task_ids]


def _texts(name: str, value: object, least: int, most: int) -> list[str]:
    wanted = f"a list of {least} strings" if least == most else f"a list of {least} to {most} strings"
    if value is None:
        raise missing(f"input.{name}", wanted)
    if not isinstance(value, list) or not least <= len(texts := cast("list[object]", value)) <= most:
        raise misfit(f"input.{name}", cast("object", value), wanted)
    if not all(isinstance(text, str) for text in texts):
        raise misfit(f"input.{name}", texts, wanted)
    return cast("list[str]", texts)


def _step(
    members: Mapping[str, object], said: Mapping[str, object], first: str, last: str, prompt: object
) -> Submission:
    """Raises InvalidParameter for the first mistake in it."""
    given = {"first_frame_url": first, "last_frame_url": last, "prompt": prompt}
    given["negative_prompt"] = said.get("negative_prompt")
    examined = create.examine_members({**members, "input": given})
    if examined.flaws:
        raise examined.flaws[0]
    return examined.submission

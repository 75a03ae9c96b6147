"""The create call: its body inwards, its answer outwards.

Reference: "Step 1: Create a task". What the official SDKs add (``extend_prompt``, ``function``, ``size``,
``with_audio``, …) is ignored; ``prompt_extend`` counts in ``parameters`` only, because they send
``input.extend_prompt: true`` whatever their user wished.
"""

import hashlib
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import msgspec

from kf2v.catalog.models import SECONDS
from kf2v.errors import BodyInvalid, InvalidParameter
from kf2v.wire import Submission
from kf2v.wire.v1.fields import Reader
from kf2v.wire.v1.media import check_reference
from kf2v.wire.v1.text import NEGATIVE_PROMPT_LIMIT, PROMPT_LIMIT, cut

#: reference, "seed": "between 0 and 2147483647"
SEED_LIMIT = 2_147_483_647

_FRAME = "the http(s), oss:// or data: URL of an image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A create body, and all that is wrong with its fields."""

    submission: Submission
    flaws: tuple[InvalidParameter, ...]
    #: pixels of the first frame, where it is said instead of shown
    width: int | None = None
    height: int | None = None


def parse(body: bytes) -> Submission:
    """Read a create body.

    Raises BodyInvalid where there is no JSON object and InvalidParameter where no model is named; every other
    mistake becomes the submission's ``flaw``.
    """
    examined = examine(body)
    if not examined.submission.model:
        raise examined.flaws[0]
    return examined.submission


def examine(body: bytes, *, whole: bool = True) -> Examined:
    """Read a create body and find every mistake in it; one that is not ``whole`` may do without frames.

    Raises BodyInvalid where there is no JSON object.
    """
    return examine_members(object_of(body), whole=whole)


def examine_members(members: Mapping[str, object], *, whole: bool = True) -> Examined:
    """The same, of an object that was read already."""
    flaws: list[InvalidParameter] = []
    top = Reader("", members, flaws)
    model = top.needed_text("model", wanted="the name of a model")
    before = len(flaws)
    given = top.nested("input", wanted="an object with the two frames" if whole else None)
    if whole and len(flaws) == before:
        first = given.needed_text("first_frame_url", "head_frame", wanted=_FRAME)
        last = given.needed_text("last_frame_url", "tail_frame", wanted=_FRAME)
    else:
        first, last = given.text("first_frame_url", "head_frame"), given.text("last_frame_url", "tail_frame")
    parameters = top.nested("parameters")
    for field, reference in (("input.first_frame_url", first), ("input.last_frame_url", last)):
        if reference and (flaw := check_reference(field, reference)):
            flaws.append(flaw)
    parameters.integer("duration", low=SECONDS, high=SECONDS)
    size = {} if whole else {side: given.integer(side, low=1, high=100_000) for side in ("width", "height")}
    submission = Submission(
        model=model,
        first_frame=first,
        last_frame=last,
        prompt=cut(given.text("prompt"), PROMPT_LIMIT),
        negative_prompt=cut(given.text("negative_prompt"), NEGATIVE_PROMPT_LIMIT),
        resolution=parameters.text("resolution") or None,
        seed=parameters.integer("seed", low=0, high=SEED_LIMIT),
        prompt_extend=parameters.flag("prompt_extend", default=True),
        watermark=parameters.flag("watermark", default=False),
        flaw=flaws[0] if flaws else None,
    )
    return Examined(submission=submission, flaws=tuple(flaws), **size)


def digest(body: bytes, *headers: str | None) -> str:
    """Tells a body that ``parse`` took from others, by what it says and not by its spelling, and by ``headers``."""
    members = object_of(body)
    said = [{name: members.get(name) for name in ("model", "input", "parameters")}, headers]
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()


def object_of(body: bytes) -> Mapping[str, object]:
    """``body`` as a JSON object. Raises BodyInvalid."""
    try:
        members: object = msgspec.json.decode(body.removeprefix(BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BodyInvalid(f"{BodyInvalid.sentence} {_plain(error)}") from error
    if not isinstance(members, dict):
        raise BodyInvalid(f"{BodyInvalid.sentence} A JSON object is expected.")
    return cast("Mapping[str, object]", members)


def _plain(error: Exception) -> str:
    """What the decoder said, without its class names."""
    return str(error).removeprefix("JSON is malformed: ").capitalize().rstrip(".") + "."


def answer(task_id: str) -> dict[str, object]:
    """``output`` of a created task."""
    return {"task_status": "PENDING", "task_id": task_id}

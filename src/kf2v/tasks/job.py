"""What will be generated: every question of rights and defaults is answered, nothing is left to look up."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

#: of the work: what comes in, and what is made of it
Side: TypeAlias = Literal["input", "output"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSource:
    """Where the bytes of one frame are."""

    kind: Literal["url", "blob"]
    #: an http(s) URL, or a key in ``blobs``
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One video to make."""

    model: str
    #: which engine makes it, a name in ``assembly.engines.ENGINES``
    engine: str
    #: engines that shall try after it, in this order, where it cannot
    fallbacks: tuple[str, ...] = ()
    first: FrameSource
    last: FrameSource
    prompt: str
    negative_prompt: str
    #: ``480P``, ``720P`` or ``1080P``
    resolution: str
    #: target area in pixels that ``resolution`` stands for
    area: int
    #: 0 … 2147483647
    seed: int
    prompt_extend: bool
    watermark: bool
    #: what its caller wants inspected, whatever is usual here
    inspect: tuple[Side, ...] = ()

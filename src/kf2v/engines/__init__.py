"""Engines: two pictures in, a clip out.

This module is the protocol; ``morph`` and ``still`` are variants. One suite, ``tests/contract/test_engine.py``, runs
on all of them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kf2v.video import Clip, Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What an engine is given: both frames fitted to the output size already (same shape, sides multiples of 16)."""

    first: "Frame"
    last: "Frame"
    #: as the rewriter left it; may be empty
    prompt: str
    negative_prompt: str
    #: 0 … 2147483647; the same scene and seed give the same frames, byte for byte
    seed: int
    #: the model's name as the caller asked for it, for engines that choose their weights by it
    model: str = ""


class Watch(Protocol):
    """How work is followed and called off. Cheap: call it as often as it is convenient."""

    def report(self, phase: str, done: float) -> None:
        """``phase`` is one word (``analyse``, ``render``, …); ``done`` is 0 … 1 of this phase.

        Raises Canceled when the work was called off, so that reporting is enough to be cancellable.
        """
        ...

    def note(self, text: str) -> None:
        """A sentence for the task's owner, about something that is not as was asked for."""
        ...

    def show(self, preview: "Frame") -> None:
        """A rough picture of what is coming, of any size; for eyes only, and free to be thrown away."""
        ...


class EngineUnavailable(Exception):
    """An engine that cannot work on this machine; raised when it is built, before it is given any work."""

    def __init__(self, reason: str, *, fix: str) -> None:
        #: ``reason`` says what is missing, ``fix`` what to do about it; a sentence each
        self.reason = reason
        self.fix = fix
        super().__init__(f"{reason} {fix}")


class Engine(Protocol):
    """Makes clips.

    Binding for every variant: the first frame of the clip is ``scene.first`` and the last is ``scene.last``, pixel
    for pixel; frames are made as they are asked for, so that memory does not grow with their number; ``watch`` is
    told at least once per frame, and Canceled passes through; a scene it cannot do raises ``errors.ApiError``.
    """

    name: str

    def generate(self, scene: Scene, watch: Watch) -> "Clip": ...

"""What can be known of a video before it is made: whether its frames are any good, its size, and its prompt.

Makes nothing and keeps nothing; what it does, it does as ``recipe``.
"""

from collections.abc import Collection
from typing import Protocol

from kf2v.catalog.models import AREAS
from kf2v.moderation import Exhibit, Part
from kf2v.moderation.panel import Panel
from kf2v.pipeline.prepare import check_size, decode
from kf2v.rewriting import Rewriter
from kf2v.tasks.job import Side
from kf2v.video import Frame, Size
from kf2v.video.frames import fit, size_of
from kf2v.video.size import output_size

#: prompts are rewritten by what is seen at this size, which is the quickest
_TIER = "480P"


class Fetches(Protocol):
    """Gets the bytes behind a stranger's URL. Raises FrameError."""

    def fetch(self, url: str) -> bytes: ...


class Rehearsal:
    """Blocking, and fit for several threads as far as ``fetcher`` and ``rewriter`` are.

    What callers wish to be inspected beyond the usual is ``wished``; ``request_id`` is of the call that wants to know.
    """

    def __init__(self, *, fetcher: Fetches, rewriter: Rewriter, panel: Panel) -> None:
        self._fetcher = fetcher
        self._rewriter = rewriter
        self._panel = panel

    def fetch(self, url: str) -> bytes:
        """Raises FrameError."""
        return self._fetcher.fetch(url)

    def decode(self, picture: bytes) -> Frame:
        """The frame in ``picture``, upright. Raises FrameError for one that a task would not take."""
        return decode(picture)

    def size_of_frame(self, frame: Frame) -> Size:
        return size_of(frame)

    def size_of_video(self, width: int, height: int, area: int) -> Size:
        """Whose first frame has ``width`` and ``height``, at a tier of ``area`` pixels. Raises InvalidResolution."""
        check_size(width, height)
        return output_size(width, height, area)

    def inspect(
        self, frame: Frame, part: Part, *, model: str = "", wished: Collection[Side] = (), request_id: str = ""
    ) -> None:
        """Raises DataInspectionFailed for a frame that may not pass."""
        if self._panel.looks("input", wished):
            self._panel.look(frame, Exhibit(side="input", part=part, model=model, request_id=request_id), _alone)

    def rewrite(
        self,
        prompt: str,
        first: Frame,
        last: Frame,
        *,
        model: str = "",
        wished: Collection[Side] = (),
        request_id: str = "",
    ) -> str:
        """What a task would make of ``prompt``; frames are inspected before they are shown to anybody, as there.

        Raises RewriteFailed, whatever a task would do about it, and DataInspectionFailed.
        """
        self.inspect(first, "first_frame", model=model, wished=wished, request_id=request_id)
        self.inspect(last, "last_frame", model=model, wished=wished, request_id=request_id)
        given = size_of(first)
        size = output_size(given.width, given.height, AREAS[_TIER])
        actual = self._rewriter.rewrite(prompt, fit(first, size), fit(last, size), lambda _: None)
        if actual != prompt and self._panel.reads("input", wished):
            exhibit = Exhibit(side="input", part="actual_prompt", model=model, request_id=request_id)
            self._panel.read(actual, exhibit, _alone)
        return actual


def _alone() -> None:
    """Nobody can call it off."""

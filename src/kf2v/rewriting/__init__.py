"""Prompt rewriting: the caller's sentence in, the engine's prompt out.

This module is the protocol; ``rules`` says what it measured in the frames, ``chat`` asks a language model, ``verbatim``
leaves every word alone.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from kf2v.video import Frame

#: told how much of the work is done, 0 … 1; may raise to end it
Report: TypeAlias = Callable[[float], None]


class Rewriter(Protocol):
    """Turns a prompt into what the engine reads.

    An answer is plain text of at most ``wire.v1.text.PROMPT_LIMIT`` characters, never shorter of the caller's words
    where nothing could be said. Whoever waits for somebody else asks ``report`` at least once a second, and passes on
    what it raises at once. Raises ``errors.RewriteFailed`` when there is no answer.
    """

    name: str

    def rewrite(self, prompt: str, first: "Frame", last: "Frame", report: Report) -> str: ...

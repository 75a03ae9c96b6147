"""Prompt rewriting: the caller's sentence in, the engine's prompt out.

This module is the protocol; ``verbatim`` is the variant that leaves every word alone.
"""

from typing import Protocol

from kf2v.video import Frame


class Rewriter(Protocol):
    """Turns a prompt into what the engine reads. Raises ``errors.RewriteFailed`` when it cannot and must not."""

    name: str

    def rewrite(self, prompt: str, first: Frame, last: Frame) -> str: ...

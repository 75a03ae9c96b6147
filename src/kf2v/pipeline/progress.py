"""How far a whole production is, from how far its present phase is.

Frames are made, retimed, marked and encoded as one stream, so ``render`` stands for all four.
"""

from typing import Protocol

#: phase → where it begins and ends in the whole, 0 … 1; shares of time as ``morph``, ``wan`` and ``remote`` spend it,
#: roughly
SHARES: dict[str, tuple[float, float]] = {
    "fetch": (0.00, 0.03),
    "moderate": (0.03, 0.04),
    "rewrite": (0.04, 0.05),
    "analyse": (0.05, 0.25),
    "render": (0.25, 0.98),
    "load": (0.05, 0.08),
    "encode": (0.08, 0.11),
    "denoise": (0.11, 0.80),
    "decode": (0.80, 0.98),
    "send": (0.03, 0.05),
    "forward": (0.05, 0.95),
    "receive": (0.95, 0.98),
    "keep": (0.98, 1.00),
}


class Progress(Protocol):
    """Who follows a production and may call it off; the part of ``engines.Watch`` that needs no place for pictures."""

    def report(self, phase: str, done: float) -> None:
        """See ``engines.Watch``."""
        ...

    def note(self, text: str) -> None:
        """See ``engines.Watch``."""
        ...


def overall(phase: str, done: float) -> float | None:
    """The whole's progress, 0 … 1, when ``phase`` is ``done`` (0 … 1); None for a phase nobody weighed."""
    share = SHARES.get(phase)
    if share is None:
        return None
    begin, end = share
    return begin + (end - begin) * min(1.0, max(0.0, done))

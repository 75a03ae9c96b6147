"""How far a whole production is, from how far its present phase is.

Frames are made, retimed, marked and encoded as one stream, so ``render`` stands for all four.
"""

#: phase → where it begins and ends in the whole, 0 … 1; shares of time as ``morph`` spends it, roughly
SHARES: dict[str, tuple[float, float]] = {
    "fetch": (0.00, 0.03),
    "rewrite": (0.03, 0.05),
    "analyse": (0.05, 0.25),
    "render": (0.25, 0.98),
    "keep": (0.98, 1.00),
}


def overall(phase: str, done: float) -> float | None:
    """The whole's progress, 0 … 1, when ``phase`` is ``done`` (0 … 1); None for a phase nobody weighed."""
    share = SHARES.get(phase)
    if share is None:
        return None
    begin, end = share
    return begin + (end - begin) * min(1.0, max(0.0, done))

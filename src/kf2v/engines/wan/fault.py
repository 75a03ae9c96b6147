"""What can go wrong beyond this engine's own doing, in one sentence: checkpoints, and processes that work together."""

from __future__ import annotations

from pathlib import Path


class CheckpointError(ValueError):
    """Weights that cannot be used: where they lie, what was found there, and what would do."""

    def __init__(self, where: str | Path, found: str, remedy: str = "") -> None:
        self.where = str(where)
        self.found = found
        self.remedy = remedy
        super().__init__(f"{where}: {found}" + (f"; {remedy}" if remedy else ""))


class CompanyBroken(RuntimeError):
    """Processes that make one video together, of which one is no longer there or does not answer."""

"""What is wrong with a checkpoint, in one sentence."""

from __future__ import annotations

from pathlib import Path


class CheckpointError(ValueError):
    """Weights that cannot be used: where they lie, what was found there, and what would do."""

    def __init__(self, where: str | Path, found: str, remedy: str = "") -> None:
        self.where = str(where)
        self.found = found
        self.remedy = remedy
        super().__init__(f"{where}: {found}" + (f"; {remedy}" if remedy else ""))

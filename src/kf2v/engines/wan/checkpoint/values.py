"""Whether values are what they can be: finite, and no matrix empty."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kf2v.engines.wan.checkpoint.source import Scaled, Stored, TensorSource
from kf2v.engines.wan.fault import CheckpointError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Checked:
    """A TensorSource that looks at what it reads: loading is verifying."""

    source: TensorSource

    @property
    def where(self) -> str:
        return self.source.where

    def names(self) -> Collection[str]:
        return self.source.names()

    def shape(self, name: str) -> tuple[int, ...]:
        return self.source.shape(name)

    def dtype(self, name: str) -> torch.dtype:
        return self.source.dtype(name)

    def read(self, name: str, device: str | torch.device = "cpu") -> Stored:
        stored = self.source.read(name, device)
        if ailment := ailment_of(stored):
            raise CheckpointError(self.where, f"{name} {ailment}", "the file is damaged: fetch it again")
        return stored


def ailment_of(stored: Stored) -> str:
    """What is wrong with the values: NaN or infinity, or a matrix of nothing but zeros. Empty if all is well."""
    import torch

    if isinstance(stored, Scaled):
        return ailment_of(stored.scale) or ailment_of(stored.values)
    if stored.dtype is torch.float8_e4m3fn:
        bits = stored.view(torch.uint8) & 0x7F  # e4m3fn: 0x7F is NaN whatever the sign, and there is no infinity
        low, high = int(bits.min()), int(bits.max())
        return "has NaN in it" if high == 0x7F else "is all zeros" if high == low == 0 else ""
    low, high = torch.aminmax(stored)  # NaN wins
    if not (torch.isfinite(low) and torch.isfinite(high)):
        return "has NaN or infinity in it"
    return "is all zeros" if stored.ndim >= 2 and not low and not high else ""

"""Whether values are what they can be: finite, and no matrix empty."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kf2v.engines.wan.checkpoint.source import Scaled, Stored, TensorSource
from kf2v.engines.wan.fault import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: between which the largest scale of a matrix in e4m3 lies (values there reach 448): far outside of what weights are
SCALES = (1e-10, 1e3)


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
    """What is wrong with the values: none, NaN or infinity, a matrix of nothing but zeros, scales that no weight has.

    Empty if all is well.
    """
    import torch

    if isinstance(stored, Scaled):
        return ailment_of(stored.values) or _ailment_of_scale(stored.scale)
    if not stored.numel():
        return "has no values"
    if stored.dtype is torch.float8_e4m3fn:
        bits = stored.view(torch.uint8) & 0x7F  # e4m3fn: 0x7F is NaN whatever the sign, and there is no infinity
        low, high = int(bits.min()), int(bits.max())
        return "has NaN in it" if high == 0x7F else "is all zeros" if high == low == 0 else ""
    low, high = torch.aminmax(stored)  # NaN wins
    if not (torch.isfinite(low) and torch.isfinite(high)):
        return "has NaN or infinity in it"
    return "is all zeros" if stored.ndim >= 2 and not low and not high else ""


def _ailment_of_scale(scale: Tensor) -> str:
    """Scales are above 0; a row of zeros may have a tiny one, but no matrix has only such."""
    low, high = (float(bound) for bound in scale.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        return "has a scale with NaN or infinity in it"
    if low <= 0 or not SCALES[0] <= high <= SCALES[1]:
        return f"has a scale of {low if low <= 0 else high:g}"
    return ""

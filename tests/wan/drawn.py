"""A TensorSource of any shape whose tensors are drawn, not stored, in the magnitudes that trained weights have."""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection

import torch
from torch import Tensor

from kf2v.engines.wan.family import DitShape


def drawn_block_shape(*, heads: int, ffn: int, layers: int = 1) -> DitShape:
    """Real head size, fewer heads: a block that a CPU multiplies in a second."""
    return DitShape(layers=layers, heads=heads, head_dim=128, ffn=ffn, text_dim=64)


class DrawnSource:
    """Each tensor depends on its name and the seed only: matrices of gain one, norms around one, small biases."""

    where = "drawn"

    def __init__(self, shape: DitShape, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        self._shapes, self._seed, self._dtype = shape.tensors(), seed, dtype

    def names(self) -> Collection[str]:
        return self._shapes.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def dtype(self, name: str) -> torch.dtype:
        return self._dtype

    def read(self, name: str, device: str | torch.device = "cpu") -> Tensor:
        shape = self._shapes[name]
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) + self._seed)
        drawn = torch.randn(shape, generator=generator)
        if len(shape) == 1 or "table" in name or "pos_embed" in name:
            drawn = drawn * 0.1 + ("norm" in name and name.endswith("weight"))
        else:
            drawn = drawn / math.sqrt(math.prod(shape[1:]))
        return drawn.to(device, self._dtype)

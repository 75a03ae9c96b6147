"""Where tensors come from: the protocol that every layout and every change to one fulfils."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Scaled:
    """A weight kept in eight bits: ``values`` times ``scale`` is the weight."""

    #: (out, in), float8_e4m3fn
    values: Tensor
    #: float32; () for the whole matrix or (out, 1) for each row
    scale: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's."""
        return tuple(self.values.shape)

    def dequantised(self, dtype: torch.dtype) -> Tensor:
        """(out, in): the weight, multiplied in float32 and rounded once to ``dtype``."""
        import torch

        return (self.values.to(torch.float32) * self.scale).to(dtype)


Stored: TypeAlias = "Tensor | Scaled"


class TensorSource(Protocol):
    """One transformer's tensors under diffusers' names, read one at a time.

    Binding: every name of ``names`` can be read, as often as one likes and from any thread; nothing is kept after
    reading; what cannot be read raises CheckpointError naming file and tensor.
    """

    @property
    def where(self) -> str:
        """The file or directory, for messages."""
        ...

    def names(self) -> Collection[str]:
        """All tensors."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Without reading the values."""
        ...

    def dtype(self, name: str) -> torch.dtype:
        """As ``read`` gives it; float8_e4m3fn where that is Scaled."""
        ...

    def read(self, name: str, device: str | torch.device = "cpu") -> Stored:
        """The tensor on ``device``; Scaled where the file holds eight-bit matrices."""
        ...

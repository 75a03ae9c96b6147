"""What lies between two matrix products: norms, modulation, turning, gates, GELU; the reference in torch.

Knows no weights and no order of layers. ``kernels.py`` has the same operations fused.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from kf2v.engines.wan.ops.linear import TINY, Activations, Rows, quantised_rows
from kf2v.engines.wan.ops.rope import Rope


class Norms(Protocol):
    """Binding for every variant: arithmetic in fp32, one rounding at the end, to the dtype of ``x`` or to fp8 rows.

    x and y are [L, d]; ``factor`` and ``offset`` [d] in fp32. ``rows`` asks for fp8 with a scale per row. What is
    given as ``x`` or inside ``qkv`` may be overwritten.
    """

    name: str

    def modulated(self, x: Tensor, factor: Tensor, offset: Tensor, eps: float, *, rows: bool) -> Activations:
        """LayerNorm(x)·factor + offset."""
        ...

    def added(
        self, x: Tensor, y: Tensor, gate: Tensor | None, factor: Tensor, offset: Tensor, eps: float, *, rows: bool
    ) -> tuple[Tensor, Activations]:
        """x + y·gate (gate [d] or 1), and LayerNorm of that, times factor, plus offset."""
        ...

    def turned(
        self, qkv: Tensor, q_weight: Tensor, k_weight: Tensor, rope: Rope, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """qkv [L, 3·d] → q and k, RMS-normed over all channels and turned, and v: [L, heads, head_dim] each."""
        ...

    def rms(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """x / sqrt(mean(x²) + eps) · weight over all channels."""
        ...

    def gelu(self, x: Tensor, *, rows: bool) -> Activations:
        """GELU in its tanh form."""
        ...

    def rows(self, x: Tensor) -> Rows:
        """x in fp8 with a scale per row."""
        ...

    def steered(self, positive: Tensor, negative: Tensor, scale: float, tau: float, alpha: float) -> Tensor:
        """Normalised attention guidance of what tokens read from two prompts, [L, d] each; see ``guidance.Nag``."""
        ...


class TorchNorms:
    """The reference."""

    name = "torch"

    def modulated(self, x: Tensor, factor: Tensor, offset: Tensor, eps: float, *, rows: bool) -> Activations:
        normed = F.layer_norm(x.float(), x.shape[-1:], eps=eps)
        return _out(normed * factor + offset, x.dtype, rows=rows)

    def added(
        self, x: Tensor, y: Tensor, gate: Tensor | None, factor: Tensor, offset: Tensor, eps: float, *, rows: bool
    ) -> tuple[Tensor, Activations]:
        step = y.float() if gate is None else y.float() * gate
        x = (x.float() + step).to(x.dtype)
        return x, self.modulated(x, factor, offset, eps, rows=rows)

    def turned(
        self, qkv: Tensor, q_weight: Tensor, k_weight: Tensor, rope: Rope, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        heads = (-1, 2 * rope.cos.shape[-1])
        q, k, v = qkv.chunk(3, dim=-1)
        q = rope.turn(_rms(q, q_weight, eps).unflatten(-1, heads)).to(qkv.dtype)
        k = rope.turn(_rms(k, k_weight, eps).unflatten(-1, heads)).to(qkv.dtype)
        return q, k, v.unflatten(-1, heads)

    def rms(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        return _rms(x, weight, eps).to(x.dtype)

    def gelu(self, x: Tensor, *, rows: bool) -> Activations:
        return _out(F.gelu(x.float() if rows else x, approximate="tanh"), x.dtype, rows=rows)

    def rows(self, x: Tensor) -> Rows:
        return quantised_rows(x)

    def steered(self, positive: Tensor, negative: Tensor, scale: float, tau: float, alpha: float) -> Tensor:
        towards = positive.float()
        away = scale * towards - (scale - 1) * negative.float()
        ratio = _length(away) / _length(towards)  # [L, 1]
        return (alpha * away * (tau / ratio).clamp_max(1) + (1 - alpha) * towards).to(positive.dtype)


def _rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    x = x.float()
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps) * weight.float()


def _length(x: Tensor) -> Tensor:
    """L1 norm of each row, above zero."""
    return x.abs().sum(dim=-1, keepdim=True).clamp_min(TINY)


def _out(x: Tensor, dtype: torch.dtype, *, rows: bool) -> Activations:
    return quantised_rows(x) if rows else x.to(dtype)

"""The operations of ``norm.py`` as Triton kernels, one read and one write of a token each.

Knows no order of layers. Importing this module imports Triton, so only those who want it do; a machine without it
has ``TorchNorms``. Checked through Triton's interpreter on a CPU; not run on a GPU yet.

A program takes one token: its d channels lie in the registers of one block, padded to a power of two. Sums, norms
and angles are fp32, whatever comes in and goes out.
"""
# pyright: reportArgumentType=false
# Triton's constexpr parameters take plain numbers

import torch
import triton
import triton.language as tl
from torch import Tensor

from kf2v.engines.wan.ops.linear import E4M3, Activations, Rows
from kf2v.engines.wan.ops.rope import Rope

# E4M3_MAX and TINY of linear.py, which kernels can only read as constants of their own module
_MOST = tl.constexpr(448.0)
_LEAST = tl.constexpr(1e-12)


@triton.jit
def _normed(x, inside, d, eps):
    """LayerNorm of one token, in fp32."""
    mean = tl.sum(x, axis=0) / d
    centred = tl.where(inside, x - mean, 0.0)
    return centred / tl.sqrt(tl.sum(centred * centred, axis=0) / d + eps)


@triton.jit
def _put(h, out, scale, token, at, inside, d, rows: tl.constexpr):
    """Write one token, in the dtype of ``out`` or as fp8 with its own scale."""
    if rows:
        most = tl.max(tl.where(inside, tl.abs(h), 0.0), axis=0)
        by = tl.maximum(most, _LEAST) / _MOST
        tl.store(scale + token, by)
        h = tl.minimum(tl.maximum(h / by, -_MOST), _MOST)
    tl.store(out + token * d + at, h.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _modulate(x, factor, offset, out, scale, d, eps, rows: tl.constexpr, block: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, block)
    inside = at < d
    h = tl.load(x + token * d + at, mask=inside, other=0.0).to(tl.float32)
    by = tl.load(factor + at, mask=inside, other=0.0)
    plus = tl.load(offset + at, mask=inside, other=0.0)
    _put(_normed(h, inside, d, eps) * by + plus, out, scale, token, at, inside, d, rows)


@triton.jit
def _add(x, y, gate, factor, offset, out, scale, d, eps, gated: tl.constexpr, rows: tl.constexpr, block: tl.constexpr):
    """``x`` becomes x + y·gate where it lies; ``out`` is the norm of what was rounded into it."""
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, block)
    inside = at < d
    step = tl.load(y + token * d + at, mask=inside, other=0.0).to(tl.float32)
    if gated:
        step = step * tl.load(gate + at, mask=inside, other=0.0)
    total = tl.load(x + token * d + at, mask=inside, other=0.0).to(tl.float32) + step
    rounded = total.to(x.dtype.element_ty)
    tl.store(x + token * d + at, rounded, mask=inside)
    by = tl.load(factor + at, mask=inside, other=0.0)
    plus = tl.load(offset + at, mask=inside, other=0.0)
    _put(_normed(rounded.to(tl.float32), inside, d, eps) * by + plus, out, scale, token, at, inside, d, rows)


@triton.jit
def _rms_in_registers(x, weight, at, inside, d, eps):
    by = tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    return x * tl.rsqrt(tl.sum(x * x, axis=0) / d + eps) * by


@triton.jit
def _turn(qkv, q_weight, k_weight, cos, sin, stride, d, half, eps, block: tl.constexpr):
    """Program (token, 0) turns q where it lies, program (token, 1) k; ``half`` is head_dim / 2."""
    token = tl.program_id(0).to(tl.int64)
    which = tl.program_id(1)
    at = tl.arange(0, block)
    inside = at < d
    row = qkv + token * stride + which * d + at
    x = tl.load(row, mask=inside, other=0.0).to(tl.float32)
    if which == 0:
        x = _rms_in_registers(x, q_weight, at, inside, d, eps)
    else:
        x = _rms_in_registers(x, k_weight, at, inside, d, eps)
    pair = tl.arange(0, block // 2)
    angle = token * half + pair % half
    c = tl.load(cos + angle, mask=pair * 2 < d, other=0.0)
    s = tl.load(sin + angle, mask=pair * 2 < d, other=0.0)
    even, odd = tl.split(tl.reshape(x, (block // 2, 2)))
    turned = tl.reshape(tl.join(even * c - odd * s, even * s + odd * c), (block,))
    tl.store(row, turned.to(qkv.dtype.element_ty), mask=inside)


@triton.jit
def _rms(x, weight, out, d, eps, block: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, block)
    inside = at < d
    h = tl.load(x + token * d + at, mask=inside, other=0.0).to(tl.float32)
    h = _rms_in_registers(h, weight, at, inside, d, eps)
    tl.store(out + token * d + at, h.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _gelu(x, out, scale, d, rows: tl.constexpr, block: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, block)
    inside = at < d
    h = tl.load(x + token * d + at, mask=inside, other=0.0).to(tl.float32)
    # 0.5·(1 + tanh(u)) = sigmoid(2·u), with u = sqrt(2/π)·(x + 0.044715·x³)
    h = h * tl.sigmoid(1.5957691216057308 * (h + 0.044715 * h * h * h))
    _put(h, out, scale, token, at, inside, d, rows)


@triton.jit
def _quantise(x, out, scale, d, block: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, block)
    inside = at < d
    h = tl.load(x + token * d + at, mask=inside, other=0.0).to(tl.float32)
    _put(h, out, scale, token, at, inside, d, True)


@triton.jit
def _steer(positive, negative, out, d, scale, tau, alpha, block: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, block)
    inside = at < d
    towards = tl.load(positive + token * d + at, mask=inside, other=0.0).to(tl.float32)
    away = scale * towards - (scale - 1.0) * tl.load(negative + token * d + at, mask=inside, other=0.0).to(tl.float32)
    most = tau * tl.maximum(tl.sum(tl.abs(towards), axis=0), _LEAST)
    shorter = tl.minimum(most / tl.maximum(tl.sum(tl.abs(away), axis=0), _LEAST), 1.0)
    h = alpha * shorter * away + (1.0 - alpha) * towards
    tl.store(out + token * d + at, h.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _cast(x, mean, descale, out, stride, d, centred: tl.constexpr, block: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, block)
    inside = at < d
    h = tl.load(x + token * stride + at, mask=inside, other=0.0).to(tl.float32)
    if centred:
        h = h - tl.load(mean + at, mask=inside, other=0.0)
    h = tl.minimum(tl.maximum(h / tl.load(descale), -_MOST), _MOST)
    tl.store(out + token * d + at, h.to(out.dtype.element_ty), mask=inside)


def cast_tokens(x: Tensor, mean: Tensor | None, descale: Tensor) -> Tensor:
    """``attention.cast_in_torch`` in one pass: x [L, N, D], tokens any distance apart, to e4m3."""
    length, heads, channels = x.shape
    if x.stride(2) != 1 or x.stride(1) != channels:
        x = x.contiguous()
    out = torch.empty(x.shape, dtype=E4M3, device=x.device)
    d = heads * channels
    less = descale if mean is None else mean.contiguous()
    _cast[(length,)](x, less, descale, out, x.stride(0), d, centred=mean is not None, **_sizes(d))
    return out


class TritonNorms:
    """The operations of :class:`kf2v.engines.wan.ops.norm.Norms`, fused."""

    name = "triton"

    def modulated(self, x: Tensor, factor: Tensor, offset: Tensor, eps: float, *, rows: bool) -> Activations:
        x = x.contiguous()
        out, scale = _room(x, rows=rows)
        d = x.shape[1]
        _modulate[(x.shape[0],)](
            x, factor.contiguous(), offset.contiguous(), out, scale, d, eps, rows=rows, **_sizes(d)
        )
        return Rows(out, scale) if rows else out

    def added(
        self, x: Tensor, y: Tensor, gate: Tensor | None, factor: Tensor, offset: Tensor, eps: float, *, rows: bool
    ) -> tuple[Tensor, Activations]:
        x = x.contiguous()
        out, scale = _room(x, rows=rows)
        d = x.shape[1]
        factor = factor.contiguous()
        _add[(x.shape[0],)](
            x,
            y.contiguous(),
            factor if gate is None else gate.contiguous(),
            factor,
            offset.contiguous(),
            out,
            scale,
            d,
            eps,
            gated=gate is not None,
            rows=rows,
            **_sizes(d),
        )
        return x, (Rows(out, scale) if rows else out)

    def turned(
        self, qkv: Tensor, q_weight: Tensor, k_weight: Tensor, rope: Rope, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        qkv = qkv.contiguous()
        d, half = qkv.shape[1] // 3, rope.cos.shape[1]
        _turn[(qkv.shape[0], 2)](
            qkv,
            q_weight.contiguous(),
            k_weight.contiguous(),
            rope.cos.contiguous(),
            rope.sin.contiguous(),
            qkv.stride(0),
            d,
            half,
            eps,
            **_sizes(d),
        )
        q, k, v = qkv.unflatten(-1, (3, -1, 2 * half)).unbind(1)
        return q, k, v

    def rms(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x = x.contiguous()
        out = torch.empty_like(x)
        _rms[(x.shape[0],)](x, weight.contiguous(), out, x.shape[1], eps, **_sizes(x.shape[1]))
        return out

    def gelu(self, x: Tensor, *, rows: bool) -> Activations:
        x = x.contiguous()
        out, scale = _room(x, rows=rows, over=x)
        _gelu[(x.shape[0],)](x, out, scale, x.shape[1], rows=rows, **_sizes(x.shape[1]))
        return Rows(out, scale) if rows else out

    def rows(self, x: Tensor) -> Rows:
        x = x.contiguous()
        out, scale = _room(x, rows=True)
        _quantise[(x.shape[0],)](x, out, scale, x.shape[1], **_sizes(x.shape[1]))
        return Rows(out, scale)

    def steered(self, positive: Tensor, negative: Tensor, scale: float, tau: float, alpha: float) -> Tensor:
        positive, negative = positive.contiguous(), negative.contiguous()
        d = positive.shape[1]
        _steer[(positive.shape[0],)](positive, negative, positive, d, scale, tau, alpha, **_sizes(d))
        return positive


def _room(x: Tensor, *, rows: bool, over: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Where results go: values [M, d] and scales [M, 1]; ``over`` is written over when it may be."""
    if not rows:
        out = torch.empty_like(x) if over is None else over
        return out, out  # the second is not written
    values = torch.empty(x.shape, dtype=E4M3, device=x.device)
    return values, torch.empty(x.shape[0], 1, dtype=torch.float32, device=x.device)


def _sizes(d: int) -> dict[str, int]:
    """A block that holds d channels, and 32 of them per thread."""
    block = 1 << (d - 1).bit_length()
    return {"block": block, "num_warps": min(16, max(1, block // 1024))}

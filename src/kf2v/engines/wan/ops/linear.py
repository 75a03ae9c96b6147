"""Linear layers whose weights are plain numbers or fp8 with scales by row or by tensor.

Knows no layer names beyond the ones it is handed, and nothing of attention or norms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

if TYPE_CHECKING:
    from kf2v.engines.wan.checkpoint import Scaled, TensorSource

LinearKind: TypeAlias = Literal["native", "fp8_row", "fp8_tensor"]

E4M3 = torch.float8_e4m3fn
#: the largest number of e4m3
E4M3_MAX = 448.0
#: rows and columns that fp8 matrix products take come in sixteens (``torch._scaled_mm``)
E4M3_MULTIPLE = 16
#: keeps the scale of an all-zero row finite
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Rows:
    """A matrix in fp8 whose rows each have their own scale: x ≈ values · scale."""

    #: [M, K] e4m3
    values: Tensor
    #: [M, 1] fp32
    scale: Tensor

    def dequantised(self, dtype: torch.dtype) -> Tensor:
        """[M, K], multiplied in ``dtype``: a bf16 product is rounded far more finely than e4m3, in half the memory."""
        return self.values.to(dtype) * self.scale.to(dtype)


Activations: TypeAlias = Tensor | Rows


@dataclass(frozen=True, slots=True)
class Weights:
    """One linear layer, ready to multiply with."""

    #: [N, K], e4m3 where there is a scale
    weight: Tensor
    #: None (plain numbers), [] (one for all, fp32) or [1, N] (one per output, fp32)
    scale: Tensor | None
    #: [N], in the dtype of the activations
    bias: Tensor | None

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The parts under ``name``, for packing; :meth:`of` is the way back."""
        parts = {f"{name}.weight": self.weight, f"{name}.scale": self.scale, f"{name}.bias": self.bias}
        return {key: tensor for key, tensor in parts.items() if tensor is not None}

    @classmethod
    def of(cls, name: str, tensors: Mapping[str, Tensor]) -> Weights:
        return cls(tensors[f"{name}.weight"], tensors.get(f"{name}.scale"), tensors.get(f"{name}.bias"))


def quantised_rows(x: Tensor) -> Rows:
    """``x`` [M, K] with one scale per row, its largest number becoming 448."""
    x = x.float()
    scale = x.abs().amax(dim=-1, keepdim=True).clamp_min(TINY) / E4M3_MAX  # [M, 1]
    return Rows((x / scale).clamp(-E4M3_MAX, E4M3_MAX).to(E4M3), scale)


def quantised(x: Tensor) -> tuple[Tensor, Tensor]:
    """``x`` with one scale for all: e4m3 of its shape, and the scale [] in fp32."""
    scale = torch.linalg.vector_norm(x, float("inf")).float().clamp_min(TINY) / E4M3_MAX
    return (x.float() / scale).clamp(-E4M3_MAX, E4M3_MAX).to(E4M3), scale


def dense(x: Activations, dtype: torch.dtype) -> Tensor:
    """x in ``dtype``, whatever it came in."""
    return x.dequantised(dtype) if isinstance(x, Rows) else x.to(dtype)


def apply(
    x: Activations, weights: Weights, dtype: torch.dtype, rows: Callable[[Tensor], Rows] = quantised_rows
) -> Tensor:
    """x [M, K] times the weights, plus their bias: [M, N] in ``dtype``; ``rows`` is how to quantise by rows."""
    if weights.scale is None:
        return F.linear(dense(x, dtype), weights.weight, weights.bias)
    by_row = weights.scale.ndim == 2
    if not by_row and not isinstance(x, Rows):
        values, scale = quantised(x)
        return _scaled(values, scale, weights.weight, weights.scale, weights.bias, dtype)
    coded = x if isinstance(x, Rows) else rows(x)
    columns = weights.scale if by_row else weights.scale.expand(1, weights.weight.shape[0]).contiguous()
    return _scaled(coded.values, coded.scale, weights.weight, columns, weights.bias, dtype)


def _scaled(
    x: Tensor, x_scale: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    # row scales come with bf16 only on CUDA, and so does a bias inside the product
    inside = torch.bfloat16 if x.is_cuda else dtype
    fused = bias.to(inside) if bias is not None and inside == torch.bfloat16 else None
    # fast accumulation: 90–100 % of tensor-wise speed with row scales on Hopper (pytorch #147971)
    out = torch._scaled_mm(  # pyright: ignore[reportPrivateImportUsage]
        x, weight.t(), scale_a=x_scale, scale_b=weight_scale, bias=fused, out_dtype=inside, use_fast_accum=True
    ).to(dtype)
    return out if bias is None or fused is not None else out + bias


def pack(
    source: TensorSource,
    names: Sequence[str],
    kind: LinearKind,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
) -> Weights:
    """Read the layers ``names`` (all of one input) as one layer with their outputs in a row.

    Each is read straight to ``device`` and let go before the next, so that nothing is there twice but one part.
    Weights the checkpoint holds in fp8 stay the numbers they are; with several scales they get one per output,
    whatever ``kind`` says. Layers whose sides are no multiples of 16 stay native.
    """
    shapes = [source.shape(f"{name}.weight") for name in names]
    outputs, inputs = sum(shape[0] for shape in shapes), shapes[0][1]
    biases = [_plain(source.read(f"{name}.bias", device=str(device)), dtype) for name in names]
    bias = biases[0] if len(biases) == 1 else torch.cat(biases)
    if any(side % E4M3_MULTIPLE for side in (outputs, inputs, *(shape[0] for shape in shapes))):
        kind = "native"
    parts = (source.read(f"{name}.weight", device=str(device)) for name in names)
    if kind == "native":
        return Weights(_joined(parts, outputs, inputs, dtype, device), None, bias)
    values = torch.empty(outputs, inputs, dtype=E4M3, device=device)
    scale = torch.empty(1, outputs, dtype=torch.float32, device=device)
    if kind == "fp8_tensor" and (whole := _by_tensor(source, names, values, device)) is not None:
        return Weights(values, whole, bias)
    start = 0
    for part in parts:
        coded = _rows_of(part)
        stop = start + coded.values.shape[0]
        values[start:stop] = coded.values
        scale[0, start:stop] = coded.scale[:, 0]
        start = stop
        del part, coded  # before the next is read
    return Weights(values, scale, bias)


def _joined(parts: object, outputs: int, inputs: int, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    joined: Tensor | None = None
    start = 0
    for part in cast("Sequence[Tensor | Scaled]", parts):
        dense = _plain(part, dtype)
        if dense.shape[0] == outputs:
            return dense
        if joined is None:
            joined = torch.empty(outputs, inputs, dtype=dtype, device=device)
        joined[start : start + dense.shape[0]] = dense
        start += dense.shape[0]
        del part, dense  # before the next is read
    assert joined is not None
    return joined


def _by_tensor(source: TensorSource, names: Sequence[str], values: Tensor, device: torch.device | str) -> Tensor | None:
    """Fill ``values`` with one scale for all and give it; None where the checkpoint has its own scales, and several."""
    parts = [source.read(f"{name}.weight", device=str(device)) for name in names]
    if any(_coded(part) for part in parts):
        scales = [_scale_of(part) for part in parts]
        if any(scale.numel() != 1 or not torch.equal(scale, scales[0]) for scale in scales):
            return None
        torch.cat([_values_of(part) for part in parts], out=values) if len(parts) > 1 else values.copy_(
            _values_of(parts[0])
        )
        return scales[0].reshape(()).float()
    dense = [cast(Tensor, part) for part in parts]
    scale = torch.stack([torch.linalg.vector_norm(p.float(), float("inf")) for p in dense]).amax().clamp_min(TINY)
    scale = scale / E4M3_MAX
    start = 0
    for part in dense:
        stop = start + part.shape[0]
        values[start:stop] = (part.float() / scale).clamp(-E4M3_MAX, E4M3_MAX).to(E4M3)
        start = stop
    return scale


def _rows_of(part: Tensor | Scaled) -> Rows:
    if not _coded(part):
        return quantised_rows(cast(Tensor, part))
    values, scale = _values_of(part), _scale_of(part).float()
    if scale.numel() not in (1, values.shape[0]):
        return quantised_rows(_plain(part, torch.float32))
    return Rows(values, scale.reshape(-1, 1).expand(values.shape[0], 1))


def _coded(part: Tensor | Scaled) -> bool:
    return (part.dtype if isinstance(part, Tensor) else part.values.dtype) == E4M3


def _values_of(part: Tensor | Scaled) -> Tensor:
    return part if isinstance(part, Tensor) else part.values


def _scale_of(part: Tensor | Scaled) -> Tensor:
    if isinstance(part, Tensor):
        return torch.ones((), device=part.device)
    return part.scale


def _plain(part: Tensor | Scaled, dtype: torch.dtype) -> Tensor:
    return part.to(dtype) if isinstance(part, Tensor) else part.dequantised(dtype)

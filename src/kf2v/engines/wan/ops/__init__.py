"""The operations a transformer is made of, and which variant of each this machine gets.

Knows no layer and no weights: linear layers, attention and the work between them, each in several variants with one
reference in torch. Importing this package imports torch, but neither Triton nor any attention library.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from kf2v.engines.wan.ops import linear as linears
from kf2v.engines.wan.ops.attention import Attention, AttentionName, Unusable
from kf2v.engines.wan.ops.attention import attention as choose
from kf2v.engines.wan.ops.linear import Activations, LinearKind, Rows, Weights
from kf2v.engines.wan.ops.norm import Norms, TorchNorms
from kf2v.engines.wan.ops.rope import rope

__all__ = [
    "Activations",
    "Attention",
    "AttentionName",
    "LinearKind",
    "NormName",
    "Norms",
    "Ops",
    "Rows",
    "Unusable",
    "Weights",
]

log = logging.getLogger(__name__)

NormName: TypeAlias = Literal["torch", "triton"]

#: the trial of norms: tokens of a grid, and heads of a width each, as Wan's 14B have them
TRIAL_GRID, TRIAL_HEADS, TRIAL_HEAD_DIM = (2, 2, 4), 40, 128
#: how far a fused norm may be from the reference's in bf16 and in fp8 rows, as a share of its length: what one rounding
#: the other way makes, twice
TRIAL_APART, TRIAL_ROWS_APART = 0.01, 0.06


@dataclass(frozen=True, kw_only=True)
class Ops:
    """The chosen variants."""

    #: how block weights are kept and multiplied; see ``linear.pack`` for what stays native all the same
    linear: LinearKind
    #: among a video's tokens
    attend: Attention
    #: from a video's tokens to the prompt's and the pictures'; short, so never fp8
    cross: Attention
    norms: Norms
    #: so many blocks at either end attend as ``cross`` does; fp8 is said to cost most there, unmeasured on Wan
    exact_ends: int = 0
    #: why this and nothing faster, for people; empty where nothing was passed over
    passed_over: tuple[str, ...] = ()

    @classmethod
    def best(
        cls,
        device: torch.device | str,
        *,
        linear: LinearKind | None = None,
        attention: AttentionName | None = None,
        norm: NormName | None = None,
        exact_ends: int = 0,
    ) -> Ops:
        """The fastest variants ``device`` can run; what is named is taken, or the nearest that works.

        Says in one log line what was chosen and why. Never raises for want of a library or hardware.
        """
        device = torch.device(device)
        able = _capability(device)
        wanted_linear = linear or ("fp8_row" if able >= (8, 9) else "native")
        wanted_attention = attention or ("cudnn_fp8" if able >= (9, 0) else "cudnn" if able >= (8, 0) else "sdpa")
        wanted_norm = norm or ("triton" if able >= (8, 0) else "torch")
        passed: list[str] = []
        ops = cls(
            linear=_linear(wanted_linear, device, passed),
            attend=_attention(wanted_attention, device, passed),
            cross=_attention("cudnn" if able >= (8, 0) else "sdpa", device, passed),
            norms=_norms(wanted_norm, device, passed),
            exact_ends=exact_ends,
            passed_over=tuple(dict.fromkeys(passed)),
        )
        log.info("operations on %s: %s", _called(device, able), ops)
        return ops

    @classmethod
    def reference(cls) -> Ops:
        """Everything in plain torch."""
        plain, _ = choose("sdpa", "cpu")
        return cls(linear="native", attend=plain, cross=plain, norms=TorchNorms())

    def apply(self, x: Activations, weights: Weights, dtype: torch.dtype) -> Tensor:
        """x [M, K] through one linear layer: [M, N] in ``dtype``."""
        return linears.apply(x, weights, dtype, self.norms.rows)

    def __str__(self) -> str:
        chosen = f"linear {self.linear}, attention {self.attend.name}, norms {self.norms.name}"
        return f"{chosen} ({'; '.join(self.passed_over)})" if self.passed_over else chosen


def _capability(device: torch.device) -> tuple[int, int]:
    """(0, 0) without CUDA; AMD's own numbers mean something else and count as none."""
    if device.type != "cuda" or torch.version.hip is not None:
        return 0, 0
    return torch.cuda.get_device_capability(device)


def _called(device: torch.device, able: tuple[int, int]) -> str:
    if able == (0, 0):
        return str(device)
    return f"{torch.cuda.get_device_name(device)} (compute capability {able[0]}.{able[1]})"


def tried(kind: LinearKind, device: torch.device) -> tuple[LinearKind, tuple[str, ...]]:
    """``kind`` of linear layers, or what comes nearest to it on ``device``; and why others were passed over."""
    passed: list[str] = []
    return _linear(kind, device, passed), tuple(passed)


def _linear(kind: LinearKind, device: torch.device, passed: list[str]) -> LinearKind:
    if kind == "native":
        return kind
    other: LinearKind = "fp8_row" if kind == "fp8_tensor" else "fp8_tensor"
    for candidate in (kind, other):
        try:
            _try_linear(candidate, device)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            passed.append(f"{candidate}: {(str(error).splitlines() or [''])[0][:160]}")
        else:
            return candidate
    return "native"


def _try_linear(kind: LinearKind, device: torch.device) -> None:
    """Raises RuntimeError unless this machine multiplies in fp8."""
    x = torch.ones(32, 64, dtype=torch.bfloat16, device=device)
    values = torch.ones(48, 64, device=device).to(linears.E4M3)
    scale = torch.ones((1, 48) if kind == "fp8_row" else (), device=device)
    bias = torch.ones(48, dtype=torch.bfloat16, device=device)
    out = linears.apply(x, Weights(values, scale, bias), torch.bfloat16)
    if not torch.allclose(out.float(), torch.full_like(out, 65).float(), rtol=0.02):
        raise RuntimeError("a trial product is wrong")


def _attention(name: AttentionName, device: torch.device, passed: list[str]) -> Attention:
    try:
        variant, reasons = choose(name, device)
    except Unusable as why:
        passed.append(str(why))
        return choose("sdpa", device)[0]
    passed.extend(reasons)
    return variant


def _norms(name: NormName, device: torch.device, passed: list[str]) -> Norms:
    if name == "torch":
        return TorchNorms()
    if importlib.util.find_spec("triton") is None:
        passed.append("triton: not installed")
        return TorchNorms()
    try:
        from kf2v.engines.wan.ops.kernels import TritonNorms

        norms = TritonNorms()
        _try_norms(norms, device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # a broken compiler shows itself in many ways; torch does the same work
        passed.append(f"triton: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}")
        return TorchNorms()
    return norms


def _try_norms(norms: Norms, device: torch.device) -> None:
    """Raises RuntimeError unless every operation of ``norms`` does a small problem as the reference does."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    d, angles = TRIAL_HEADS * TRIAL_HEAD_DIM, rope(TRIAL_HEAD_DIM, TRIAL_GRID, device)
    length, eps = len(angles.cos), 1e-6
    x, y, qkv = drawn(length, d), drawn(length, d), drawn(length, 3 * d)
    factor, offset, gate = (drawn(d, dtype=torch.float32) for _ in range(3))
    q_weight, k_weight = drawn(d), drawn(d)
    trials: dict[str, Callable[[Norms], tuple[Activations, ...]]] = {
        "turned": lambda n: n.turned(qkv.clone(), q_weight, k_weight, angles, eps),
        "rms": lambda n: (n.rms(x.clone(), q_weight, eps),),
        "rows": lambda n: (n.rows(x.clone()),),
        "steered": lambda n: (n.steered(x.clone(), y.clone(), 9.0, 2.5, 0.25),),
    }
    for rows in (False, True):
        out = " in rows" if rows else ""
        trials |= {
            f"modulated{out}": lambda n, rows=rows: (n.modulated(x.clone(), factor, offset, eps, rows=rows),),
            f"gelu{out}": lambda n, rows=rows: (n.gelu(x.clone(), rows=rows),),
            f"added{out}": lambda n, rows=rows: n.added(x.clone(), y, gate, factor, offset, eps, rows=rows),
            f"added plainly{out}": lambda n, rows=rows: n.added(x.clone(), y, None, factor, offset, eps, rows=rows),
        }
    reference = TorchNorms()
    for name, trial in trials.items():
        for found, expected in zip(trial(norms), trial(reference), strict=True):
            _expect_alike(name, found, expected)


def _expect_alike(name: str, found: Activations, expected: Activations) -> None:
    if isinstance(found, Rows) != isinstance(expected, Rows):
        raise RuntimeError(f"on a trial {name} comes in another form")
    least = TRIAL_ROWS_APART if isinstance(expected, Rows) else TRIAL_APART
    one, other = (linears.dense(each, torch.float32) for each in (found, expected))
    apart = float((one - other).norm() / other.norm()) if one.shape == other.shape else float("nan")
    if not apart <= least:
        raise RuntimeError(f"on a trial {name} is wrong (apart by {apart:.3f} of its length)")

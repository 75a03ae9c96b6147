"""The transformers of one model, loaded on one device, alone or for a share of every forward.

Knows no encoders, and imports neither diffusers nor transformers: followers start in a third of the time without.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, cast

import structlog
import torch

from kf2v.engines.wan.checkpoint import Bundle
from kf2v.engines.wan.dit import Dit
from kf2v.engines.wan.offload import Offload
from kf2v.engines.wan.ops import AttentionName, LinearKind, NormName, Ops
from kf2v.engines.wan.profiles import Options, Plan

if TYPE_CHECKING:
    from kf2v.engines.wan.parallel import Ulysses

log = structlog.get_logger(__name__)

#: told 0 … 1 of loading
OnLoad: TypeAlias = Callable[[float], None]

#: the attention that is as exact as its inputs, and no slower than it must be
EXACT: AttentionName = "cudnn"


def load_experts(
    bundle: Bundle,
    plan: Plan,
    options: Options,
    *,
    device: torch.device,
    ulysses: Ulysses | None = None,
    on_load: OnLoad = lambda _: None,
) -> tuple[Dit, ...]:
    """The transformers of ``bundle`` on one device, high-noise first.

    Raises CheckpointError, and what ``on_load`` raises.
    """
    dtype, ops = dtype_of(bundle, device), chosen_ops(plan, options, device)
    log.info("operations are chosen", device=str(device), operations=str(ops))
    layers, count = bundle.shape.layers, len(bundle.experts)
    experts: list[Dit] = []
    for index, source in enumerate(bundle.experts):
        heard = partial(_heard, on_load, index * layers, count * layers)
        offload = Offload() if plan.placement.offload else None
        experts.append(Dit(bundle.shape, source, ops, device, dtype, offload, ulysses=ulysses, on_block=heard))
    return tuple(experts)


def chosen_ops(plan: Plan, options: Options, device: torch.device) -> Ops:
    """The operations that ``options`` name, else the fastest of ``device`` that ``plan`` allows."""
    linear = options.linear if options.linear != "auto" else ("fp8_row" if plan.placement.eight_bits else "native")
    attention = options.attention if options.attention != "auto" else (EXACT if plan.profile.exact else None)
    if device.type != "cuda" and options.attention == "auto":
        attention = None
    return Ops.best(
        device,
        linear=cast(LinearKind, linear),
        attention=cast("AttentionName | None", attention),
        norm=None if options.norm == "auto" else cast(NormName, options.norm),
    )


def dtype_of(bundle: Bundle, device: torch.device) -> torch.dtype:
    """bf16, which Wan was trained in; on a CPU, weights in fp32 keep it."""
    stored = bundle.experts[0].dtype("proj_out.weight")
    return torch.float32 if device.type == "cpu" and stored is torch.float32 else torch.bfloat16


def _heard(on_load: OnLoad, before: int, total: int, index: int) -> None:
    on_load((before + index + 1) / total)

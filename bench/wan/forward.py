"""(b) One forward of the transformer at its full shape, in every variant, against plain PyTorch in the same run.

Weights are random and are drawn on the GPU, block by block, so that no checkpoint is read. The reference for
parity is the first variant, which is plain PyTorch in bf16.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from bench.wan.card import emptied, peak, settled, timed
from bench.wan.scale import Scale
from kf2v.engines.wan.dit import Context, Dit
from kf2v.engines.wan.family import TEXT_TOKENS
from kf2v.engines.wan.flops import flops
from kf2v.engines.wan.geometry import PATCH, latent_shape
from kf2v.engines.wan.limits import H100, least_seconds
from kf2v.engines.wan.ops import AttentionName, NormName, Ops
from kf2v.engines.wan.ops.linear import LinearKind
from kf2v.engines.wan.synthetic import RandomTensors
from kf2v.video import Size

#: a step in the middle of the distilled schedule
TIMESTEP = 833.3
#: kernels that are told of a forward, the longest first
TOLD = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What is asked for, in the order in which it should pay."""

    linear: LinearKind
    attention: AttentionName
    norm: NormName
    #: worth minutes at 720P too
    large: bool = True

    @property
    def name(self) -> str:
        return f"{self.linear}, {self.attention}, {self.norm}"


VARIANTS = (
    Variant(linear="native", attention="sdpa", norm="torch"),
    Variant(linear="native", attention="cudnn", norm="torch", large=False),
    Variant(linear="native", attention="cudnn", norm="triton"),
    Variant(linear="fp8_row", attention="cudnn", norm="torch", large=False),
    Variant(linear="fp8_row", attention="cudnn", norm="triton"),
    Variant(linear="fp8_row", attention="cudnn_fp8", norm="triton"),
    Variant(linear="fp8_row", attention="flash", norm="triton", large=False),
    Variant(linear="fp8_row", attention="sage", norm="triton", large=False),
    Variant(linear="fp8_tensor", attention="cudnn", norm="triton", large=False),
)
#: what a CPU can walk
WALKED = (
    Variant(linear="native", attention="sdpa", norm="torch"),
    Variant(linear="fp8_row", attention="emulated_fp8", norm="torch"),
    Variant(linear="fp8_tensor", attention="sdpa", norm="torch"),
    Variant(linear="fp8_tensor", attention="cudnn", norm="torch"),
)


def measure(scale: Scale, device: torch.device) -> dict[str, Any]:
    """Everything of this step."""
    wanted: dict[str, Tensor] = {}
    rows: list[dict[str, Any]] = []
    builds: dict[str, float] = {}
    for linear, variants in groupby(_variants(device), key=lambda variant: variant.linear):
        begin = settled(device)
        ops = Ops.best(device, linear=linear, attention="sdpa", norm="torch")
        with peak(device) as building:
            dit = Dit(scale.shape, RandomTensors(scale.shape), ops, device, torch.bfloat16)
        builds[linear] = settled(device) - begin
        weights = {"weights_gb": dit.device_bytes / 1e9, "building_peak_gb": building.get("peak_gb")}
        asked = list(variants)
        for tier, size in scale.films.items():
            latents, context = _inputs(scale, size, dit)
            for variant in asked:
                if variant.large or tier == next(iter(scale.films)):
                    row = _row(scale, tier, size, dit, variant, latents, context, wanted, device)
                    rows.append(row | weights)
            del latents, context
            emptied(device)
        del dit
        emptied(device)
    return {"forwards": rows, "seconds_to_build": builds, "one_block": list(_one_block(scale, device))}


def _one_block(scale: Scale, device: torch.device) -> Iterator[dict[str, Any]]:
    """How near one block in every variant comes to plain PyTorch in bf16, at full width; aim: cosine of 0.99 or more.

    Between the block and what is compared lies only the head, which is the same in all of them.
    """
    shape = replace(scale.shape, layers=1)
    tier, size = next(iter(scale.films.items()))
    wanted: dict[str, Tensor] = {}
    for variant in _variants(device):
        ops, row = _asked(variant, device)
        if ops is not None:
            dit = Dit(shape, RandomTensors(shape), ops, device, torch.bfloat16)
            latents, context = _inputs(scale, size, dit)
            found = dit.forward(latents, TIMESTEP, context).float()
            row |= _likeness(found, wanted.setdefault(tier, found))
        yield row


def _variants(device: torch.device) -> tuple[Variant, ...]:
    return VARIANTS if device.type == "cuda" else WALKED


def _asked(variant: Variant, device: torch.device) -> tuple[Ops | None, dict[str, Any]]:
    """The very operations of ``variant``; None, and why, where others would stand in."""
    ops = Ops.best(device, linear=variant.linear, attention=variant.attention, norm=variant.norm)
    if _called(ops) == variant.name:
        return ops, {"variant": variant.name}
    why = f"{_called(ops)} would stand in: {'; '.join(ops.passed_over)}"
    return None, {"variant": variant.name, "unusable": why}


def _called(ops: Ops) -> str:
    return f"{ops.linear}, {ops.attend.name}, {ops.norms.name}"


def _inputs(scale: Scale, size: Size, dit: Dit) -> tuple[Tensor, Context]:
    """Random latents [1,36,T,h,w], and a prompt of which every token counts."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, scale.shape.in_channels, *latent_shape(size, scale.frames))
    latents = torch.randn(shape, generator=generator).to(dit.device, dit.dtype)
    text = torch.randn(1, TEXT_TOKENS, scale.shape.text_dim, generator=generator).to(dit.device, dit.dtype)
    image = None
    if scale.shape.image_dim is not None:
        count = scale.shape.image_tokens or 0
        image = torch.randn(1, count, scale.shape.image_dim, generator=generator).to(dit.device, dit.dtype)
    return latents, dit.prepare(text, image)


def _row(
    scale: Scale,
    tier: str,
    size: Size,
    dit: Dit,
    variant: Variant,
    latents: Tensor,
    context: Context,
    wanted: dict[str, Tensor],
    device: torch.device,
) -> dict[str, Any]:
    ops, row = _asked(variant, device)
    row["tier"] = tier
    if ops is None:
        return row
    dit.ops = ops
    count = flops(scale.shape, grid(size, scale.frames))
    try:
        with peak(device) as held:
            taken = timed(lambda: dit.forward(latents, TIMESTEP, context), device)
        found = dit.forward(latents, TIMESTEP, context).float()
    except torch.OutOfMemoryError as error:
        return row | {"unusable": str(error).splitlines()[0][:200]}
    limit = least_seconds(count, linear=variant.linear, attention=variant.attention, limits=H100)
    told = taken.told(count.forward, H100["fp8"])
    told |= {"share_of_its_own_limit": limit / taken.median, "limit_ms": limit * 1e3, **held}
    if _called(dit.ops) != variant.name:
        told["unusable"] = f"{_called(dit.ops)} stood in while it was timed"
    if variant.large and tier == next(iter(scale.films)):
        told["kernels"] = _kernels(dit, latents, context, device)
    return row | told | _likeness(found, wanted.setdefault(tier, found))


def _kernels(dit: Dit, latents: Tensor, context: Context, device: torch.device) -> list[dict[str, Any]]:
    """Where one forward's time goes: the kernels (on a CPU the operations) that take longest; empty without CUPTI."""
    gpu = device.type == "cuda"
    try:
        with profile(activities=[ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU], acc_events=True) as seen:
            dit.forward(latents, TIMESTEP, context)
            settled(device)
    except RuntimeError:
        return []
    spent = {each: each.self_device_time_total if gpu else each.self_cpu_time_total for each in seen.key_averages()}
    whole = sum(spent.values()) or 1
    longest = sorted(spent.items(), key=lambda item: -item[1])[:TOLD]
    return [
        {"kernel": each.key[:120], "ms": micro / 1e3, "calls": each.count, "share": micro / whole}
        for each, micro in longest
    ]


def grid(size: Size, frames: int) -> tuple[int, int, int]:
    """Tokens by frame, row and column."""
    count, height, width = latent_shape(size, frames)
    return count, height // PATCH, width // PATCH


def _likeness(found: Tensor, wanted: Tensor) -> dict[str, Any]:
    """How near to plain PyTorch: relative distance and cosine of the velocities."""
    distance = (found - wanted).norm() / wanted.norm()
    cosine = torch.nn.functional.cosine_similarity(found.flatten(), wanted.flatten(), dim=0)
    return {"relative": distance.item(), "cosine": cosine.item()}


def table(result: dict[str, Any]) -> Iterator[str]:
    """For reading."""
    heads = f"{'ms':>9}{'TFLOP/s':>9}{'of 1500':>9}{'of its':>8}{'GB':>7}{'cosine':>9}"
    yield f"{'tier':6}{'linear, attention, norm':30}{heads}"
    for row in result["forwards"]:
        if row.get("unusable"):
            yield f"{row['tier']:6}{row['variant']:30}  not here: {row['unusable']}"
            continue
        yield (
            f"{row['tier']:6}{row['variant']:30}{row['ms']:>9.1f}{row['tflops']:>9.0f}{row['share']:>9.0%}"
            f"{row['share_of_its_own_limit']:>8.0%}{row.get('peak_gb', 0):>7.1f}{row['cosine']:>9.5f}"
        )
    for row in result["forwards"]:
        if row.get("kernels"):
            yield f"where the time goes: {row['variant']}"
            for each in row["kernels"]:
                yield f"  {each['ms']:>9.2f} ms {each['share']:>5.0%} {each['calls']:>5} times  {each['kernel'][:70]}"
    alike = ", ".join(f"{row['variant']} {row['cosine']:.5f}" for row in result["one_block"] if "cosine" in row)
    yield f"cosine of one block to the first: {alike}"
    told = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in result["seconds_to_build"].items())
    yield f"drawing and coding the weights: {told}"

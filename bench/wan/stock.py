"""(e) The same film through diffusers' stock pipeline in the same run, with the same weights and steps, and the ratio.

Diffusers gets the best of what it can be asked for without changing it: everything resident, bf16 throughout, attention
as torch chooses, a VAE in bf16 too (its documentation says fp32, which is timed beside it); its 81 frames are encoded
as they are, without retiming. Where two experts do not fit, one stands for both, which takes as long.
"""

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.wan import film
from bench.wan.card import emptied, peak, settled
from bench.wan.forward import grid
from bench.wan.scale import RATIO, Scale
from kf2v.engines.wan import rehearsal
from kf2v.engines.wan.comparison import BOTH_FIT, Stopwatch, apart
from kf2v.engines.wan.flops import flops
from kf2v.engines.wan.geometry import FPS
from kf2v.engines.wan.limits import H100
from kf2v.engines.wan.resident import Diffused
from kf2v.engines.wan.schedule import distilled
from kf2v.engines.wan.vae import pictures
from kf2v.video import Clip, Frame, Size, mp4

#: seconds that all films of one size may take in one runtime
PATIENCE = 90.0


def measure(scale: Scale, device: torch.device) -> dict[str, Any]:
    """Everything of this step: kf2v first, then, with its memory given back, diffusers."""
    rows: list[dict[str, Any]] = []
    made: dict[str, Tensor] = {}
    begin = settled(device)
    share = device.type == "cuda" and torch.cuda.get_device_properties(device).total_memory < BOTH_FIT
    model = film.own(scale, device)
    for tier, size in scale.films.items():
        told = film.film_row(scale, tier, size, model, device, patience=PATIENCE)
        rows.append({"runtime": "kf2v", "vae": "as kf2v", **told})
        if not share:
            made[tier] = model.latents(film.scene(size), Stopwatch(device), frames=scale.frames).cpu()
    operations = str(model.experts[0].ops)
    del model
    gc.collect()
    emptied(device)
    for kind, exact in {"bf16": torch.bfloat16, "fp32": torch.float32}.items():
        stock = rehearsal.diffused(
            scale.family, distilled(scale.family), sizes=scale.sizes, device=device, exact=exact, share=share
        )
        for tier, size in scale.films.items():
            if kind == "bf16" or tier == next(iter(scale.films)):
                rows.append(_row(scale, tier, size, stock, kind, made.get(tier), device))
        del stock
        gc.collect()
        emptied(device)
    return {
        "films": rows,
        "ratios": _ratios(rows),
        "one_expert_stands_for_both": share,
        "operations": operations,
        "seconds_in_all": settled(device) - begin,
    }


def _row(
    scale: Scale, tier: str, size: Size, stock: Diffused, kind: str, ours: Tensor | None, device: torch.device
) -> dict[str, Any]:
    shown = pictures(film.footage(size, scale.frames, stock.vae))
    with tempfile.TemporaryDirectory(prefix="kf2v-bench-") as folder, peak(device) as held:
        path = Path(folder) / "film.mp4"
        taken = film.repeated(lambda: _film(scale, size, stock, shown, path, device), device, patience=PATIENCE)
    told = film.summed(taken)
    steps = stock.schedule.steps
    count = flops(scale.shape, grid(size, scale.frames))
    return {
        "runtime": "diffusers",
        "vae": kind,
        "tier": tier,
        "size": f"{size.width}x{size.height}",
        **told,
        "denoise_tflops": count.total * steps / told["stages"]["denoise"] / 1e12,
        "denoise_share_of_limit": count.total * steps / H100["bf16"] / told["stages"]["denoise"],
        **_apart(scale, size, stock, ours, device),
        **held,
    }


def _apart(scale: Scale, size: Size, stock: Diffused, ours: Tensor | None, device: torch.device) -> dict[str, float]:
    """How far the latents are from kf2v's; nothing where one expert stands for both."""
    if ours is None:
        return {}
    largest, relative = apart(ours, stock.latents(film.scene(size), Stopwatch(device), frames=scale.frames))
    return {"latents_relative_to_kf2v": relative, "latents_max_relative_to_kf2v": largest}


def _film(
    scale: Scale, size: Size, stock: Diffused, shown: list[Frame], path: Path, device: torch.device
) -> dict[str, float]:
    """Seconds by stage: the whole stock pipeline, whose frames are thrown away, and x264 on as many of footage."""
    watch = Stopwatch(device)
    for _ in stock.stock.frames(film.scene(size), stock.schedule, frames=scale.frames, watch=watch):
        pass
    watch.report("x264", 0.0)
    mp4.write(path, Clip(size=size, fps=FPS, count=len(shown), frames=iter(shown)))
    return watch.seconds()


def _ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Seconds of diffusers at its best over seconds of kf2v, by tier."""
    ours = {row["tier"]: row["seconds"] for row in rows if row["runtime"] == "kf2v"}
    return {
        tier: min(row["seconds"] for row in rows if row["runtime"] != "kf2v" and row["tier"] == tier) / seconds
        for tier, seconds in ours.items()
    }


def table(result: dict[str, Any]) -> Iterator[str]:
    """For reading."""
    if result["one_expert_stands_for_both"]:
        yield "diffusers: one expert stands for both, for two in bf16 do not fit; latents are not comparable"
    for row in result["films"]:
        stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in row["stages"].items())
        apart_by = row.get("latents_relative_to_kf2v")
        told = "" if apart_by is None else f"; latents {apart_by:.1e} from kf2v's"
        yield (
            f"{row['tier']:6}{row['runtime']:10} VAE {row['vae']:8}{row['seconds']:8.2f} s ({stages})"
            f"; denoising {row['denoise_tflops']:.0f} TFLOP/s{told}"
        )
    for tier, ratio in result["ratios"].items():
        yield f"{tier}: kf2v is {ratio:.2f} times as fast as diffusers at its best (aim {RATIO})"

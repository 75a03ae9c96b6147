"""(d) Seconds per film, from two pictures and a prompt to an MP4 file, stage by stage, against what we aim at.

Everything works as in the service: umT5, the VAE and four distilled steps, then decoding in a thread, the ends brought
home, 81 frames made 150, and x264. Random weights decode to noise, which is twice the work for x264; so what is
decoded is thrown away and footage takes its place, a slow pan over the bundled pictures.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.surroundings import ROOT
from bench.wan.card import ROUNDS, Taken, peak, settled
from bench.wan.forward import grid
from bench.wan.scale import TARGETS, Scale
from kf2v.engines import Scene
from kf2v.engines.wan import rehearsal
from kf2v.engines.wan.colour import Ends
from kf2v.engines.wan.comparison import Stopwatch
from kf2v.engines.wan.film import developed
from kf2v.engines.wan.flops import flops
from kf2v.engines.wan.geometry import FPS, latent_shape
from kf2v.engines.wan.limits import H100, least_seconds
from kf2v.engines.wan.ops import Ops
from kf2v.engines.wan.resident import Native
from kf2v.engines.wan.schedule import distilled
from kf2v.engines.wan.vae import Vae, chunk_of
from kf2v.video import Clip, Size, mp4
from kf2v.video.frames import fit
from kf2v.video.retime import retime

PAIR = ROOT / "examples" / "pair"
PROMPT = "一只猫沿着石墙慢慢走过，镜头缓缓向右移动，阳光在树叶间闪烁，风吹动草地。"
#: seconds that all films of one size may take: two that warm up and five that count, fewer where they are longer
PATIENCE = 200.0


_COUNT = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reel:
    """A VAE whose work is done and thrown away, and what is shown instead: [1,3,frames,H,W] in [-1,1]."""

    vae: Vae
    footage: Tensor

    def decode(self, latents: Tensor) -> Iterator[Tensor]:
        at = 0
        for chunk in self.vae.decode(latents):
            count = chunk.shape[2]
            # The same stream: what is copied to the host next waits for the decoding just asked for.
            yield self.footage[:, :, at : at + count]
            at += count


def measure(scale: Scale, device: torch.device) -> dict[str, Any]:
    """Everything of this step."""
    begin = settled(device)
    model = own(scale, device)
    building = settled(device) - begin
    rows = [
        film_row(scale, tier, size, model, device) | {"alone": _alone(scale, size, model, device)}
        for tier, size in scale.films.items()
    ]
    return {"films": rows, "seconds_to_build": building, "operations": str(model.experts[0].ops)}


def own(scale: Scale, device: torch.device) -> Native:
    """The engine's model with the fastest operations of this card."""
    schedule = distilled(scale.family)
    return rehearsal.native(scale.family, schedule, sizes=scale.sizes, ops=Ops.best(device), device=device)


def film_row(
    scale: Scale, tier: str, size: Size, model: Native, device: torch.device, *, patience: float = PATIENCE
) -> dict[str, Any]:
    """One size: films, and what they come to."""
    given, reel = scene(size), Reel(vae=model.vae, footage=footage(size, scale.frames, model.vae))
    with tempfile.TemporaryDirectory(prefix="kf2v-bench-") as folder, peak(device) as held:
        path = Path(folder) / "film.mp4"
        taken = repeated(lambda: _film(scale, given, model, reel, path, device), device, patience=patience)
        facts = mp4.facts(path)
    count = flops(scale.shape, grid(size, scale.frames))
    ops, steps = model.experts[0].ops, model.schedule.steps
    least = least_seconds(count, linear=ops.linear, attention=ops.attend.name, limits=H100) * steps
    return {
        "tier": tier,
        "size": f"{size.width}x{size.height}",
        **summed(taken),
        "denoise_tflops": count.forward * steps / summed(taken)["stages"]["denoise"] / 1e12,
        "denoise_share_of_limit": least / summed(taken)["stages"]["denoise"],
        "target": TARGETS.get(tier),
        "frames_in_file": facts.frames,
        **held,
    }


def _film(scale: Scale, given: Scene, model: Native, reel: Reel, path: Path, device: torch.device) -> dict[str, float]:
    """Seconds by stage of one film, whose prompt was not read before: the engine remembers those that were."""
    watch = Stopwatch(device)
    latents = model.latents(replace(given, prompt=f"{given.prompt} {next(_COUNT)}"), watch, frames=scale.frames)
    watch.report("decode to file", 0.0)
    mp4.write(path, retime(clip(scale, given, reel, latents)))
    return watch.seconds()


def clip(scale: Scale, given: Scene, reel: Reel, latents: Tensor) -> Clip:
    """The frames as the engine hands them on."""
    size = Size(width=given.first.shape[1], height=given.first.shape[0])
    decoded = developed(reel, latents, size, on_frame=lambda _: None)  # type: ignore[arg-type]
    ends = Ends(given.first, given.last, frames=scale.frames)
    return Clip(size=size, fps=FPS, count=scale.frames, frames=ends.correct(decoded))


def _alone(scale: Scale, size: Size, model: Native, device: torch.device) -> dict[str, float]:
    """What the last stage is made of, each part by itself, so that it shows what they hide of each other."""
    given, reel = scene(size), Reel(vae=model.vae, footage=footage(size, scale.frames, model.vae))
    latents = torch.randn((1, 16, *latent_shape(size, scale.frames)), device=device)
    frames = list(developed(reel, latents, size, on_frame=lambda _: None))  # type: ignore[arg-type]

    def kept() -> Clip:
        return Clip(size=size, fps=FPS, count=len(frames), frames=iter(frames))

    retimed = list(retime(kept()).frames)
    with tempfile.TemporaryDirectory(prefix="kf2v-bench-") as folder:
        path = Path(folder) / "film.mp4"
        whole = Clip(size=size, fps=30, count=len(retimed), frames=iter(retimed))
        return {
            "decode": _seconds(lambda: [None for _ in model.vae.decode(latents)], device),
            "decode, to the host": _seconds(
                lambda: [None for _ in developed(reel, latents, size, on_frame=lambda _: None)],  # type: ignore[arg-type]
                device,
            ),
            "ends": _seconds(
                lambda: list(Ends(given.first, given.last, frames=scale.frames).correct(iter(frames))), device
            ),
            "retime": _seconds(lambda: list(retime(kept()).frames), device),
            "x264": _seconds(lambda: mp4.write(path, whole), device),
        }


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    begin = settled(device)
    work()
    return settled(device) - begin


def repeated(
    work: Callable[[], dict[str, float]], device: torch.device, *, patience: float = PATIENCE
) -> list[dict[str, float]]:
    """Stages of each film that counts; on a CPU one, cold. In ``patience`` seconds, as far as it can be."""
    if device.type != "cuda":
        return [work()]
    first = sum(work().values())
    runs = int(patience / first) - 1
    if runs > ROUNDS:
        work()
    return [work() for _ in range(min(ROUNDS, max(1, runs)))]


def summed(taken: list[dict[str, float]]) -> dict[str, Any]:
    """Medians by stage, and of the whole films."""
    whole = Taken.of([sum(stages.values()) for stages in taken])
    return {
        "seconds": whole.median,
        "seconds_least": whole.least,
        "seconds_most": whole.most,
        "rounds": whole.rounds,
        "stages": {stage: Taken.of([each[stage] for each in taken]).median for stage in taken[0]},
    }


def scene(size: Size) -> Scene:
    """The bundled pictures at ``size``."""
    from PIL import Image

    first, last = (np.asarray(Image.open(PAIR / name).convert("RGB")) for name in ("first.jpg", "last.jpg"))
    return Scene(first=fit(first, size), last=fit(last, size), prompt=PROMPT, negative_prompt="", seed=1)


def footage(size: Size, frames: int, vae: Vae) -> Tensor:
    """[1,3,frames,H,W] in [-1,1] on the VAE's device: both pictures pan by a pixel a frame and dissolve."""
    given = scene(Size(width=size.width + 2 * frames, height=size.height))
    first, last = (chunk_of(frame)[:, :, 0].to(vae.device, vae.dtype) for frame in (given.first, given.last))
    shown: list[Tensor] = []
    for index in range(frames):
        part = slice(index, index + size.width)
        share = index / max(1, frames - 1)
        shown.append(first[..., part] * (1 - share) + last[..., part] * share)  # [1,3,H,W]
    return torch.stack(shown, dim=2)


def table(result: dict[str, Any]) -> Iterator[str]:
    """For reading."""
    yield f"operations: {result['operations']}; drawing and coding the weights took {result['seconds_to_build']:.0f} s"
    for row in result["films"]:
        aim = (
            ""
            if row["target"] is None
            else f", aim {row['target']:.0f} s, peer on H200 (published) {PEER[row['tier']]} s"
        )
        yield (
            f"{row['tier']:6}{row['size']:11}{row['seconds']:8.2f} s a film "
            f"({row['seconds_least']:.2f} to {row['seconds_most']:.2f} of {row['rounds']}){aim}"
        )
        yield "      " + ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in row["stages"].items())
        yield "      alone: " + ", ".join(f"{part} {seconds:.2f} s" for part, seconds in row["alone"].items())
        yield (
            f"      denoising {row['denoise_tflops']:.0f} TFLOP/s, {row['denoise_share_of_limit']:.0%} of its limit"
            + (f", {row['peak_gb']:.1f} GB at most" if "peak_gb" in row else "")
        )


#: seconds that LightX2V publishes for Wan2.1-I2V-14B in four fp8 steps on one H200 (its README)
PEER = {"480P": 14, "720P": 44}

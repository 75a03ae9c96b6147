"""One scene through kf2v's own runtime and, to compare, through diffusers': seconds by stage, and how far they differ.

Knows no commands and no files. The limit that speeds are shares of is measured on the same card, as what a large
product of random matrices reaches.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from kf2v.engines import Scene
from kf2v.engines.wan.checkpoint import Bundle
from kf2v.engines.wan.dit import flops
from kf2v.engines.wan.family import DitShape, Family
from kf2v.engines.wan.film import developed
from kf2v.engines.wan.geometry import PATCH
from kf2v.engines.wan.guidance import forwards
from kf2v.engines.wan.limits import least_seconds, measured, now
from kf2v.engines.wan.profiles import Options, Plan
from kf2v.engines.wan.resident import RUNTIMES, Native, Resident, guided
from kf2v.engines.wan.schedule import Schedule, schedule_of
from kf2v.video import Frame, Size

#: loads a runtime by its name in ``RUNTIMES``
Load = Callable[[str], Resident]

#: the stages of a film as watches hear of them
STAGES = ("load", "encode", "denoise", "decode")


class Stopwatch:
    """A watch that notes when each phase is first heard of, once the device has come so far."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._begun: dict[str, float] = {}
        self._previews = 0

    def report(self, phase: str, done: float) -> None:
        del done
        if phase not in self._begun:
            self._begun[phase] = now(self._device)

    def show(self, preview: Frame) -> None:
        del preview
        self._previews += 1

    def seconds(self) -> dict[str, float]:
        """By phase, in order, until the next one began; the last one until now."""
        ends = [*list(self._begun.values())[1:], now(self._device)]
        return {phase: end - begin for (phase, begin), end in zip(self._begun.items(), ends, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How one runtime did."""

    runtime: str
    #: seconds by stage
    stages: Mapping[str, float]
    #: all stages but ``load``
    seconds: float
    #: floating-point operations of denoising
    flops: float
    #: in TFLOP/s
    speed: float
    #: of the time that denoising took, what it cannot be faster than on this card
    share_of_limit: float
    #: gigabytes of the GPU's memory at most; None on a CPU
    peak_gb: float | None
    #: what computed, for people
    operations: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Both, and what follows."""

    size: Size
    frames: int
    schedule: str
    steps: int
    #: FLOP/s by kind of number
    limits: Mapping[str, float]
    runs: tuple[Measured, ...]
    #: seconds of the second over those of the first; None with one run
    ratio: float | None
    #: the largest difference of latents over the largest latent; None with one run
    max_relative: float | None
    #: the norm of the difference over the norm of the latents; None with one run
    relative: float | None


def compared(
    load: Load,
    scene: Scene,
    *,
    family: Family,
    shape: DitShape,
    runtimes: tuple[str, ...],
    frames: int,
    device: torch.device,
    warm: bool,
    say: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """``scene`` through ``runtimes``, one after the other, each alone in memory; ``warm`` makes a film before each.

    ``say`` hears what is being done.
    """
    limits = measured(device)
    runs: list[Measured] = []
    latents: list[Tensor] = []
    schedule: Schedule | None = None
    for runtime in runtimes:
        say(f"{runtime}: loading")
        begin = now(device)
        resident = load(runtime)
        loading = now(device) - begin
        schedule = _schedule(resident)
        if warm:
            say(f"{runtime}: a film to warm up")
            _filmed(resident, scene, frames, device)
        say(f"{runtime}: the film that counts")
        stages, peak_gb, made = _filmed(resident, scene, frames, device)
        latents.append(made)
        runs.append(_measured(runtime, resident, {"load": loading, **stages}, peak_gb, made, family, shape, limits))
        del resident
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    assert schedule is not None
    both = len(runs) == 2
    return Comparison(
        size=Size(width=scene.first.shape[1], height=scene.first.shape[0]),
        frames=frames,
        schedule=schedule.name,
        steps=schedule.steps,
        limits=limits,
        runs=tuple(runs),
        ratio=runs[1].seconds / runs[0].seconds if both else None,
        max_relative=apart(latents[0], latents[1])[0] if both else None,
        relative=apart(latents[0], latents[1])[1] if both else None,
    )


def owned(bundle: Bundle, plan: Plan, options: Options, device: torch.device, *, steps: int | None = None) -> Load:
    """Loads the weights of ``bundle``; ``steps`` changes how many are made with weights that are not distilled."""
    schedule = schedule_of(bundle.family, distilled_weights=bundle.distilled, steps=steps)

    def load(runtime: str) -> Resident:
        resident = RUNTIMES[runtime].load(bundle, plan, options, device=device, on_load=lambda _: None)
        return replace(resident, schedule=schedule)

    return load


def pictures(size: Size, *, seed: int = 0) -> tuple[Frame, Frame]:
    """Two pictures with large shapes and fine grain, the second as the first moved aside."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0 : size.height, 0 : size.width].astype(np.float32)
    waves = generator.uniform(0.5, 6, (3, 4)) * 2 * np.pi / np.array([size.width, size.height] * 2)
    grain = generator.normal(0, 4, (size.height, size.width, 1))

    def seen(moved: float) -> Frame:
        places = columns + moved
        shades = [np.sin(places * a + rows * b) + np.cos(places * c - rows * d) for a, b, c, d in waves]
        return np.clip(127 + 55 * np.stack(shades, axis=-1) + grain, 0, 255).astype(np.uint8)

    return seen(0.0), seen(size.width / 12)


def apart(one: Tensor, other: Tensor) -> tuple[float, float]:
    """How far two tensors of one shape are apart: the largest difference over the largest number, and by norms."""
    one, other = one.double().cpu(), other.double().cpu()
    difference = one - other
    return (difference.abs().max() / other.abs().max()).item(), (difference.norm() / other.norm()).item()


def _filmed(
    resident: Resident, scene: Scene, frames: int, device: torch.device
) -> tuple[dict[str, float], float | None, Tensor]:
    """Seconds by stage, gigabytes at most, and the latents on the CPU. Frames are decoded and thrown away."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    watch = Stopwatch(device)
    latents = resident.latents(scene, watch, frames=frames)
    watch.report("decode", 0.0)
    size = Size(width=scene.first.shape[1], height=scene.first.shape[0])
    for _ in developed(resident.vae, latents, size, on_frame=lambda _: None):
        pass
    stages = watch.seconds()
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
    return stages, peak, latents.cpu()


def _measured(
    runtime: str,
    resident: Resident,
    stages: Mapping[str, float],
    peak_gb: float | None,
    latents: Tensor,
    family: Family,
    shape: DitShape,
    limits: Mapping[str, float],
) -> Measured:
    schedule = _schedule(resident)
    count = flops(shape, grid(latents))
    passes = _passes(family, schedule)
    own = isinstance(resident, Native)
    if own:
        ops = resident.experts[0].ops
        kinds, operations = {"linear": ops.linear, "attention": ops.attend.name}, str(ops)
    else:
        kinds, operations = {"linear": "native", "attention": "sdpa"}, "diffusers' own"
    work = (count.forward if own else count.total) * passes
    return Measured(
        runtime=runtime,
        stages=dict(stages),
        seconds=sum(seconds for stage, seconds in stages.items() if stage != "load"),
        flops=work,
        speed=work / stages["denoise"] / 1e12,
        share_of_limit=least_seconds(count, **kinds, limits=limits) * passes / stages["denoise"],
        peak_gb=peak_gb,
        operations=operations,
    )


def _passes(family: Family, schedule: Schedule) -> int:
    """Forwards of one film without a negative prompt of its own."""
    guidance, _ = guided(family, schedule, "")
    levels = zip(range(schedule.steps), schedule.sigmas, strict=False)
    return sum(forwards(guidance, scale=schedule.scale(index), sigma=sigma) for index, sigma in levels)


def grid(latents: Tensor) -> tuple[int, int, int]:
    """Tokens by frame, row and column of latents [1,16,T,h,w]."""
    count, height, width = latents.shape[2:]
    return count, height // PATCH, width // PATCH


def _schedule(resident: Resident) -> Schedule:
    schedule = getattr(resident, "schedule", None)
    assert isinstance(schedule, Schedule)
    return schedule

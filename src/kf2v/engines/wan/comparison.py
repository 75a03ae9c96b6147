"""One scene through kf2v's own runtime and, to compare, through diffusers': seconds by stage, and how far they differ.

Knows no commands and no files. The limit that speeds are shares of is measured on the same card, as what a large
product of random matrices reaches.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import diffusers
import numpy as np
import torch
from torch import Tensor

from kf2v.engines import Scene
from kf2v.engines.wan import EIGHT_BITS, rehearsal
from kf2v.engines.wan.checkpoint import open_bundle
from kf2v.engines.wan.experts import chosen_ops
from kf2v.engines.wan.family import DitShape, Family
from kf2v.engines.wan.film import developed
from kf2v.engines.wan.flops import Flops, flops
from kf2v.engines.wan.geometry import FRAMES, PATCH, latent_shape
from kf2v.engines.wan.guidance import forwards
from kf2v.engines.wan.limits import least_seconds, measured, now
from kf2v.engines.wan.profiles import Options, Plan, choose
from kf2v.engines.wan.resident import RUNTIMES, Native, Resident, guided
from kf2v.engines.wan.schedule import Schedule, schedule_of
from kf2v.engines.wan.synthetic import FULL, TINY
from kf2v.engines.wan.weights import Weights
from kf2v.video import Frame, Size

#: loads a runtime by its name in ``RUNTIMES``
Load = Callable[[str], Resident]

#: bytes that two experts in bf16, umT5, VAE and activations at 720P come to, computed
BOTH_FIT = 90e9


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

    def note(self, text: str) -> None:
        del text

    def show(self, preview: Frame) -> None:
        del preview
        self._previews += 1

    def seconds(self) -> dict[str, float]:
        """By phase, in order, until the next one began; the last one until now."""
        ends = [*list(self._begun.values())[1:], now(self._device)]
        return {phase: end - begin for (phase, begin), end in zip(self._begun.items(), ends, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """What is made by all runtimes."""

    size: Size
    #: 4k + 1
    frames: int = FRAMES
    prompt: str = ""
    seed: int = 0
    #: make one before the one that counts
    warm: bool = True

    @property
    def scene(self) -> Scene:
        """Two pictures drawn for it."""
        first, last = pictures(self.size)
        return Scene(first=first, last=last, prompt=self.prompt, negative_prompt="", seed=self.seed)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens by frame, row and column. Raises ValueError for sizes and numbers of frames that cannot be made."""
        count, height, width = latent_shape(self.size, self.frames)
        return count, height // PATCH, width // PATCH


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How one runtime did."""

    runtime: str
    #: what computed, for people
    operations: str
    #: seconds: load, encode, denoise, decode
    stages: Mapping[str, float]
    #: of all stages but ``load``
    seconds: float
    #: floating-point operations of denoising, in units of 10¹²
    tflop: float
    #: those per second
    tflops: float
    #: what denoising could not take less time than on this device, over what it took
    share_of_limit: float
    #: of the GPU's memory, at most; None on a CPU
    peak_gb: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One or two runtimes, and what follows."""

    family: str
    device: str
    torch: str
    diffusers: str
    width: int
    height: int
    frames: int
    schedule: str
    #: of the transformer, in one film
    forwards: int
    #: TFLOP/s of a large product, by kind of number, measured on this device in this run
    limits: Mapping[str, float]
    runs: tuple[Measured, ...]
    #: seconds of the second over those of the first; None with one run, like those below
    ratio: float | None
    #: the largest difference of latents over the largest of the second's; None too where weights were not the same
    max_relative: float | None
    #: the norm of the difference over the norm of the second's
    relative: float | None


def compared(
    load: Load,
    family: Family,
    shape: DitShape,
    schedule: Schedule,
    film: Film,
    *,
    runtimes: tuple[str, ...],
    device: torch.device,
    say: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """``film`` through one or two runtimes, one after the other, each alone in memory; ``say`` hears what is done."""
    count = flops(shape, film.grid)
    passes = _passes(family, schedule)
    limits = measured(device)
    runs: list[Measured] = []
    latents: list[Tensor] = []
    for runtime in runtimes:
        say(f"{runtime}: loading")
        begin = now(device)
        resident = load(runtime)
        loading = now(device) - begin
        if film.warm:
            say(f"{runtime}: a film to warm up")
            _filmed(resident, film, device)
        say(f"{runtime}: the film that counts")
        stages, peak_gb, made = _filmed(resident, film, device)
        latents.append(made)
        runs.append(_measured(runtime, resident, {"load": loading, **stages}, peak_gb, count, passes, limits))
        del resident
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    differences = apart(latents[0], latents[1]) if len(runs) == 2 else (None, None)
    return Comparison(
        family=family.id,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        torch=torch.__version__,
        diffusers=diffusers.__version__,
        width=film.size.width,
        height=film.size.height,
        frames=film.frames,
        schedule=schedule.name,
        forwards=passes,
        limits={kind: rate / 1e12 for kind, rate in limits.items()},
        runs=tuple(runs),
        ratio=runs[1].seconds / runs[0].seconds if len(runs) == 2 else None,
        max_relative=differences[0],
        relative=differences[1],
    )


def with_weights(
    weights: Weights,
    options: Options,
    film: Film,
    *,
    runtimes: tuple[str, ...],
    steps: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """A film with the owner's own ``weights``; ``steps`` changes how many are made with weights not distilled.

    Raises CheckpointError for weights that cannot be used.
    """
    bundle = open_bundle(weights)
    device = _device(options)
    plan = _planned(bundle.family, options, device, distilled=bundle.distilled)
    say(plan.sentence)
    schedule = schedule_of(bundle.family, distilled_weights=bundle.distilled, steps=steps)

    def load(runtime: str) -> Resident:
        resident = RUNTIMES[runtime].load(bundle, plan, options, device=device, on_load=lambda _: None)
        return replace(resident, schedule=schedule)

    return compared(load, bundle.family, bundle.shape, schedule, film, runtimes=runtimes, device=device, say=say)


def with_random(
    family: Family,
    options: Options,
    film: Film,
    *,
    tiny: bool,
    runtimes: tuple[str, ...],
    distilled_weights: bool = True,
    steps: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """A film with random weights of the real sizes, or of tiny ones, in as many steps as weights of the family take.

    ``steps`` changes how many those are where ``distilled_weights`` is False. For speed and parity.

    Where a card does not hold both experts in bf16, diffusers has one stand for both, and latents are not compared.
    """
    device = _device(options)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    schedule = schedule_of(family, distilled_weights=distilled_weights, steps=steps)
    sizes = TINY if tiny else FULL
    plan = _planned(family, options, device, distilled=distilled_weights)
    share = not tiny and family.experts == 2 and (_memory(device) or 0) < BOTH_FIT
    say(f"random weights, {plan.sentence}")

    def load(runtime: str) -> Resident:
        if runtime == "native":
            ops = chosen_ops(plan, options, device)
            return rehearsal.native(family, schedule, sizes=sizes, ops=ops, device=device, dtype=dtype)
        return rehearsal.diffused(family, schedule, sizes=sizes, device=device, dtype=dtype, share=share)

    found = compared(load, family, sizes.shape(family), schedule, film, runtimes=runtimes, device=device, say=say)
    return replace(found, max_relative=None, relative=None) if share else found


def _device(options: Options) -> torch.device:
    """As the engine's first worker would choose."""
    return torch.device("cuda", 0) if options.device == "auto" else torch.device(options.device)


def _planned(family: Family, options: Options, device: torch.device, *, distilled: bool) -> Plan:
    """As the engine would plan it."""
    able = (
        device.type == "cuda" and torch.version.hip is None and torch.cuda.get_device_capability(device) >= EIGHT_BITS
    )
    eight_bits = options.linear.startswith("fp8") if options.linear != "auto" else None if able else False
    return choose(_memory(device), family, distilled=distilled, wanted=options.profile, eight_bits=eight_bits)


def _memory(device: torch.device) -> int | None:
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None


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


def _filmed(resident: Resident, film: Film, device: torch.device) -> tuple[dict[str, float], float | None, Tensor]:
    """Seconds by stage, gigabytes at most, and the latents on the CPU. Frames are decoded and thrown away."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    watch = Stopwatch(device)
    latents = resident.latents(film.scene, watch, frames=film.frames)
    watch.report("decode", 0.0)
    for _ in developed(resident.vae, latents, film.size, on_frame=lambda _: None):
        pass
    stages = watch.seconds()
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
    return stages, peak, latents.cpu()


def _measured(
    runtime: str,
    resident: Resident,
    stages: Mapping[str, float],
    peak_gb: float | None,
    count: Flops,
    passes: int,
    limits: Mapping[str, float],
) -> Measured:
    if isinstance(resident, Native):
        ops = resident.experts[0].ops
        work, operations = count.forward * passes, str(ops)
        least = least_seconds(count, linear=ops.linear, attention=ops.attend.name, limits=limits)
    else:
        work, operations = count.total * passes, "diffusers' own"
        least = least_seconds(count, linear="native", attention="sdpa", limits=limits)
    return Measured(
        runtime=runtime,
        operations=operations,
        stages=dict(stages),
        seconds=sum(seconds for stage, seconds in stages.items() if stage != "load"),
        tflop=work / 1e12,
        tflops=work / stages["denoise"] / 1e12,
        share_of_limit=least * passes / stages["denoise"],
        peak_gb=peak_gb,
    )


def _passes(family: Family, schedule: Schedule) -> int:
    """Forwards of one film without a negative prompt of its own."""
    guidance, _ = guided(family, schedule, "")
    levels = zip(range(schedule.steps), schedule.sigmas, strict=False)
    return sum(forwards(guidance, scale=schedule.scale(index), sigma=sigma) for index, sigma in levels)

"""The denoising loop: from noise to latents, step by step, each by the expert whose turn it is.

Knows no prompt and no picture: they come as prepared contexts and a condition. Whoever calls sees every step and
every block, and may raise to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from kf2v.engines.wan.dit import Context
from kf2v.engines.wan.guidance import Guidance, Nag, forwards
from kf2v.engines.wan.schedule import Schedule


class Expert(Protocol):
    """What denoises; ``dit.Dit`` is one."""

    dtype: torch.dtype
    device: torch.device

    @property
    def blocks(self) -> int:
        """How often ``on_block`` is told in a forward."""
        ...

    def forward(
        self, latents: Tensor, timestep: float, context: Context, on_block: Callable[[int], None]
    ) -> Tensor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """What one expert is told; ``negative`` None where the guidance does not ask for it."""

    positive: Context
    negative: Context | None = None


#: (index of the step just done, what the video would be if the velocity stayed: clean latents [1, 16, T, h, w] fp32)
OnStep = Callable[[int, Tensor], None]
#: 0 … 1 of the whole loop
OnBlock = Callable[[float], None]


def initial_noise(frames: int, rows: int, columns: int, *, seed: int, channels: int = 16) -> Tensor:
    """[1, channels, T, h, w] in fp32 on the CPU, the same on every machine (and as diffusers draws it)."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return torch.randn(1, channels, frames, rows, columns, generator=generator, dtype=torch.float32)


@torch.no_grad()
def denoise(
    experts: Sequence[Expert],
    schedule: Schedule,
    guidance: Guidance,
    noise: Tensor,
    condition: Tensor,
    contexts: Sequence[Prompts],
    on_step: OnStep = lambda *_: None,
    on_block: OnBlock = lambda _: None,
) -> Tensor:
    """noise [1, 16, T, h, w] and condition [1, 20, T, h, w] (4 mask, 16 latent) → latents [1, 16, T, h, w] in fp32.

    ``experts`` and ``contexts`` are in the order of the schedule: high-noise (or only), low-noise. Raises ValueError
    when an expert or a context that the schedule or the guidance asks for is missing.
    """
    count = 1 + max(schedule.expert(index) for index in range(schedule.steps))
    if min(len(experts), len(contexts)) < count:
        raise ValueError(f"{schedule.name} needs {count} experts with a context each")
    guided = [_guided(prompts, schedule, guidance, expert) for expert, prompts in enumerate(contexts[:count])]
    device = experts[0].device
    latents = noise.to(device, torch.float32)
    condition = condition.to(device, torch.float32)
    progress = _Progress(experts, schedule, guidance, on_block)
    solver = schedule.start()
    for index, (t, sigma) in enumerate(zip(schedule.timesteps, schedule.sigmas, strict=False)):
        which = schedule.expert(index)
        expert, prompts = experts[which], guided[which]
        seen = torch.cat([latents, condition], dim=1).to(expert.dtype)  # [1, 36, T, h, w]
        velocity = expert.forward(seen, t, prompts.positive, progress.step).float()
        if forwards(guidance, scale=schedule.scale(index), sigma=sigma) == 2:
            assert prompts.negative is not None
            away = expert.forward(seen, t, prompts.negative, progress.step).float()
            velocity = away + schedule.scale(index) * (velocity - away)
        on_step(index, latents - sigma * velocity)
        latents = solver.step(index, velocity, latents)
    return latents


def _guided(prompts: Prompts, schedule: Schedule, guidance: Guidance, expert: int) -> Prompts:
    """The contexts as the guidance wants them."""
    steps = [index for index in range(schedule.steps) if schedule.expert(index) == expert]
    asked = isinstance(guidance, Nag) or any(
        forwards(guidance, scale=schedule.scale(index), sigma=schedule.sigmas[index]) == 2 for index in steps
    )
    if not asked:
        return prompts
    if prompts.negative is None:
        raise ValueError(f"{type(guidance).__name__} needs a negative context for expert {expert}")
    if isinstance(guidance, Nag):
        return Prompts(positive=prompts.positive.avoiding(prompts.negative, guidance))
    return prompts


class _Progress:
    """Turns blocks done into a share of the whole loop."""

    def __init__(self, experts: Sequence[Expert], schedule: Schedule, guidance: Guidance, on_block: OnBlock) -> None:
        self._total = sum(
            experts[schedule.expert(index)].blocks
            * forwards(guidance, scale=schedule.scale(index), sigma=schedule.sigmas[index])
            for index in range(schedule.steps)
        )
        self._done = 0
        self._on_block = on_block

    def step(self, index: int) -> None:  # noqa: ARG002
        self._done += 1
        self._on_block(self._done / self._total)

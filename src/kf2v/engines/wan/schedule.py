"""When the noise goes: the noise levels of every step, who guides them, and which expert works on them.

Knows no checkpoint: a checkpoint's own ``flow_shift`` is never asked, for diffusers' converter wrote 3.0 into I2V
weights that want 5. The tables need no torch; only stepping does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, cast

from kf2v.engines.wan.family import FAMILIES, Family

if TYPE_CHECKING:
    from torch import Tensor

#: t = 1000·σ in every Wan model
TRAIN_STEPS = 1000
#: UniPC takes the logarithm of 1 − σ, so that σ = 1 is moved by as much as diffusers moves it
UNIPC_FIRST_SIGMA = 1 - 1e-6

SolverName: TypeAlias = Literal["unipc", "euler"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByTime:
    """The high-noise expert works while t ≥ 1000·boundary (as Wan trained A14B)."""

    boundary: float

    def high(self, index: int, timestep: float) -> bool:  # noqa: ARG002
        return timestep >= self.boundary * TRAIN_STEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class ByIndex:
    """The high-noise expert works on the first steps (as LightX2V distilled A14B: two of four)."""

    steps: int

    def high(self, index: int, timestep: float) -> bool:  # noqa: ARG002
        return index < self.steps


Switch: TypeAlias = ByTime | ByIndex


class Solver(Protocol):
    """Takes one video from noise to latents; made for one run and used for no other."""

    def step(self, index: int, velocity: Tensor, latents: Tensor) -> Tensor:
        """The latents after step ``index``; both tensors fp32 of one shape, ``velocity`` being noise minus clean."""
        ...


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The noise levels of one run, and what belongs to each of them."""

    #: a word for logs
    name: str
    #: noise levels before the shift, falling, without the final zero
    knots: tuple[float, ...]
    #: σ' = s·σ / (1 + (s − 1)·σ); 1 leaves the knots as they are
    shift: float
    solver: SolverName
    #: scale of classifier-free guidance for the high-noise (or only) and the low-noise expert; 1 is none
    guidance: tuple[float, float]
    #: None with one expert
    switch: Switch | None

    def __post_init__(self) -> None:
        if not self.knots or not all(a > b > 0 for a, b in zip(self.knots, self.knots[1:], strict=False)):
            raise ValueError(f"noise levels must fall and stay above 0, not {self.knots}")
        if self.knots[0] > 1 or self.knots[-1] <= 0 or self.shift <= 0:
            raise ValueError(f"noise levels lie in 0 … 1 and a shift above 0; got {self.knots[0]} and {self.shift}")

    @property
    def steps(self) -> int:
        return len(self.knots)

    @cached_property
    def sigmas(self) -> tuple[float, ...]:
        """The noise level at which each step begins, and the 0 at which the last one ends."""
        levels = [self.shift * knot / (1 + (self.shift - 1) * knot) for knot in self.knots]
        if self.solver == "unipc" and math.isclose(levels[0], 1, abs_tol=1e-6):
            levels[0] = UNIPC_FIRST_SIGMA
        return (*levels, 0.0)

    @cached_property
    def timesteps(self) -> tuple[float, ...]:
        """What the transformer is told for each step: 1000·σ, whole numbers for UniPC as in Wan and diffusers."""
        times = [TRAIN_STEPS * sigma for sigma in self.sigmas[:-1]]
        return tuple(float(int(t)) for t in times) if self.solver == "unipc" else tuple(times)

    def expert(self, index: int) -> int:
        """0 for the high-noise (or only) expert, 1 for the low-noise one."""
        return 0 if self.switch is None or self.switch.high(index, self.timesteps[index]) else 1

    def scale(self, index: int) -> float:
        """The guidance scale of this step."""
        return self.guidance[self.expert(index)]

    @property
    def high_noise_steps(self) -> int:
        return sum(self.expert(index) == 0 for index in range(self.steps))

    @property
    def distilled(self) -> bool:
        """Whether the weights were trained to do without classifier-free guidance."""
        return self.solver == "euler"

    def with_shift(self, shift: float) -> Schedule:
        return replace(self, shift=shift)

    def with_guidance(self, high: float, low: float | None = None) -> Schedule:
        return replace(self, guidance=(high, high if low is None else low))

    def start(self) -> Solver:
        """A solver at the beginning of this schedule."""
        return _UniPC(self) if self.solver == "unipc" else _Euler(self)


def quality(family: Family, *, steps: int | None = None) -> Schedule:
    """The schedule Wan publishes for the undistilled weights of ``family`` (``generate.py``, ``wan/configs``)."""
    count = steps or family.steps
    first, last = 1.0, 1 / TRAIN_STEPS
    return Schedule(
        name=f"unipc-{count}",
        knots=tuple(first + (last - first) * index / count for index in range(count)),
        shift=family.shift,
        solver="unipc",
        guidance=family.guidance,
        switch=None if family.boundary is None else ByTime(boundary=family.boundary),
    )


def distilled(family: Family) -> Schedule:
    """LightX2V's four steps: trained at 1000, 750, 500, 250, shifted by 5, no guidance, experts two steps each."""
    return Schedule(
        name="distilled-4",
        knots=(1.0, 0.75, 0.5, 0.25),
        shift=5.0,
        solver="euler",
        guidance=(1.0, 1.0),
        switch=ByIndex(steps=2) if family.experts == 2 else None,
    )


def turbo(family: Family) -> Schedule:
    """TurboDiffusion's rCM steps as an ODE: angles atan(200), 1.5, 1.4, 1.0 on the circle, σ = sin / (sin + cos)."""
    angles = (math.atan(200), 1.5, 1.4, 1.0)
    return Schedule(
        name="turbo-4",
        knots=tuple(math.sin(a) / (math.sin(a) + math.cos(a)) for a in angles),
        shift=1.0,
        solver="euler",
        guidance=(1.0, 1.0),
        switch=ByTime(boundary=0.9) if family.experts == 2 else None,
    )


def schedule_of(family: str | Family, *, distilled_weights: bool, steps: int | None = None) -> Schedule:
    """The row for a family and its kind of weights; ``steps`` counts only for undistilled ones."""
    row = FAMILIES[family] if isinstance(family, str) else family
    return distilled(row) if distilled_weights else quality(row, steps=steps)


class _Euler:
    """x += (σ_{i+1} − σ_i)·v."""

    def __init__(self, schedule: Schedule) -> None:
        self._sigmas = schedule.sigmas

    def step(self, index: int, velocity: Tensor, latents: Tensor) -> Tensor:
        return latents + (self._sigmas[index + 1] - self._sigmas[index]) * velocity


class _UniPC:
    """Diffusers' order-2 UniPC, told our noise levels."""

    def __init__(self, schedule: Schedule) -> None:
        import numpy as np
        from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

        self._scheduler = UniPCMultistepScheduler(
            prediction_type="flow_prediction",
            use_flow_sigmas=True,
            num_train_timesteps=TRAIN_STEPS,
            flow_shift=schedule.shift,
        )
        # annotated as a list, which it cannot multiply
        self._scheduler.set_timesteps(sigmas=cast("list[float]", np.array(schedule.knots)))
        self._scheduler.set_begin_index(0)
        self._timesteps = self._scheduler.timesteps

    def step(self, index: int, velocity: Tensor, latents: Tensor) -> Tensor:
        return self._scheduler.step(velocity, self._timesteps[index], latents, return_dict=False)[0]

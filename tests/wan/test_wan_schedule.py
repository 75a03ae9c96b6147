"""The noise levels, against the tables of the papers and of the stock scheduler."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from kf2v.engines.wan.family import A14B, FAMILIES, FLF2V, Family
from kf2v.engines.wan.schedule import ByIndex, ByTime, Schedule, distilled, quality, schedule_of, turbo


def stock(shift: float, steps: int) -> UniPCMultistepScheduler:
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=shift
    )
    scheduler.set_timesteps(steps)
    return scheduler


@pytest.mark.parametrize(
    ("shift", "times", "by_time"),
    [(5.0, (1000, 937.5, 833.3, 625), 2), (16.0, (1000, 979.6, 941.2, 842.1), 3)],
)
def test_four_distilled_steps_are_where_they_were_trained(shift: float, times: tuple[float, ...], by_time: int) -> None:
    schedule = distilled(A14B).with_shift(shift)
    assert schedule.timesteps == pytest.approx(times, abs=0.05)
    assert schedule.high_noise_steps == 2
    assert sum(ByTime(boundary=0.9).high(i, t) for i, t in enumerate(schedule.timesteps)) == by_time


def test_the_distilled_schedule_shifts_by_five_whatever_the_family() -> None:
    assert distilled(A14B).shift == distilled(FLF2V).shift == 5.0
    assert distilled(FLF2V).switch is None
    assert distilled(A14B).switch == ByIndex(steps=2)
    assert distilled(A14B).guidance == (1.0, 1.0)


def test_the_distilled_schedule_is_not_what_the_stock_euler_scheduler_makes_of_four_steps() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == pytest.approx([1000, 909.7, 717.3, 24.4], abs=0.05)
    scheduler.set_timesteps(sigmas=[1, 0.75, 0.5, 0.25])
    assert scheduler.timesteps.tolist() == pytest.approx(distilled(A14B).timesteps, rel=1e-5)


@pytest.mark.parametrize(("shift", "end", "high"), [(3.0, 74, 11), (5.0, 117, 15), (16.0, 299, 26)])
def test_forty_steps_begin_and_end_and_change_experts_where_the_table_says(shift: float, end: int, high: int) -> None:
    schedule = quality(A14B, steps=40).with_shift(shift)
    assert (schedule.timesteps[0], schedule.timesteps[-1]) == (999, end)
    assert schedule.high_noise_steps == high


@pytest.mark.parametrize("steps", [1, 4, 20, 40, 50])
@pytest.mark.parametrize("shift", [3.0, 5.0, 16.0])
def test_our_noise_levels_are_those_of_the_stock_scheduler(shift: float, steps: int) -> None:
    ours, theirs = quality(FLF2V, steps=steps).with_shift(shift), stock(shift, steps)
    assert list(ours.timesteps) == theirs.timesteps.tolist()
    assert np.allclose(ours.sigmas, theirs.sigmas.numpy(), rtol=1e-6, atol=0)


def test_the_published_settings_of_both_families() -> None:
    assert (quality(FLF2V).steps, quality(FLF2V).shift, quality(FLF2V).guidance) == (50, 16.0, (5.0, 5.0))
    assert (quality(A14B).steps, quality(A14B).shift, quality(A14B).guidance) == (40, 5.0, (3.5, 3.5))
    assert quality(A14B).switch == ByTime(boundary=0.9)
    assert quality(FLF2V).high_noise_steps == 50


def test_turbo_steps_lie_on_the_circle() -> None:
    schedule = turbo(A14B)
    assert schedule.timesteps == pytest.approx((995.0, 933.8, 852.9, 609.0), abs=0.1)
    assert schedule.high_noise_steps == 2


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.id)
@pytest.mark.parametrize("steps", [4, 40])
def test_stepping_is_the_stock_schedulers(family: Family, steps: int) -> None:
    schedule = quality(family, steps=steps)
    solver, theirs = schedule.start(), stock(family.shift, steps)
    generator = torch.Generator().manual_seed(1)
    ours = expected = torch.randn(1, 16, 2, 4, 4, generator=generator)
    for index, t in enumerate(theirs.timesteps):
        velocity = torch.randn(ours.shape, generator=generator)
        ours = solver.step(index, velocity, ours)
        expected = theirs.step(velocity, t, expected, return_dict=False)[0]
    assert torch.equal(ours, expected)


def test_euler_goes_straight_to_the_clean_picture_when_the_velocity_is_right() -> None:
    clean, noise = torch.randn(2, 1, 16, 2, 4, 4, generator=torch.Generator().manual_seed(1)).unbind(0)
    schedule = distilled(A14B)
    solver, latents = schedule.start(), noise
    for index in range(schedule.steps):
        latents = solver.step(index, noise - clean, latents)
    assert torch.allclose(latents, clean, atol=1e-6)


def test_guidance_goes_with_the_expert() -> None:
    schedule = quality(A14B).with_guidance(4.0, 3.0)
    assert [schedule.scale(14), schedule.scale(15)] == [4.0, 3.0]
    assert [schedule.expert(14), schedule.expert(15)] == [0, 1]


def test_a_row_is_found_by_family_and_kind_of_weights() -> None:
    assert schedule_of("wan2.2-a14b", distilled_weights=True) == distilled(A14B)
    assert schedule_of("wan2.1-flf2v", distilled_weights=False, steps=30).steps == 30


@pytest.mark.parametrize("knots", [(), (0.5, 0.7), (1.2, 0.5), (1.0, 0.0), (0.0,)])
def test_noise_levels_that_do_not_fall_are_refused(knots: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="noise levels"):
        Schedule(name="odd", knots=knots, shift=5.0, solver="euler", guidance=(1.0, 1.0), switch=None)


def test_the_tables_need_no_torch() -> None:
    code = "import sys, kf2v.engines.wan.schedule as s; s.schedule_of('wan2.2-a14b', distilled_weights=True).timesteps"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)

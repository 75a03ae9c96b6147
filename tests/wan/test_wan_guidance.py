"""Normalised attention guidance, formula by formula, and what each kind of guidance costs."""

from __future__ import annotations

import pytest
import torch

from kf2v.engines.wan.guidance import Cfg, Nag, Unguided, forwards
from kf2v.engines.wan.ops.norm import TorchNorms


def steered(positive: list[float], negative: list[float], nag: Nag) -> list[float]:
    given = (torch.tensor([x], dtype=torch.float32) for x in (positive, negative))
    return TorchNorms().steered(*given, nag.scale, nag.tau, nag.alpha)[0].tolist()


def test_a_small_step_away_is_taken_in_full() -> None:
    # Z = 2·(1, 1) − (0.8, 1) = (1.2, 1), L1 2.2 of 2: within tau; half of the way
    assert steered([1, 1], [0.8, 1], Nag(scale=2, tau=2.5, alpha=0.5)) == pytest.approx([1.1, 1.0])


def test_a_long_step_away_is_shortened_to_tau_times_the_positive() -> None:
    # Z = 9·(1, 1) − 8·(−1, 1) = (17, 1), L1 18 of 2: shortened to 2.5·2 = 5
    expected = [0.25 * 17 * 5 / 18 + 0.75, 0.25 * 1 * 5 / 18 + 0.75]
    assert steered([1, 1], [-1, 1], Nag()) == pytest.approx(expected)


def test_scale_one_is_no_guidance() -> None:
    assert steered([1, -2, 3], [5, 5, 5], Nag(scale=1)) == pytest.approx([1, -2, 3])


def test_alpha_zero_is_no_guidance() -> None:
    assert steered([1, -2, 3], [5, 5, 5], Nag(alpha=0)) == pytest.approx([1, -2, 3])


def test_a_negative_like_the_positive_changes_nothing() -> None:
    assert steered([1, -2, 3], [1, -2, 3], Nag(scale=20)) == pytest.approx([1, -2, 3])


def test_nothing_read_from_the_positive_is_no_division_by_zero() -> None:
    assert all(map(torch.isfinite, torch.tensor(steered([0, 0], [1, 1], Nag()))))


@pytest.mark.parametrize(
    ("guidance", "scale", "sigma", "count"),
    [
        (Unguided(), 5.0, 0.9, 1),
        (Nag(), 5.0, 0.9, 1),
        (Cfg(), 5.0, 0.9, 2),
        (Cfg(), 1.0, 0.9, 1),
        (Cfg(low=0.5, high=0.8), 5.0, 0.9, 1),
        (Cfg(low=0.5, high=0.8), 5.0, 0.8, 2),
        (Cfg(low=0.5, high=0.8), 5.0, 0.4, 1),
    ],
)
def test_only_classifier_free_guidance_costs_a_second_forward(
    guidance: Unguided | Cfg | Nag, scale: float, sigma: float, count: int
) -> None:
    assert forwards(guidance, scale=scale, sigma=sigma) == count


@pytest.mark.parametrize("wrong", [{"low": 0.8, "high": 0.5}, {"low": -0.1}, {"high": 1.2}])
def test_an_interval_outside_the_noise_levels_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="interval"):
        Cfg(**wrong)


@pytest.mark.parametrize("wrong", [{"scale": 0.5}, {"tau": 0}, {"alpha": 1.5}])
def test_odd_strengths_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="scale ≥ 1"):
        Nag(**wrong)

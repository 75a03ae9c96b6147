"""What a negative prompt does: nothing, classifier-free guidance, or normalised attention guidance.

Knows no transformer: how two predictions become one, and when a second one is worth its price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Unguided:
    """The prompt alone: what distilled weights were trained for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cfg:
    """Classifier-free guidance (arXiv 2207.12598): negative + scale·(positive − negative), at twice the price.

    The scale is the schedule's, per expert; where it is 1 the negative is not computed. Only noise levels between
    ``low`` and ``high`` (σ, 0 … 1) are guided: the published interval is all of them, a shorter one saves forwards
    (arXiv 2404.07724).
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(f"an interval of noise levels lies in 0 … 1; got {self.low} … {self.high}")

    def at(self, sigma: float) -> bool:
        return self.low <= sigma <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Nag:
    """Normalised attention guidance (arXiv 2505.21179): in every cross-attention, away from the negative prompt.

    With Z⁺ and Z⁻ what a token reads from the positive and the negative prompt: Z = scale·Z⁺ − (scale − 1)·Z⁻; where
    its L1 norm is more than ``tau`` times that of Z⁺ it is shortened to that; the result is alpha·Z + (1 − alpha)·Z⁺.
    It costs one more cross-attention to the prompt, not a second forward, and works with four steps. The defaults are
    the authors': tau and alpha those of their code, 9 their example for Wan2.1 (their four-step demonstration has 11;
    users of other models who found videos freezing went down to 5). Scale 1 is no guidance, exactly.

    Not tried on real weights yet.
    """

    scale: float = 9.0
    tau: float = 2.5
    alpha: float = 0.25

    def __post_init__(self) -> None:
        if self.scale < 1 or self.tau <= 0 or not 0 <= self.alpha <= 1:
            raise ValueError(f"scale ≥ 1, tau > 0 and alpha in 0 … 1, not {self}")


Guidance: TypeAlias = Unguided | Cfg | Nag


def forwards(guidance: Guidance, *, scale: float, sigma: float) -> int:
    """How many times the transformer runs in a step with this ``scale`` at noise level ``sigma``."""
    return 2 if isinstance(guidance, Cfg) and scale != 1 and guidance.at(sigma) else 1

"""How far along a moment is."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a clip gathers speed, and loses it again in the same way."""

    #: share of the clip at each end that is spent gathering or losing speed, below 0.5
    ramp: float = 0.16
    #: speed at the very ends, as a share of the speed in between: a picture that stands still looks broken
    stir: float = 0.2

    @classmethod
    def of(cls, tempo: float, seed: int) -> "Pace":
        """The pace for ``tempo`` −1 (slow) … 1 (fast); the seed moves the top speed by up to 5 %.

        Both ends are pinned, so a slow clip is one that never hurries: its speed is as even as can be. A fast one
        dashes in the middle, at 1.26 times the mean speed instead of 1.15.
        """
        ramp = 0.16 + (0.1 if tempo > 0 else 0.05) * tempo
        return cls(ramp=ramp + 0.03 * float(np.random.default_rng((seed, 1)).uniform(-1, 1)))


STEADY = Pace()


def ease(moment: float, pace: Pace = STEADY) -> float:
    """Position 0 … 1 at ``moment`` 0 … 1: speed rises like a cosine over the ramp, is even, and falls again.

    Backwards it is the same: ``ease(1 − t) = 1 − ease(t)``.
    """
    if moment > 0.5:
        return 1.0 - ease(1.0 - moment, pace)
    ramp, stir = pace.ramp, pace.stir
    whole = 1.0 - ramp * (1.0 - stir)
    inside = min(moment, ramp)
    ramped = (1.0 + stir) / 2 * inside - (1.0 - stir) / 2 * ramp / math.pi * math.sin(math.pi * inside / ramp)
    return (ramped + moment - inside) / whole

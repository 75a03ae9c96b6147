"""How far along a moment is."""

import math

#: share of the clip at each end that is spent gathering or losing speed
RAMP = 0.16
#: speed at the very ends, as a share of the speed in between: a picture that stands still looks broken
STIR = 0.2


def ease(moment: float) -> float:
    """Position 0 … 1 at ``moment`` 0 … 1: speed rises like a cosine over ``RAMP``, is even, and falls again."""
    if moment > 0.5:
        return 1.0 - ease(1.0 - moment)
    whole = 1.0 - RAMP * (1.0 - STIR)
    inside = min(moment, RAMP)
    ramped = (1.0 + STIR) / 2 * inside - (1.0 - STIR) / 2 * RAMP / math.pi * math.sin(math.pi * inside / RAMP)
    return (ramped + moment - inside) / whole

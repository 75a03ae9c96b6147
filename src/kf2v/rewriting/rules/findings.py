"""What of a sight is worth a word, and how strong a word: where measures become steps and amounts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from kf2v.rewriting.rules.sight import Colour, Move, Scene, Sight


class Step(Enum):
    """A camera move that has a name."""

    IN = "in"
    OUT = "out"
    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    DOWN = "down"
    CLOCKWISE = "clockwise"
    COUNTER = "counter"
    ROUND_LEFT = "round left"
    ROUND_RIGHT = "round right"


class Amount(Enum):
    """How far it goes."""

    SLIGHT = "slight"
    PLAIN = "plain"
    LARGE = "large"


class Light(Enum):
    """How the light changes."""

    BRIGHTER = "brighter"
    DARKER = "darker"
    WARMER = "warmer"
    COOLER = "cooler"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A measure with two ways, and from where on which word fits."""

    less: Step
    more: Step
    still: float
    slight: float
    plain: float
    large: float


#: Below ``still`` a camera rests; ``slight`` and ``plain`` are a third more than the words bend ``morph``'s path by at
#: most (see ``engines.morph.camera``), so that naming a move never adds to it.
_ZOOM = _Kind(less=Step.OUT, more=Step.IN, still=0.02, slight=0.08, plain=0.16, large=0.45)
_PAN = _Kind(less=Step.LEFT, more=Step.RIGHT, still=0.015, slight=0.04, plain=0.08, large=0.3)
_TILT = _Kind(less=Step.DOWN, more=Step.UP, still=0.015, slight=0.04, plain=0.08, large=0.3)
_ROLL = _Kind(
    less=Step.COUNTER,
    more=Step.CLOCKWISE,
    still=math.radians(1.0),
    slight=math.radians(2.8),
    plain=math.radians(5.5),
    large=math.radians(20.0),
)
_ORBIT = _Kind(
    less=Step.ROUND_LEFT,
    more=Step.ROUND_RIGHT,
    still=math.radians(2.0),
    slight=math.radians(8.0),
    plain=math.radians(12.0),
    large=math.radians(30.0),
)
#: units of L* and b* from which on a change is seen as one of the light
_BRIGHTER, _WARMER = 6.0, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What can be said about a pair, in no language yet."""

    scene: Scene
    #: by how much they matter, largest first
    steps: tuple[tuple[Step, Amount], ...]
    #: whether the camera surely does not move
    rests: bool
    lights: tuple[Light, ...]
    first_colours: tuple[Colour, ...]
    last_colours: tuple[Colour, ...]
    #: how many times as large things end up
    growth: float | None
    #: per cent of the picture's width or height, whichever is more
    travel: int | None
    #: degrees
    turned: int | None

    @property
    def colours(self) -> tuple[tuple[Colour, ...], tuple[Colour, ...]]:
        return self.first_colours, self.last_colours

    @property
    def lasting_colours(self) -> tuple[Colour, ...]:
        """Those of both pictures where neither has only others: a second colour comes and goes by a hair."""
        common = tuple(colour for colour in self.first_colours if colour in self.last_colours)
        return common if len(common) == min(map(len, self.colours)) else ()


def findings(sight: Sight) -> Findings:
    """Make up our minds about ``sight``."""
    move = _agreed(sight.moves)
    steps = _steps(move)
    named = steps.keys()
    return Findings(
        scene=sight.scene,
        steps=tuple(sorted(((step, amount) for step, (amount, _) in steps.items()), key=lambda one: -steps[one[0]][1])),
        rests=bool(sight.moves) and all(_rests(one) for one in sight.moves),
        lights=_lights(sight),
        first_colours=sight.first_colours,
        last_colours=sight.last_colours,
        growth=math.exp(move.zoom) if named & {Step.IN, Step.OUT} else None,
        travel=round(100 * max(abs(move.pan), abs(move.tilt))) if named & _SIDEWAYS else None,
        turned=round(abs(math.degrees(move.roll))) if named & {Step.CLOCKWISE, Step.COUNTER} else None,
    )


def _agreed(moves: Sequence[Move]) -> Move:
    """What all of ``moves`` do: of each measure the smallest, or none where they go different ways."""

    def least(values: Sequence[float]) -> float:
        alike = all(value > 0 for value in values) or all(value < 0 for value in values)
        return min(values, key=abs) if alike and values else 0.0

    return Move(
        zoom=least([move.zoom for move in moves]),
        pan=least([move.pan for move in moves]),
        tilt=least([move.tilt for move in moves]),
        roll=least([move.roll for move in moves]),
        orbit=least([move.orbit for move in moves]),
    )


def _rests(move: Move) -> bool:
    return all(abs(value) < kind.still for kind, value in _measures(move))


_SIDEWAYS = {Step.LEFT, Step.RIGHT, Step.UP, Step.DOWN}


def _measures(move: Move) -> tuple[tuple[_Kind, float], ...]:
    return ((_ZOOM, move.zoom), (_PAN, move.pan), (_TILT, move.tilt), (_ROLL, move.roll), (_ORBIT, move.orbit))


def _steps(move: Move) -> dict[Step, tuple[Amount, float]]:
    """Each with its size as a multiple of what is plain."""
    named: dict[Step, tuple[Amount, float]] = {}
    for kind, value in _measures(move):
        size = abs(value)
        if size >= kind.slight:
            amount = Amount.LARGE if size >= kind.large else Amount.PLAIN if size >= kind.plain else Amount.SLIGHT
            named[kind.more if value > 0 else kind.less] = (amount, size / kind.plain)
    return named


def _lights(sight: Sight) -> tuple[Light, ...]:
    if sight.scene is Scene.EQUAL:
        return ()
    changes = (
        (sight.light, _BRIGHTER, Light.BRIGHTER, Light.DARKER),
        (sight.warmth, _WARMER, Light.WARMER, Light.COOLER),
    )
    return tuple((up if value > 0 else down) for value, least, up, down in changes if abs(value) >= least)

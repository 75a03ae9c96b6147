"""How the words and the seed bend the path of the whole picture.

Knows no picture, only its shape: all motions are in units of half the long side, from the picture's centre, x to the
right and y down.

A steady camera move is ``exp(amount · G)``, with G one of the rates below (an element of the Lie algebra of the
projective group): a zoom zooms by the same factor in every moment, a turn turns evenly, and a sum of rates is both
moves at once. Its speed at the point p is linear in G, which gives a simple rule for what may be shown. If the speed
points outwards everywhere on the picture's border, the motion never brings the border into view, however long it
lasts. So every sideways move comes with the least zoom that makes it so.
"""

import math
from dataclasses import replace

import numpy as np

from kf2v.engines.morph.words import Direction
from kf2v.video.motion.path import Homography

#: distance to the picture, in half long sides, for the perspective of an orbit: a field of view of 67°
FOCAL = 1.5

#: what a full word does to a path whose ends are both given: ln of the zoom, shares of the side, radians
BEND_ZOOM, BEND_SHIFT, BEND_ROLL = 0.10, 0.05, math.radians(3.5)
BEND_YAW, BEND_COUNTER = math.radians(5.5), 0.02
#: the same for a journey between strangers
JOURNEY_ZOOM, JOURNEY_SHIFT, JOURNEY_ROLL = math.log(1.25), 0.20, math.radians(8.0)
JOURNEY_YAW, JOURNEY_COUNTER = math.radians(12.0), 0.05
#: a journey nobody described: ln of the zoom, and the drift as a share of the long side
IDLE_ZOOM, IDLE_DRIFT = math.log(1.12), 0.015
#: the most zoom that hiding the border may cost; moves that need more are made smaller
DEAREST = 0.16
#: how far a path without words is moved, in half long sides: about a fifth of a pixel at 480P
NUDGE = 0.0005
#: zoom of a picture that only breathes
BREATH = 0.035
#: a hand's reach and turn, in half long sides and radians
HAND_SHIFT, HAND_TURN = 0.012, math.radians(0.5)
#: swings of a hand per clip; at five seconds, eased, the fastest is below 3 Hz
HAND_SWINGS = (2.0, 12.5)
#: where the main part of a bend ends and the way back begins, and over which share of the clip it turns
TURN, ROUNDING = 0.63, 0.2


class Camera:
    """The camera of one clip. The same direction, seed and shape give the same motions."""

    def __init__(self, direction: Direction, seed: int, *, shape: tuple[int, int]) -> None:
        """``shape`` is (height, width) of the picture in pixels; only its ratio matters."""
        height, width = shape
        long = max(height, width)
        self._half = (width / long, height / long)
        self._seed, self._shape = seed, shape
        self._direction = direction
        dice = np.random.default_rng((seed, 0))
        self._swell = float(dice.uniform(-1, 1))
        self._turn = TURN - 0.04 * direction.pace + 0.01 * float(dice.uniform(-1, 1))
        heading = float(dice.uniform(0, 2 * math.pi))
        self._drift = _shift(math.cos(heading), math.sin(heading))
        self._hand = _Hand(dice, self._half) if direction.handheld else None
        self._settle()

    def _settle(self) -> None:
        said = self._direction
        scale = self._scale
        sideways = scale * self._sideways(BEND_SHIFT, BEND_ROLL, BEND_YAW, BEND_COUNTER)
        if sideways.any():
            sideways = sideways + 0.004 * self._drift
        price = self._price(sideways)
        sideways = sideways * min(1.0, DEAREST / max(price, 1e-9))
        price = min(price, DEAREST)
        zoom = scale * BEND_ZOOM * said.zoom
        self._out = _zoom(max(0.0, -zoom))
        self._main = sideways + _zoom(max(price, zoom))
        self._nudge = NUDGE / 2 * self._drift
        self._nudge = self._nudge + _zoom(self._price(self._nudge))

    def beyond(self, own: Homography) -> "Camera":
        """This camera without the moves that the picture makes by itself: they need no bend on top.

        ``own`` is the rate of the picture's own motion. A move of it counts when it goes the same way, and at least as
        far as the words would add; a smaller one is bent as ever, for then the words ask for more than there is.
        """
        said, (x, y) = self._direction, self._half
        scale = self._scale
        whole = own - own[2, 2] * np.eye(3)

        def left(word: float, makes: float, asks: float) -> float:
            """``word``, or 0 where the picture ``makes`` what it ``asks`` for."""
            return 0.0 if makes * asks > 0 and abs(makes) >= abs(asks) else word

        rest = replace(
            said,
            zoom=left(said.zoom, (whole[0, 0] + whole[1, 1]) / 2, scale * BEND_ZOOM * said.zoom),
            pan=left(said.pan, -whole[0, 2], scale * 2 * x * BEND_SHIFT * said.pan),
            tilt=left(said.tilt, whole[1, 2], scale * 2 * y * BEND_SHIFT * said.tilt),
            roll=left(said.roll, (whole[0, 1] - whole[1, 0]) / 2, scale * BEND_ROLL * said.roll),
            orbit=left(said.orbit, -whole[2, 0] * FOCAL, scale * BEND_YAW * said.orbit),
        )
        return self if rest == said else Camera(rest, self._seed, shape=self._shape)

    def bend(self, s: float) -> Homography:
        """Where a point of the unbent picture goes at position ``s`` 0 … 1 of the way: identity at both ends.

        A move goes the way the words say for most of the clip, and back in what is left; a pull out, which would
        show what lies beyond the border, first comes near instead. Without words it is next to nothing, and the
        same from both ends.
        """
        if not 0.0 < s < 1.0 or self._direction.fixed:
            return np.eye(3)
        if not self._direction.names_a_move:
            return _flow(math.sin(math.pi * s) ** 2 * self._nudge)
        near = _flow(_there_and_back(1.0 - s, self._turn) * self._out)
        return self.shake(s) @ near @ _flow(_there_and_back(s, self._turn) * self._main)

    def shake(self, s: float) -> Homography:
        """The hand's part of ``bend`` alone, for a picture that is already on a journey; identity without a hand."""
        if not 0.0 < s < 1.0 or self._hand is None or self._direction.fixed:
            return np.eye(3)
        return _flow(self._direction.handheld * (1 + 0.2 * self._swell) * self._hand.at(s))

    def breath(self, s: float) -> Homography:
        """The bend of a picture that ends as it began: what the words say, or else a slow round without a stop.

        The round is a drop in the plane of zoom and drift: at rest where it begins and ends, and nowhere in between.
        """
        if self._direction.fixed or self._direction.names_a_move or not 0.0 < s < 1.0:
            return self.bend(s)
        zoom = BREATH / 2 * (1 + 0.14 * self._swell)
        reach = 0.9 * zoom / self._price(self._drift)
        swing = 1 - math.cos(2 * math.pi * s)
        return _flow(swing * (_zoom(zoom) + reach * math.sin(2 * math.pi * s) * self._drift))

    @property
    def journey(self) -> Homography:
        """From the plane of the first frame to that of the last, for two that have nothing in common.

        Always a motion that has a path (a real logarithm): the identity for a fixed camera, a slow push in where
        nothing is said.
        """
        said = self._direction
        if said.fixed:
            return np.eye(3)
        scale = 1 + 0.1 * self._swell
        rate = _zoom(scale * JOURNEY_ZOOM * said.zoom)
        rate = rate + scale * self._sideways(JOURNEY_SHIFT, JOURNEY_ROLL, JOURNEY_YAW, JOURNEY_COUNTER)
        if not rate.any():
            rate = _zoom(scale * IDLE_ZOOM) + 2 * IDLE_DRIFT * self._drift
        return _flow(rate)

    @property
    def _scale(self) -> float:
        """Of a bend, by the seed and the pace."""
        return (1 + 0.2 * self._swell) * (1 + 0.15 * self._direction.pace)

    def _sideways(self, shift: float, roll: float, yaw: float, counter: float) -> Homography:
        """The rate of all that is not zoom; the camera's right is the picture's left."""
        said, (x, y) = self._direction, self._half
        return (
            _shift(-2 * x * shift * said.pan, 2 * y * shift * said.tilt)
            + _turn(-roll * said.roll)
            + _yaw(yaw * said.orbit)
            + _shift(2 * x * counter * said.orbit, 0.0)
        )

    def _price(self, rate: Homography) -> float:
        """The least rate of zoom that, added to ``rate``, keeps the border out of view."""
        return _price(rate, self._half)


class _Hand:
    """What a hand adds: a wander of place and roll out of a few slow swings, still at both ends."""

    def __init__(self, dice: np.random.Generator, half: tuple[float, float]) -> None:
        self._swings = dice.uniform(*HAND_SWINGS, (3, 6))
        self._phases = dice.uniform(0, 2 * math.pi, (3, 6))
        self._weights = self._swings**-0.7
        moments = np.linspace(0.0, 1.0, 301)
        peaks = np.abs([self._wander(s) for s in moments]).max(axis=0)
        self._weights = self._weights / peaks[:, None]
        self._zoom = _zoom(max(_price(self._rate(s), half) for s in moments))

    def at(self, s: float) -> Homography:
        """The rate at position ``s`` 0 … 1."""
        near = min(1.0, min(s, 1.0 - s) / 0.2)
        return near * near * (3 - 2 * near) * (self._rate(s) + self._zoom)

    def _rate(self, s: float) -> Homography:
        x, y, turn = self._wander(s)
        return _shift(HAND_SHIFT * x, HAND_SHIFT * y) + _turn(HAND_TURN * turn)

    def _wander(self, s: float) -> Homography:
        return (self._weights * np.sin(2 * math.pi * self._swings * s + self._phases)).sum(axis=1)


def _there_and_back(s: float, turn: float) -> float:
    """0 at both ends, 1 near ``turn``: even speed there, even speed back, and a rounded turn in between.

    Speed falls linearly from a to −b over ``ROUNDING`` around ``turn``; both follow from the height of 1.
    """
    flat = 1 - ROUNDING / 2
    there, back = 1 / (turn * flat), 1 / ((1 - turn) * flat)
    start = turn - ROUNDING / 2
    if s <= start:
        return there * s
    if s >= start + ROUNDING:
        return back * (1 - s)
    since = s - start
    return there * s - (there + back) / (2 * ROUNDING) * since * since


def _zoom(rate: float) -> Homography:
    return np.diag([rate, rate, 0.0])


def _shift(x: float, y: float) -> Homography:
    return np.array([[0.0, 0.0, x], [0.0, 0.0, y], [0.0, 0.0, 0.0]])


def _turn(angle: float) -> Homography:
    """Clockwise as one sees it, for y points down."""
    return np.array([[0.0, -angle, 0.0], [angle, 0.0, 0.0], [0.0, 0.0, 0.0]])


def _yaw(angle: float) -> Homography:
    """The picture turns like a door, its right side towards the eye."""
    return np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [-angle / FOCAL, 0.0, 0.0]])


def _flow(rate: Homography) -> Homography:
    """exp(rate), by its Taylor series: rates are well below 1, where 16 terms are exact in double precision."""
    total, term = np.eye(3), np.eye(3)
    for order in range(1, 17):
        term = term @ rate / order
        total = total + term
    return total


def _price(rate: Homography, half: tuple[float, float]) -> float:
    """The least rate of zoom that makes the motion point outwards all along the border (half sides x, y).

    The speed at (x, y) is (u − x·w, v − y·w) with (u, v, w) = rate · (x, y, 1). Along a side its inward part is at
    most quadratic in the place, and largest at a corner for all rates made here.
    """
    x, y = half
    corners = np.array([(-x, -y), (x, -y), (x, y), (-x, y)])
    u, v, w = rate @ np.column_stack([corners, np.ones(4)]).T
    inwards = -np.column_stack([u - corners[:, 0] * w, v - corners[:, 1] * w]) / corners
    return max(0.0, float(inwards.max()))

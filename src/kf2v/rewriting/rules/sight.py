"""What can be measured between two pictures: the camera's move, light, colours, and whether it is one scene.

Knows no words. The same two pictures give the same findings; where there is too little evidence there is no finding.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from kf2v.video import Frame
from kf2v.video.frames import reduced
from kf2v.video.motion.alignment import TOLERANCE, fit
from kf2v.video.motion.path import Geodesic, Homography, in_units, project

#: pixels; everything is measured at this size
LONG_SIDE = 480
#: landmarks looked for in a picture; a third of it is enough for a common motion, and time grows with the square
LANDMARKS = 1000
#: share of the landmarks found again that must agree on one motion
AGREED = 0.25
#: share of the picture's width and height that these must span: a logo in a corner says nothing about a camera
SPREAD = 0.4
#: how many, as a share of those of the largest plane, make another plane's motion count too
NEARLY = 0.4
#: fewer landmarks that agree than this are chance
FEWEST = 15
#: Two pictures of which less than this share of the landmarks is found again, and whose colour histograms are further
#: apart than this (Bhattacharyya, 0 … 1), are of two scenes. On 35 pairs, landmarks of related pictures were found
#: again by 14 % and more, but for two by 2 %, whose colours were 0.1 and 0.3 apart; those of strangers by 9 % at most,
#: with colours 0.5 to 1.0 apart.
STRANGE, APART = 0.08, 0.55
#: With more landmarks found again, and colours nearer, than this they are of one scene, whatever moved
KINDRED, NEAR = 0.2, 0.5
#: grey levels, averaged around a place, that two savings of one picture differ by at most, as ``morph`` has it
SAVED_TWICE = 10.0
#: share of a picture that a colour has to cover to be named
DOMINANT = 0.18
#: distance to the picture in half long sides for perspective, as ``engines.morph.camera`` has it
FOCAL = 1.5

Picture = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A camera's move in the whole, as rates: its half done twice is all of it."""

    #: ln of how much larger things become; negative when they shrink
    zoom: float
    #: share of the width that the camera goes to its right; the picture goes the other way
    pan: float
    #: share of the height that the camera goes up
    tilt: float
    #: radians that the camera turns clockwise about its axis
    roll: float
    #: radians that it goes around to its right, beyond what a pan can explain
    orbit: float


class Scene(Enum):
    """How the two pictures belong together."""

    #: the same picture twice
    EQUAL = "equal"
    #: two views of one place
    SAME = "same"
    #: nothing in common
    OTHER = "other"
    #: not enough to tell
    UNKNOWN = "unknown"


class Colour(Enum):
    """Colours that have a name in every language."""

    BLACK = "black"
    GREY = "grey"
    WHITE = "white"
    RED = "red"
    ORANGE = "orange"
    BROWN = "brown"
    BEIGE = "beige"
    YELLOW = "yellow"
    GREEN = "green"
    TEAL = "teal"
    BLUE = "blue"
    PURPLE = "purple"
    PINK = "pink"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """All findings about a pair."""

    scene: Scene
    #: of the camera, as the largest plane of the scene shows it, and another one if that is nearly as large; none where
    #: the frames do not say
    moves: tuple[Move, ...]
    #: lightness L* that the last picture has more than the first, −100 … 100
    light: float
    #: b* that it has more: positive is warmer
    warmth: float
    #: what covers most of each, largest first, two at most
    first_colours: tuple[Colour, ...]
    last_colours: tuple[Colour, ...]


def look(first: Frame, last: Frame) -> Sight:
    """Measure a pair of one shape."""
    one, other = reduced(first, long_side=LONG_SIDE), reduced(last, long_side=LONG_SIDE)
    mine, yours = _mean_lab(one), _mean_lab(other)
    equal = _equal(one, other)
    pairs = _landmarks(one, other)
    moves = () if equal else _moves(pairs.points, pairs.targets, (one.shape[0], one.shape[1]))
    return Sight(
        scene=Scene.EQUAL if equal else Scene.SAME if moves else _kinship(pairs.share, _colour_distance(one, other)),
        moves=moves,
        light=float(yours[0] - mine[0]),
        warmth=float(yours[2] - mine[2]),
        first_colours=_colours(one),
        last_colours=_colours(other),
    )


def _kinship(share: float, distance: float) -> Scene:
    """What the ``share`` of landmarks found again and the ``distance`` of colours say."""
    if share < STRANGE and distance > APART:
        return Scene.OTHER
    return Scene.SAME if share > KINDRED and distance < NEAR else Scene.UNKNOWN


def _mean_lab(picture: Frame) -> Picture:
    """(3): L* 0 … 100, a*, b*."""
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return np.asarray(lab.reshape(-1, 3).mean(axis=0), np.float32)


def _equal(one: Frame, other: Frame) -> bool:
    apart = cv2.absdiff(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), cv2.cvtColor(other, cv2.COLOR_RGB2GRAY))
    tint = cv2.absdiff(one, other).max(axis=2)
    near = [cv2.GaussianBlur(layer.astype(np.float32), (0, 0), 3.0).max() for layer in (apart, tint)]
    return float(near[0]) < SAVED_TWICE and float(near[1]) < 2 * SAVED_TWICE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    #: (n, 2), places in the first picture and in the last
    points: Picture
    targets: Picture
    #: of the landmarks there are, how many these are
    share: float


def _landmarks(one: Frame, other: Frame) -> _Pairs:
    """Corners that look alike, and like no other (SIFT, Lowe 2004)."""
    finder = cv2.SIFT.create(LANDMARKS, contrastThreshold=0.02)
    points, marks = finder.detectAndCompute(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), _everywhere())
    others, other_marks = finder.detectAndCompute(cv2.cvtColor(other, cv2.COLOR_RGB2GRAY), _everywhere())
    if len(points) < 2 or len(others) < 2:
        nothing = np.zeros((0, 2), np.float32)
        return _Pairs(points=nothing, targets=nothing, share=0.0)
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    good = [best for best, second in matcher.knnMatch(marks, other_marks, k=2) if best.distance < 0.8 * second.distance]
    back = {match.queryIdx: match.trainIdx for match in matcher.match(other_marks, marks)}
    mutual = [match for match in good if back.get(match.trainIdx) == match.queryIdx]
    return _Pairs(
        points=np.array([points[match.queryIdx].pt for match in mutual], np.float32).reshape(-1, 2),
        targets=np.array([others[match.trainIdx].pt for match in mutual], np.float32).reshape(-1, 2),
        share=len(mutual) / min(len(points), len(others)),
    )


def _everywhere() -> Any:
    """No mask, which OpenCV's annotations do not know."""
    return None


def _moves(points: Picture, targets: Picture, shape: tuple[int, int]) -> tuple[Move, ...]:
    """The motion that many landmarks share, and a second one beside it where nearly as many of the others share that:
    things near and far move differently before one camera. None unless these landmarks span the whole picture."""
    found: list[Move] = []
    witnesses: list[Picture] = []
    fewest = FEWEST
    while len(found) < 2 and (motion := fit(points, targets, shape, share=AGREED)) is not None:
        missed = np.linalg.norm(project(motion, points) - targets, axis=1)
        near, far = missed < TOLERANCE, missed > 2 * TOLERANCE
        if near.sum() < fewest or min(_spans(points[near], shape), _spans(targets[near], shape)) < 1:
            break
        try:
            found.append(_as_move(in_units(Geodesic(motion).rate, shape), shape))
        except ValueError:
            break
        witnesses.append(points[near])
        fewest = max(FEWEST, round(NEARLY * near.sum()))
        points, targets = points[far], targets[far]
    if not found or _spans(np.concatenate(witnesses), shape) < 2:
        return ()
    return tuple(found)


def _spans(places: Picture, shape: tuple[int, int]) -> int:
    """In how many directions they span the picture, 0 … 2; the middle eight tenths of them, for one stray point should
    not stretch the others."""
    reach = np.quantile(places, 0.9, axis=0) - np.quantile(places, 0.1, axis=0)
    return int((reach >= SPREAD * 0.8 * np.array([shape[1], shape[0]])).sum())


def _as_move(rate: Homography, shape: tuple[int, int]) -> Move:
    """``rate`` is in half long sides from the centre, x to the right and y down; the camera goes where the picture
    comes from."""
    height, width = shape
    long = max(height, width)
    steady = rate - rate[2, 2] * np.eye(3)
    sideways, slant = float(steady[0, 2]), float(steady[2, 0])
    # A camera that pans makes trapezia too, by its focal length; what any lens from 1 on explains is no orbit.
    explained = abs(sideways) if sideways * slant < 0 else 0.0
    beyond = max(0.0, abs(slant) - explained)
    return Move(
        zoom=float(steady[0, 0] + steady[1, 1]) / 2,
        pan=-sideways * long / (2 * width),
        tilt=float(steady[1, 2]) * long / (2 * height),
        roll=-float(steady[1, 0] - steady[0, 1]) / 2,
        orbit=-float(np.sign(slant)) * beyond * FOCAL,
    )


def _colour_distance(one: Frame, other: Frame) -> float:
    counts = [
        cv2.calcHist([cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)], [0, 1, 2], None, [12, 4, 4], [0, 180, 0, 256, 0, 256])
        for frame in (one, other)
    ]
    return cv2.compareHist(counts[0], counts[1], cv2.HISTCMP_BHATTACHARYYA)


def _colours(picture: Frame) -> tuple[Colour, ...]:
    small = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)
    hsv = np.asarray(cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2HSV), np.float32).reshape(-1, 3)
    names = _names(hsv[:, 0], hsv[:, 1], hsv[:, 2])
    shares = {colour: float((names == index).mean()) for index, colour in enumerate(Colour)}
    dominant = sorted((colour for colour in Colour if shares[colour] >= DOMINANT), key=lambda one: -shares[one])
    return tuple(dominant[:2])


def _names(hue: Picture, saturation: Picture, value: Picture) -> npt.NDArray[np.intp]:
    """The index in ``Colour`` of each pixel; the first row that holds wins. Hue in degrees, the others 0 … 1.

    The bounds are ours: where people of both languages change the word, roughly.
    """
    dull, warm = saturation < 0.12, (hue >= 15) & (hue < 50)
    rows = (
        (Colour.BLACK, (value < 0.16) | (dull & (value < 0.22))),
        (Colour.WHITE, dull & (value > 0.86)),
        (Colour.GREY, dull),
        (Colour.BEIGE, warm & (saturation < 0.4) & (value > 0.55)),
        (Colour.BROWN, warm & (value < 0.62)),
        (Colour.GREY, saturation < 0.18),
        (Colour.PINK, ((hue >= 300) | (hue < 15)) & (saturation < 0.5) & (value > 0.65)),
        (Colour.BROWN, (hue < 15) & (saturation < 0.6) & (value < 0.5)),
        (Colour.RED, (hue < 15) | (hue >= 342)),
        (Colour.ORANGE, hue < 42),
        (Colour.YELLOW, hue < 66),
        (Colour.GREEN, hue < 160),
        (Colour.TEAL, hue < 192),
        (Colour.BLUE, hue < 255),
        (Colour.PURPLE, hue < 300),
        (Colour.PINK, hue < 342),
    )
    order = list(Colour)
    return np.select([holds for _, holds in rows], [order.index(colour) for colour, _ in rows])

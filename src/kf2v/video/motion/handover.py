"""When each place changes hands where the two pictures have nothing in common, and how the whole moves meanwhile.

A crossfade shows both pictures everywhere at once. Here each place belongs to one of them and changes hands once, at
a time of its own: the change runs through the picture as a front, as steadily as it can in what there is to see, and
holds to the edges of things in both pictures. The front and the motion of the whole fit together: where one picture
comes in from the edges the whole draws back, where it comes out of the middle the whole comes nearer, so that what a
picture does not reach is never needed.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from kf2v.video.frames import Frame
from kf2v.video.motion.diffusion import spread
from kf2v.video.motion.field import Field, grid, resize, sample
from kf2v.video.motion.path import Homography

#: share of the clip during which places change hands
SPAN = 0.8
#: what an even front may lose to one that is better for what is seen
PREFERENCE = 0.07
#: how far the middle of a picture that has a subject is from its edge, in spreads of the edge: not below, surely above
APART = (0.8, 1.2)
#: by how much of both a subject has to stand out more than the other to be surely the clearer one
CLEARER = 0.2
#: zoom, and shift as a share of the side, of a journey that no words describe
ZOOM, SHIFT = 1.25, 0.18
#: work that an empty place makes, against 1 for one with as much detail as there is on average
ROOM = 0.3
#: how stiffly the front holds together, and at which contrast (grey levels) it stops
STIFFNESS, CONTRAST = 100.0, 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The way a change runs through the picture: early where x, y (-1 … 1) and radius, so weighted, are small."""

    across: float
    down: float
    outward: float


#: the picture that comes enters from the edges, or out of the middle
INWARD = Front(across=0.0, down=0.0, outward=-1.0)
OUTWARD = Front(across=0.0, down=0.0, outward=1.0)
#: in the order they are tried; for each there is one that it is backwards
FRONTS = (
    INWARD,
    OUTWARD,
    Front(across=1.0, down=0.1, outward=0.0),
    Front(across=-1.0, down=-0.1, outward=0.0),
    Front(across=0.1, down=1.0, outward=0.0),
    Front(across=-0.1, down=-1.0, outward=0.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """When each pixel of either picture changes hands, (h, w), -0.5 … 0.5 from the middle of the clip."""

    first: Field
    last: Field
    #: how well the amount of detail keeps to the line between the two pictures', 0 … about 1.4
    evenness: float


def turns(one: Frame, other: Frame, forward: Field, backward: Field, front: Front | None = None) -> Turns:
    """When each place changes hands if ``front`` runs along the flows (h, w, 2) from ``one`` to ``other`` and back.

    Without one it is the most even, or one nearly so that comes in from the edges: there two views of one thing differ.
    """
    contest = _Contest(one, other, forward, backward)
    return contest.run(front or contest.best({INWARD: PREFERENCE}))


def best_front(one: Frame, other: Frame, forward: Field, backward: Field) -> Front:
    """The front under which detail changes most evenly, or one that is nearly as good and better for the subjects.

    One that comes in from the edges keeps what is in the middle of ``one`` longest, one that goes out from the middle
    brings what is there in ``other`` first. Backwards it is the best front for the pair turned round.
    """
    return _Contest(one, other, forward, backward).best(_liking(one, other))


def journey_of(front: Front, shape: tuple[int, int]) -> Homography:
    """The motion of the whole, in pixels of ``shape`` (h, w), that brings in what ``front`` lets in first."""
    height, width = shape
    zoom = ZOOM**front.outward
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = SHIFT * np.array([front.across * width, front.down * height])
    motion = np.diag([zoom, zoom, 1.0])
    motion[:2, 2] = (1 - zoom) * middle + shift
    return motion


def front_of(journey: Homography, shape: tuple[int, int]) -> Front | None:
    """The front that fits a motion of the whole, given in pixels of ``shape`` (h, w); none if it hardly moves."""
    height, width = shape
    corners = np.array([(x, y, 1.0) for x in (0, width - 1) for y in (0, height - 1)])
    moved = corners @ journey.T
    moves = moved[:, :2] / moved[:, 2:] - corners[:, :2]
    across, down = moves.mean(axis=0) / (width, height)
    away = corners[:, :2] - corners[:, :2].mean(axis=0)
    growth = float((moves * away).sum() / (away**2).sum())
    drift = math.hypot(across, down)
    if abs(growth) > drift and abs(growth) > 0.02:
        return OUTWARD if growth > 0 else INWARD
    if drift > 0.02:
        return Front(across=float(across / drift), down=float(down / drift), outward=0.0)
    return None


class _Contest:
    """Two aligned pictures in which fronts are tried, at half the size they come in."""

    def __init__(self, one: Frame, other: Frame, forward: Field, backward: Field) -> None:
        height, width = one.shape[:2]
        self._shape = (height, width)
        self._back = grid(height, width) + backward
        small = (max(2, height // 2), max(2, width // 2))
        reduced = [np.asarray(cv2.resize(p, small[::-1], interpolation=cv2.INTER_AREA), np.uint8) for p in (one, other)]
        there = grid(*small) + resize(forward / 2, small)
        x, y = np.moveaxis(grid(*small) / (np.array(small[::-1], np.float32) - 1) * 2 - 1, 2, 0)
        ways = np.dstack([x, y, np.hypot(x, y)])
        mine, yours = (
            spread(ways, np.ones(small, np.float32), picture, stiffness=STIFFNESS, contrast=CONTRAST)
            for picture in reduced
        )
        self._ways = mine + sample(yours, there)
        self._detail = (_detail(reduced[0]).ravel(), sample(_detail(reduced[1]), there).ravel())

    def best(self, liking: dict[Front, float]) -> Front:
        """The most even one, by its evenness and what ``liking`` adds to that."""
        return max(FRONTS, key=lambda front: self.run(front).evenness + liking.get(front, 0.0))

    def run(self, front: Front) -> Turns:
        late = self._ways @ np.array([front.across, front.down, front.outward], np.float32)
        order = np.argsort(late, axis=None, kind="stable")
        leaving, coming = self._detail[0][order], self._detail[1][order]
        detail = leaving + coming
        work = np.cumsum(detail / detail.sum() + ROOM / order.size)
        done = work / work[-1]
        gone, come = np.cumsum(leaving), np.cumsum(coming)
        ratio = (gone[-1] - gone + come) / ((1 - done) * gone[-1] + done * come[-1])
        when = np.empty(order.size, np.float32)
        when[order] = SPAN * (done - 0.5)
        first = resize(when.reshape(late.shape), self._shape)
        return Turns(
            first=first,
            last=sample(first, self._back),
            evenness=float(np.minimum(ratio, 1).mean()) + 0.3 * float(ratio.min()),
        )


def _liking(one: Frame, other: Frame) -> dict[Front, float]:
    """What is to be said for a front between strangers besides: the clearer subject is kept to the end, or comes early.

    Of two it is the one whose colours are further from those at the edge, on the mean. Backwards, the same is said for
    the front that is backwards.
    """
    mine, yours = _subject(one), _subject(other)
    none, sure = APART
    both = min(1.0, max(0.0, (min(mine[0], yours[0]) - none) / (sure - none)))
    clearer = min(1.0, max(0.0, 0.5 + 0.5 * (yours[1] - mine[1]) / (CLEARER * (yours[1] + mine[1]) + 1e-6)))
    return {INWARD: PREFERENCE * both * (1 - clearer), OUTWARD: PREFERENCE * both * clearer}


def _subject(picture: Frame) -> tuple[float, float]:
    """How far places in the middle are from the colour of the edge, in its spreads, and their mean in CIELAB."""
    height, width = picture.shape[:2]
    x, y = np.moveaxis(grid(height, width) / (np.array([width, height], np.float32) - 1) * 2 - 1, 2, 0)
    colours = np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
    middle, edge = colours[np.hypot(x, y) < 0.6], colours[np.maximum(np.abs(x), np.abs(y)) > 0.8]
    away = middle - edge.mean(axis=0)
    spreads = np.linalg.norm(away / (edge.std(axis=0) + 6), axis=1)
    return float(spreads.mean()), float(np.linalg.norm(away.mean(axis=0)))


def _detail(picture: Frame) -> Field:
    """(h, w): energy of the gradient, and a little everywhere."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    across, down = cv2.Sobel(grey, -1, 1, 0, scale=1 / 8), cv2.Sobel(grey, -1, 0, 1, scale=1 / 8)
    return np.asarray(across * across + down * down + np.float32(0.05), np.float32)

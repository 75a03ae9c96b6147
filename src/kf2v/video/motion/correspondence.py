"""All that is known about a pair of frames: the motion of the whole, the motion of each pixel, the change of light.

Everything here is in pixels of the analysis size (long side ``LONG_SIDE`` at most), (x, y), centres at integers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from kf2v.video.frames import Frame, reduced
from kf2v.video.motion.alignment import fit, in_company, is_moderate, landmarks, planes, rough
from kf2v.video.motion.diffusion import spread
from kf2v.video.motion.field import Field, grid, resize, sample
from kf2v.video.motion.halfway import Halfway, morph
from kf2v.video.motion.handover import Front, Turns, best_front, front_of, journey_of, turns
from kf2v.video.motion.light import Light, light_of
from kf2v.video.motion.matching import Match, agreement, best_of, led_by, match_from
from kf2v.video.motion.path import Geodesic, Homography, in_pixels, project
from kf2v.video.motion.threads import both

#: told how much of the work is done, 0 … 1; may raise to end it
Report: TypeAlias = Callable[[float], None]

#: pixels; flows are found at this size whatever the video's
LONG_SIDE = 608
#: pictures that have less than this share of themselves in common are treated the more cautiously the less they have
RELATED = 0.35
#: share that two pictures that have nothing to do with each other can have in common
SCRAPS = 0.02
#: pictures less akin than this, with no motion in common, are strangers, and the whole moves as suits the change
STRANGE = 0.3
#: share in common below which matches alone do not tell how the whole moves
SCANTY = 0.06
#: how much stiffer the motion between strangers is than between two views of one thing
STRANGERS = 1500.0
#: weight of a resemblance in shape against a match in texture
LIKELY = 0.15
#: what is this near to a match moves as it does, whatever its shape
NEAR = np.ones((11, 11), np.uint8)
#: pixels from the edge within which shapes are hardly compared, for they are cut off there
CUT_OFF = 8.0
#: how much what is matched some way off has to say about places that nothing else is known of
FAINT = np.float32(2e-3)
#: pixels; how far off that may be
AFAR = 24.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Strand:
    """The pixels of one frame on their way. A pixel is at ``path.at(s)(anchor + s·drift)`` at position s."""

    #: (h, w, 2), where the pixel starts, on the first frame's plane
    anchor: Field
    #: (h, w, 2), its own motion beyond the common one
    drift: Field
    #: (h, w), 0 … 1: how surely it is seen in both frames
    trust: Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Correspondence:
    """All that is known about a pair of frames."""

    #: the motion of the whole picture
    path: Geodesic
    first: Strand
    last: Strand
    #: how the first (last) frame's light becomes the other's
    first_light: Light
    last_light: Light
    #: when places that are not matched change hands
    turns: Turns
    #: the share of both frames that is believed to be seen in both
    coverage: float
    #: whether the motion of the whole was chosen, because the frames have none in common
    strange: bool

    @property
    def kinship(self) -> float:
        """0 between strangers … 1 between two views of one thing."""
        return _kinship(self.coverage)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filled:
    """Flows (h, w, 2) that have a value everywhere, and the motion they were filled around."""

    course: "_Course"
    forward: Field
    backward: Field


def analyse(
    first: Frame, last: Frame, report: Report = lambda _: None, *, journey: Homography | None = None
) -> Correspondence:
    """Match two frames of one shape. Any two will do: where nothing belongs together, trust is low.

    ``journey`` is how the whole shall move, in the units of ``path.in_pixels``, if the frames do not say it.
    """
    report(0.0)
    one, other = reduced(first, long_side=LONG_SIDE), reduced(last, long_side=LONG_SIDE)
    hints = _hints(one, other)
    report(0.15)
    match = _first_match(one, other, hints, report)
    course = _course(one, other, match, hints.motions[:1], journey)
    shapes = morph(one, other, course.motion, match)
    report(0.55)
    filled = _fill(one, other, match, course, shapes)
    report(0.65)
    if hints.motions or _kinship(match.coverage) == 1:
        # What was filled in from around is often nearly right: searched from there, much of it is found after all.
        here = grid(one.shape[0], one.shape[1])
        again = match_from(one, other, here + filled.forward, here + filled.backward)
        match = best_of(one, other, [match, again])
        report(0.75)
        course = _course(one, other, match, hints.motions[:1], journey)
        filled = _fill(one, other, match, course, shapes)
    report(0.9)
    correspondence = _woven(one, other, match, filled)
    report(1.0)
    return correspondence


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hints:
    """Where to search for matches."""

    #: of planes of the scene or, failing that, of the whole, the likeliest first
    motions: list[Homography]
    #: (n, 2), landmarks that move like others near, and where they go
    points: Field
    targets: Field


def _hints(one: Frame, other: Frame) -> _Hints:
    corners, nodes = landmarks(one, other)
    motions = planes(*corners, (one.shape[0], one.shape[1]))
    if not motions and (roughly := rough(*corners)) is not None:
        motions = [roughly]
    points, targets = np.concatenate([corners[0], nodes[0]]), np.concatenate([corners[1], nodes[1]])
    kept = in_company(points, targets)
    return _Hints(motions=motions, points=points[kept], targets=targets[kept])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """How the whole moves, and how a change runs through it where nothing is matched."""

    motion: Homography
    #: the front that fits a motion chosen for its sake; none where the frames themselves said how the whole moves
    front: Front | None
    strange: bool


def _course(one: Frame, other: Frame, match: Match, guesses: list[Homography], journey: Homography | None) -> _Course:
    """The motion the frames share; between strangers the one that is asked for, or suits the change best."""
    shape = (one.shape[0], one.shape[1])
    shared = _common_motion(match, guesses)
    if shared is not None:
        return _Course(motion=shared, front=None, strange=False)
    if _kinship(match.coverage) > STRANGE:
        return _Course(motion=np.eye(3), front=None, strange=False)
    if journey is None:
        still = np.zeros((*shape, 2), np.float32)
        front = best_front(one, other, still, still)
        return _Course(motion=journey_of(front, shape), front=front, strange=True)
    asked = in_pixels(journey, shape)
    return _Course(motion=asked, front=front_of(asked, shape), strange=True)


def _first_match(one: Frame, other: Frame, hints: _Hints, report: Report) -> Match:
    """Searched from rest, from the motion of each plane, and from landmarks that move like others near."""
    here = grid(one.shape[0], one.shape[1])
    matches = [match_from(one, other, here, here)]
    report(0.25)
    for motion in hints.motions:
        matches.append(match_from(one, other, project(motion, here), project(np.linalg.inv(motion), here)))
        report(0.3)
    if len(hints.points):
        ahead, behind = led_by(hints.points, hints.targets, here), led_by(hints.targets, hints.points, here)
        matches.append(match_from(one, other, ahead, behind))
    report(0.45)
    return best_of(one, other, matches)


def _fill(one: Frame, other: Frame, match: Match, course: _Course, shapes: Halfway) -> _Filled:
    """Give every pixel a motion: its own where trusted, else its shape's, its neighbours', the camera's."""
    motion, kinship = course.motion, _kinship(match.coverage)
    # Some scraps look alike in any two pictures.
    evidence = min(1.0, max(0.0, match.coverage - SCRAPS) / SCRAPS)
    here = grid(one.shape[0], one.shape[1])
    hold = kinship + (1 - kinship) * _away_from_edges(here)[..., None]

    def smooth(base: Field, flow: Field, trust: Field, likely: Field, hidden: Field, guide: Frame) -> Field:
        settled = np.maximum(cv2.dilate(trust, NEAR), hidden)
        believed, guessed = evidence * trust**2, LIKELY * (1 - kinship * settled)
        weights = believed + guessed + FAINT
        own = flow - base
        told = own * believed[..., None] + (likely - base) * guessed[..., None] + FAINT * _around(own, believed)
        rest = told / weights[..., None]
        stiffness = 60.0 + STRANGERS * (1 - kinship)
        return base + hold * spread(rest, weights, guide, stiffness=stiffness, contrast=9.0 + 60.0 * (1 - kinship))

    ahead, behind = project(motion, here) - here, project(np.linalg.inv(motion), here) - here
    covered = _hidden(ahead, match.backward, match.backward_trust)
    uncovered = _hidden(behind, match.forward, match.forward_trust)
    forward, backward = both(
        lambda: smooth(ahead, match.forward, match.forward_trust, shapes.forward, covered, one),
        lambda: smooth(behind, match.backward, match.backward_trust, shapes.backward, uncovered, other),
    )
    return _Filled(course=course, forward=forward, backward=backward)


def _hidden(way: Field, back: Field, back_trust: Field) -> Field:
    """(h, w), 0 … 1: how surely what moves ``way``, as the whole does, arrives out of the picture or where something
    else is seen.

    What leaves, enters, is covered or uncovered has no place in the other picture, and no shape to become.
    """
    here = grid(way.shape[0], way.shape[1])
    arrival = here + way
    origin = arrival + sample(back, arrival)
    elsewhere = np.clip(np.hypot(*np.moveaxis(origin - here, 2, 0)) / 3 - 1, 0, 1)
    covered = np.minimum(2 * elsewhere * sample(back_trust, arrival), 1)
    outside = np.clip(1 - _margin(arrival) / CUT_OFF, 0, 1)
    return np.asarray(np.maximum(covered, outside), np.float32)


def _around(values: Field, weights: Field) -> Field:
    """The mean of ``values`` (h, w, 2) some ``AFAR`` pixels around, weighed by ``weights`` (h, w); 0 if none counts."""
    height, width = weights.shape
    carried = np.dstack([values * weights[..., None], weights]).astype(np.float32)
    coarse = cv2.resize(carried, (max(1, width // 8), max(1, height // 8)), interpolation=cv2.INTER_AREA)
    coarse = np.asarray(cv2.GaussianBlur(coarse, (0, 0), AFAR / 8), np.float32)
    return resize(coarse[..., :2] / (coarse[..., 2:] + np.float32(1e-3)), (height, width))


def _kinship(coverage: float) -> float:
    """0 between strangers … 1 between two views of one thing."""
    return min(1.0, coverage / RELATED)


def _woven(one: Frame, other: Frame, match: Match, filled: _Filled) -> Correspondence:
    """Both frames' pixels on one path. What was filled in and agrees from both sides is trusted too."""
    here = grid(one.shape[0], one.shape[1])
    motion, forward, backward = filled.course.motion, filled.forward, filled.backward
    back = np.linalg.inv(motion)
    anchor = here + backward
    forward_trust, backward_trust = both(
        lambda: agreement(one, other, forward, backward, loose=2.0, window=5),
        lambda: agreement(other, one, backward, forward, loose=2.0, window=5),
    )
    kinship = _kinship(match.coverage)
    forward_trust = np.maximum(match.forward_trust, kinship * forward_trust)
    backward_trust = np.maximum(match.backward_trust, kinship * backward_trust)
    (first_light, last_light), turning = both(
        lambda: (
            light_of(one, other, here + forward, match.forward_trust, kinship),
            light_of(other, one, anchor, match.backward_trust, kinship),
        ),
        lambda: turns(one, other, forward, backward, filled.course.front),
    )
    return Correspondence(
        path=Geodesic(motion),
        first=Strand(anchor=here, drift=project(back, here + forward) - here, trust=forward_trust),
        last=Strand(anchor=anchor, drift=project(back, here) - anchor, trust=backward_trust),
        first_light=first_light,
        last_light=last_light,
        turns=turning,
        coverage=match.coverage,
        strange=filled.course.strange,
    )


def _margin(places: Field) -> Field:
    """(h, w): how far inside the picture each of ``places`` (h, w, 2) is, below 0 outside."""
    height, width = places.shape[:2]
    opposite = np.array([width - 1, height - 1], np.float32) - places
    # A reduction along so short an axis is slow.
    nearer = np.minimum(places, opposite)
    return np.minimum(nearer[..., 0], nearer[..., 1])


def _away_from_edges(here: Field) -> Field:
    """0 at the edge of the picture, rising smoothly to 1 an eighth of the short side inwards."""
    height, width = here.shape[:2]
    part: Field = np.clip(_margin(here) / (min(height, width) / 8), 0, 1)
    return part * part * (3 - 2 * part)


def _common_motion(match: Match, guesses: list[Homography]) -> Homography | None:
    """The projective motion most trusted vectors share, if they share one."""
    if match.coverage < SCANTY:
        return next((motion for motion in guesses if is_moderate(motion) and _has_path(motion)), None)
    height, width = match.forward_trust.shape
    here = grid(height, width)[4::8, 4::8]
    chosen = match.forward_trust[4::8, 4::8] > 0.5
    points = here[chosen]
    shared = fit(points, points + match.forward[4::8, 4::8][chosen], (height, width), share=0.4)
    return next((motion for motion in (shared, *guesses) if motion is not None and _has_path(motion)), None)


def _has_path(motion: Homography) -> bool:
    try:
        Geodesic(motion)
    except ValueError:
        return False
    return True

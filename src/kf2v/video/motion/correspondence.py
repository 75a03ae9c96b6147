"""All that is known about a pair of frames: the motion of the whole, the motion of each pixel, the change of light.

Everything here is in pixels of the analysis size (long side ``LONG_SIDE`` at most), (x, y), centres at integers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from kf2v.video.frames import Frame
from kf2v.video.motion.alignment import fit, in_company, landmarks, planes
from kf2v.video.motion.diffusion import spread
from kf2v.video.motion.field import Field, grid, resize, sample
from kf2v.video.motion.halfway import morph
from kf2v.video.motion.matching import Match, agreement, best_of, led_by, match_from, resemble
from kf2v.video.motion.path import Geodesic, Homography, project

#: told how much of the work is done, 0 … 1; may raise to end it
Report: TypeAlias = Callable[[float], None]

#: pixels; flows are found at this size whatever the video's
LONG_SIDE = 608
#: pictures that have less than this share of themselves in common are treated the more cautiously the less they have
RELATED = 0.35
#: share that two pictures that have nothing to do with each other can have in common
SCRAPS = 0.02
#: how much stiffer the motion between strangers is than between two views of one thing
STRANGERS = 1500.0
#: weight of a resemblance in outline against a match in texture
LIKELY = 0.15


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
    #: (h, w, 3), grey levels: what the light adds to the first (last) frame to make it look like the other
    first_tone: Field
    last_tone: Field
    first_turn: Field
    last_turn: Field
    kinship: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filled:
    """Flows (h, w, 2) that have a value everywhere, and the motion they were filled around."""

    motion: Homography
    forward: Field
    backward: Field


def analyse(first: Frame, last: Frame, report: Report = lambda _: None) -> Correspondence:
    """Match two frames of one shape. Any two will do: where nothing belongs together, trust is low."""
    report(0.0)
    one, other = _reduce(first), _reduce(last)
    here = grid(one.shape[0], one.shape[1])
    corners, nodes = landmarks(one, other)
    motions = planes(*corners, (one.shape[0], one.shape[1]))
    points, targets = np.concatenate([corners[0], nodes[0]]), np.concatenate([corners[1], nodes[1]])
    kept = in_company(points, targets)
    points, targets = points[kept], targets[kept]
    report(0.15)
    match = _first_match(one, other, points, targets, motions, report)
    filled = _fill(one, other, match, motions[:1])
    report(0.65)
    if motions or _kinship(match) == 1:
        # What was filled in from around is often nearly right: searched from there, much of it is found after all.
        again = match_from(one, other, here + filled.forward, here + filled.backward)
        match = best_of(one, other, [match, again])
        report(0.75)
        filled = _fill(one, other, match, motions[:1])
    report(0.9)
    correspondence = _woven(one, other, match, filled)
    report(1.0)
    return correspondence


def _reduce(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def _first_match(
    one: Frame, other: Frame, points: Field, targets: Field, motions: list[Homography], report: Report
) -> Match:
    """Searched from rest, from the motion of each plane, and from landmarks that move like others near."""
    here = grid(one.shape[0], one.shape[1])
    matches = [match_from(one, other, here, here)]
    report(0.25)
    for motion in motions:
        matches.append(match_from(one, other, project(motion, here), project(np.linalg.inv(motion), here)))
        report(0.3)
    if len(points):
        matches.append(match_from(one, other, led_by(points, targets, here), led_by(targets, points, here)))
    report(0.45)
    return best_of(one, other, matches)


def _fill(one: Frame, other: Frame, match: Match, guesses: list[Homography]) -> _Filled:
    """Give every pixel a motion: its own where trusted, else its likeness's, its neighbours', the camera's."""
    motion = _common_motion(match, guesses)
    kinship = _kinship(match)
    if kinship < 0.3 and np.allclose(motion, np.eye(3)):
        h, w = one.shape[:2]
        z = 1.25
        motion = np.array([[z, 0, (1 - z) * w / 2], [0, z, (1 - z) * h / 2], [0, 0, 1]])
    # Some scraps look alike in any two pictures.
    evidence = min(1.0, max(0.0, match.coverage - SCRAPS) / SCRAPS)
    likeness = _shapes(one, other, motion, match)
    here = grid(one.shape[0], one.shape[1])
    hold = kinship + (1 - kinship) * _away_from_edges(here)[..., None]

    def smooth(base: Field, flow: Field, trust: Field, likely: Field, chance: Field, guide: Frame) -> Field:
        believed, guessed = evidence * trust**2, LIKELY * chance * (1 - kinship * trust)
        weights = believed + guessed + np.float32(2e-3)
        rest = ((flow - base) * believed[..., None] + (likely - base) * guessed[..., None]) / weights[..., None]
        stiffness = 60.0 + STRANGERS * (1 - kinship)
        return base + hold * spread(rest, weights, guide, stiffness=stiffness, contrast=9.0 + 60.0 * (1 - kinship))

    ahead, behind = project(motion, here) - here, project(np.linalg.inv(motion), here) - here
    return _Filled(
        motion=motion,
        forward=smooth(ahead, match.forward, match.forward_trust, likeness.forward, likeness.forward_trust, one),
        backward=smooth(
            behind, match.backward, match.backward_trust, likeness.backward, likeness.backward_trust, other
        ),
    )


def _shapes(one: Frame, other: Frame, motion: Homography, match: Match) -> Match:
    found = morph(one, other, motion, match)
    even = np.ones(one.shape[:2], np.float32)
    return Match(forward=found.forward, backward=found.backward, forward_trust=even, backward_trust=even)


def _kinship(match: Match) -> float:
    """0 between strangers … 1 between two views of one thing."""
    return min(1.0, match.coverage / RELATED)


def _woven(one: Frame, other: Frame, match: Match, filled: _Filled) -> Correspondence:
    """Both frames' pixels on one path. What was filled in and agrees from both sides is trusted too."""
    here = grid(one.shape[0], one.shape[1])
    back = np.linalg.inv(filled.motion)
    anchor = here + filled.backward
    forward_trust = agreement(one, other, filled.forward, filled.backward, loose=2.0, window=5)
    backward_trust = agreement(other, one, filled.backward, filled.forward, loose=2.0, window=5)
    kinship = _kinship(match)
    first_tone, last_tone = _tones(one, other, match, filled, kinship)
    first_turn, last_turn = turns(one, other, filled.forward, filled.backward)
    forward_trust = np.maximum(match.forward_trust, kinship * forward_trust)
    backward_trust = np.maximum(match.backward_trust, kinship * backward_trust)
    return Correspondence(
        path=Geodesic(filled.motion),
        first=Strand(anchor=here, drift=project(back, here + filled.forward) - here, trust=forward_trust),
        last=Strand(anchor=anchor, drift=project(back, here) - anchor, trust=backward_trust),
        first_tone=first_tone,
        last_tone=last_tone,
        first_turn=first_turn,
        last_turn=last_turn,
        kinship=kinship,
    )


MODE = __import__("os").environ.get("TURN", "auto")


def turns(one: Frame, other: Frame, forward: Field, backward: Field) -> tuple[Field, Field]:
    height, width = one.shape[:2]
    here = grid(height, width)
    x, y = (here[..., 0] - width / 2) / width * 2, (here[..., 1] - height / 2) / height * 2
    patterns = {"in": -np.hypot(x, y), "out": np.hypot(x, y), "left": -x, "right": x, "up": -y + 0.1 * x, "down": y + 0.1 * x}

    def soft(p, guide):
        return spread(p[..., None].astype(np.float32), np.full(p.shape, 1.0, np.float32), guide, stiffness=np.float32(400.0), contrast=12.0)[..., 0]

    def detail(p):
        g = cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32)
        return cv2.Sobel(g, -1, 1, 0, scale=1 / 8) ** 2 + cv2.Sobel(g, -1, 0, 1, scale=1 / 8) ** 2

    mine, yours = detail(one), sample(detail(other), here + forward)
    best = None
    for name, pattern in patterns.items():
        if MODE != "auto" and name != MODE:
            continue
        a = soft(pattern, one) + sample(soft(pattern, other), here + forward)
        order = np.argsort(a, axis=None, kind="stable")
        m, u = mine.ravel()[order], yours.ravel()[order]
        weight = np.cumsum(m / m.sum() + u / u.sum() + 1 / m.size)
        weight /= weight[-1]
        gone, come = np.cumsum(m), np.cumsum(u)
        now = (gone[-1] - gone) + come
        line = (1 - weight) * gone[-1] + weight * come[-1]
        ratio = now / line
        score = float(np.minimum(ratio, 1).mean()) + 0.3 * float(ratio.min()) + (0.1 if name == "in" else 0)
        if __import__("os").environ.get("V"): print(name, round(score, 3))
        if best is None or score > best[0]:
            rank = np.empty(a.size, np.float32)
            rank[order] = weight - 0.5
            best = score, rank
    first = 0.8 * best[1].reshape(height, width)
    return first, sample(first, here + backward)


def _away_from_edges(here: Field) -> Field:
    """0 at the edge of the picture, rising smoothly to 1 an eighth of the short side inwards."""
    height, width = here.shape[:2]
    opposite = np.array([width - 1, height - 1], np.float32) - here
    margin: Field = np.minimum(here, opposite).min(axis=2)
    part: Field = np.clip(margin / (min(height, width) / 8), 0, 1)
    return part * part * (3 - 2 * part)


def _common_motion(match: Match, guesses: list[Homography]) -> Homography:
    """The projective motion most trusted vectors share; no motion where they share none."""
    height, width = match.forward_trust.shape
    here = grid(height, width)[4::8, 4::8]
    chosen = match.forward_trust[4::8, 4::8] > 0.5
    points = here[chosen]
    shared = fit(points, points + match.forward[4::8, 4::8][chosen], (height, width), share=0.4)
    for motion in (shared, *guesses):
        if motion is not None:
            try:
                Geodesic(motion)
            except ValueError:
                continue
            return motion
    return np.eye(3)


def _tones(one: Frame, other: Frame, match: Match, filled: _Filled, kinship: float) -> tuple[Field, Field]:
    """How the light changes between the frames: differences of what surely is the same, spread widely."""
    here = grid(one.shape[0], one.shape[1])
    mine, yours = one.astype(np.float32), other.astype(np.float32)

    def change(near: Field, far: Field, flow: Field, trust: Field) -> Field:
        trust = trust + np.float32(1 - kinship)
        difference = (sample(far, here + flow) - near) * trust[..., None]
        height, width = trust.shape
        coarse = (max(1, height // 8), max(1, width // 8))
        reach = max(coarse) / 16
        weighed = cv2.resize(np.dstack([difference, trust]), coarse[::-1], interpolation=cv2.INTER_AREA)
        weighed = np.asarray(cv2.GaussianBlur(weighed, (0, 0), reach), np.float32)
        return resize(weighed[..., :3] / (weighed[..., 3:] + 0.05), (height, width))

    return (
        change(mine, yours, filled.forward, match.forward_trust),
        change(yours, mine, filled.backward, match.backward_trust),
    )

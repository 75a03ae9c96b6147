"""Which pixel of one frame is which pixel of the other, how sure that is, and what motion carries them all.

Everything here is in pixels of the analysis size (long side ``LONG_SIDE`` at most), (x, y), centres at integers.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from kf2v.engines import Watch
from kf2v.engines.morph.alignment import fit, landmarks
from kf2v.engines.morph.diffusion import spread
from kf2v.engines.morph.field import Field, grid, resize, sample
from kf2v.engines.morph.path import Geodesic, Homography, project
from kf2v.video import Frame

#: pixels; flows are found at this size whatever the video's
LONG_SIDE = 608
#: pictures that have less than this share of themselves in common are treated the more cautiously the less they have
RELATED = 0.35
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Match:
    """One attempt: flows (h, w, 2) from each frame to the other, and how far each vector can be trusted (h, w)."""

    forward: Field
    backward: Field
    forward_trust: Field
    backward_trust: Field

    @property
    def coverage(self) -> float:
        """The share of both pictures that is believed to be seen in both."""
        return float(self.forward_trust.mean() + self.backward_trust.mean()) / 2


def analyse(first: Frame, last: Frame, watch: Watch) -> Correspondence:
    """Match two frames of one shape. Any two will do: where nothing belongs together, trust is low."""
    watch.report("analyse", 0.0)
    one, other = _reduce(first), _reduce(last)
    here = grid(one.shape[0], one.shape[1])
    points, targets = landmarks(one, other)
    guess = fit(points, targets, (one.shape[0], one.shape[1]), share=0.2)
    watch.report("analyse", 0.15)
    matches = [_match(one, other, here, here)]
    watch.report("analyse", 0.3)
    if guess is not None:
        matches.append(_match(one, other, project(guess, here), project(np.linalg.inv(guess), here)))
        watch.report("analyse", 0.45)
    kept = _in_company(points, targets)
    if kept.any():
        points, targets = points[kept], targets[kept]
        matches.append(_match(one, other, _led_by(points, targets, here), _led_by(targets, points, here)))
    watch.report("analyse", 0.6)
    match = _best_of(one, other, matches)
    motion = _common_motion(match, guess)
    path = Geodesic(motion)
    back = np.linalg.inv(motion)
    kinship = min(1.0, match.coverage / RELATED)
    likeness = _resemble(one, other, motion) if kinship < 1 else match
    hold = kinship + (1 - kinship) * _away_from_edges(here)[..., None]

    def smooth(sure: Field, trust: Field, likely: Field, chance: Field, guide: Frame) -> Field:
        believed, guessed = trust**2, (1 - kinship) * LIKELY * chance
        weights = believed + guessed + np.float32(2e-3)
        drift = (sure * believed[..., None] + likely * guessed[..., None]) / weights[..., None]
        stiffness = 60.0 + STRANGERS * (1 - kinship)
        return hold * spread(drift, weights, guide, stiffness=stiffness, contrast=9.0 + 60.0 * (1 - kinship))

    def ahead(flow: Field) -> Field:
        return project(back, here + flow) - here

    def behind(flow: Field) -> Field:
        return start - (here + flow)

    start = project(back, here)
    drift = smooth(ahead(match.forward), match.forward_trust, ahead(likeness.forward), likeness.forward_trust, one)
    watch.report("analyse", 0.75)
    other_drift = smooth(
        behind(match.backward), match.backward_trust, behind(likeness.backward), likeness.backward_trust, other
    )
    watch.report("analyse", 0.9)
    first_tone, last_tone = _tones(one, other, match)
    watch.report("analyse", 1.0)
    return Correspondence(
        path=path,
        first=Strand(anchor=here, drift=drift, trust=match.forward_trust),
        last=Strand(anchor=start - other_drift, drift=other_drift, trust=match.backward_trust),
        first_tone=first_tone,
        last_tone=last_tone,
    )


def _reduce(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def _match(one: Frame, other: Frame, ahead: Field, behind: Field, loose: float = 1.0) -> _Match:
    """Flow both ways, each searched from a first idea (h, w, 2) of where in the other picture everything is."""
    with ThreadPoolExecutor(2) as pool:
        there = pool.submit(_flow, one, other, ahead)
        backward = _flow(other, one, behind)
        return _rated(one, other, there.result(), backward, loose)


def _rated(one: Frame, other: Frame, forward: Field, backward: Field, loose: float = 1.0) -> _Match:
    return _Match(
        forward=forward,
        backward=backward,
        forward_trust=_trust(one, other, forward, backward, loose),
        backward_trust=_trust(other, one, backward, forward, loose),
    )


def _best_of(one: Frame, other: Frame, matches: list[_Match]) -> _Match:
    """Pixel by pixel the flow whose surroundings are trusted most, and the trust such a mixture still deserves."""

    def choose(flows: list[Field], trusts: list[Field]) -> Field:
        support = np.stack([cv2.boxFilter(trust, -1, (9, 9)) for trust in trusts])
        chosen = support.argmax(axis=0)[None, ..., None]
        return np.take_along_axis(np.stack(flows), chosen, axis=0)[0]

    if len(matches) == 1:
        return matches[0]
    return _rated(
        one,
        other,
        choose([match.forward for match in matches], [match.forward_trust for match in matches]),
        choose([match.backward for match in matches], [match.backward_trust for match in matches]),
    )


def _flow(one: Frame, other: Frame, start: Field) -> Field:
    """Dense inverse search (Kroeger et al. 2016) between ``one`` and what ``start`` brings of ``other``."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (one, sample(other, start))]
    here = grid(one.shape[0], one.shape[1])
    rest = search.calc(grey[0], grey[1], np.zeros_like(here))
    return sample(start, here + rest) - here


def _in_company(points: Field, targets: Field) -> npt.NDArray[np.bool_]:
    """Which matches (n) move as at least two of their five nearest neighbours do."""
    if len(points) < 6:
        return np.zeros(len(points), bool)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    near = np.argsort(apart, axis=1, kind="stable")[:, 1:6]
    moves = targets - points
    off = np.linalg.norm(moves[near] - moves[:, None], axis=2)
    return (off < 3 + 0.25 * np.take_along_axis(apart, near, axis=1)).sum(axis=1) >= 2


def _led_by(points: Field, targets: Field, here: Field) -> Field:
    """(h, w, 2): every pixel moved as the nearest of ``points`` moves to its target."""
    height, width = here.shape[:2]
    x, y = np.clip(np.rint(points).astype(int), 0, [width - 1, height - 1]).T
    seeds = np.full((height, width), 255, np.uint8)
    seeds[y, x] = 0
    _, nearest = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    labels = np.asarray(nearest, np.intp)
    moves = np.zeros((int(labels.max()) + 1, 2), np.float32)
    moves[labels[y, x]] = targets - points
    return here + moves[labels]


def _trust(one: Frame, other: Frame, forward: Field, backward: Field, loose: float) -> Field:
    """High where going there and back ends where it started, on a spot that looks alike, inside the picture."""
    target = grid(one.shape[0], one.shape[1]) + forward
    astray = np.linalg.norm(forward + sample(backward, target), axis=2)
    allowed = 0.8 + 0.03 * np.linalg.norm(forward, axis=2)
    returned = np.exp(-((astray / allowed / loose) ** 2) / 2)
    height, width = one.shape[:2]
    inside = (target >= -0.5).all(axis=2) & (target[..., 0] <= width - 0.5) & (target[..., 1] <= height - 0.5)
    trust = np.asarray(returned * _likeness(one, other, target) * inside, np.float32)
    # A match that stands alone among mismatches is chance.
    side = max(height, width) // 20 * 2 + 1
    company = np.asarray(np.clip(cv2.boxFilter(trust, -1, (side, side)) / 0.25 - 0.4, 0, 1), np.float32)
    return trust * company * _undivided(forward)


def _undivided(flow: Field) -> Field:
    """1 inside a motion, little where two meet: flow is found by patches, so only colour knows where the edge runs."""
    near = np.ones((3, 3), np.uint8)
    jump = np.asarray(cv2.dilate(flow, near), np.float32) - cv2.erode(flow, near)
    divided = cv2.dilate((jump.max(axis=2) > 2).astype(np.uint8), np.ones((7, 7), np.uint8))
    return np.where(np.asarray(divided) > 0, np.float32(0.15), np.float32(1))


def _resemble(one: Frame, other: Frame, motion: Homography) -> _Match:
    """What is alike only in outline: flows between small pictures of which local contrast is all that is left."""
    height, width = one.shape[:2]
    scale = 4
    size = (max(16, width // scale), max(16, height // scale))
    stretch = np.array([size[0] / width, size[1] / height], np.float32)
    shrink = np.diag([*stretch, 1.0])
    small = [
        _outline(np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)) for frame in (one, other)
    ]
    less = shrink @ motion @ np.linalg.inv(shrink)
    here = grid(size[1], size[0])
    match = _match(small[0], small[1], project(less, here), project(np.linalg.inv(less), here), loose=6.0)
    return _Match(
        forward=resize(match.forward, (height, width)) / stretch,
        backward=resize(match.backward, (height, width)) / stretch,
        forward_trust=resize(match.forward_trust, (height, width)),
        backward_trust=resize(match.backward_trust, (height, width)),
    )


def _outline(frame: Frame) -> Frame:
    grey = cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.5)
    rest = grey - cv2.GaussianBlur(grey, (0, 0), 16)
    strength = np.sqrt(cv2.GaussianBlur(rest * rest, (0, 0), 16)) + 4
    return np.dstack([np.clip(128 + 50 * rest / strength, 0, 255).astype(np.uint8)] * 3)


def _away_from_edges(here: Field) -> Field:
    """0 at the edge of the picture, rising smoothly to 1 an eighth of the short side inwards."""
    height, width = here.shape[:2]
    opposite = np.array([width - 1, height - 1], np.float32) - here
    margin: Field = np.minimum(here, opposite).min(axis=2)
    part: Field = np.clip(margin / (min(height, width) / 8), 0, 1)
    return part * part * (3 - 2 * part)


def _likeness(one: Frame, other: Frame, target: Field) -> Field:
    """1 where the surroundings show the same texture (whatever their tone), towards 0 where it differs."""
    mine = _texture(one.astype(np.float32))
    yours = _texture(sample(other.astype(np.float32), target))
    energy = cv2.boxFilter(mine**2 + yours**2, -1, (9, 9)).mean(axis=2) + 8.0
    difference = cv2.boxFilter((mine - yours) ** 2, -1, (9, 9)).mean(axis=2)
    return np.asarray(np.exp(-((difference / energy / 0.45) ** 2)), np.float32)


def _texture(picture: Field) -> Field:
    return picture - cv2.GaussianBlur(picture, (0, 0), 5.0)


def _common_motion(match: _Match, guess: Homography | None) -> Homography:
    """The projective motion most trusted vectors share; no motion where they share none."""
    height, width = match.forward_trust.shape
    here = grid(height, width)[4::8, 4::8]
    chosen = match.forward_trust[4::8, 4::8] > 0.5
    points = here[chosen]
    shared = fit(points, points + match.forward[4::8, 4::8][chosen], (height, width), share=0.4)
    for motion in (shared, guess):
        if motion is not None:
            try:
                Geodesic(motion)
            except ValueError:
                continue
            return motion
    return np.eye(3)


def _tones(one: Frame, other: Frame, match: _Match) -> tuple[Field, Field]:
    """How the light changes between the frames: differences of what surely is the same, spread widely."""
    here = grid(one.shape[0], one.shape[1])
    mine, yours = one.astype(np.float32), other.astype(np.float32)

    def change(near: Field, far: Field, flow: Field, trust: Field) -> Field:
        difference = (sample(far, here + flow) - near) * trust[..., None]
        reach = max(trust.shape) / 16
        total = cv2.GaussianBlur(trust, (0, 0), reach) + 0.05
        return np.asarray(cv2.GaussianBlur(difference, (0, 0), reach) / total[..., None], np.float32)

    return (
        change(mine, yours, match.forward, match.forward_trust),
        change(yours, mine, match.backward, match.backward_trust),
    )

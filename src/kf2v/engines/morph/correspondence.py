"""Which pixel of one frame is which pixel of the other, how sure that is, and what motion carries them all.

Everything here is in pixels of the analysis size (long side ``LONG_SIDE`` at most), (x, y), centres at integers.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from kf2v.engines import Watch
from kf2v.engines.morph.alignment import align, fit
from kf2v.engines.morph.diffusion import spread
from kf2v.engines.morph.field import Field, grid, sample
from kf2v.engines.morph.path import Geodesic, Homography, project
from kf2v.video import Frame

#: pixels; flows are found at this size whatever the video's
LONG_SIDE = 608


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
    match = _match(one, other, np.eye(3))
    watch.report("analyse", 0.3)
    guess = align(one, other)
    watch.report("analyse", 0.4)
    if guess is not None:
        aligned = _match(one, other, guess)
        if aligned.coverage > match.coverage:
            match = aligned
    watch.report("analyse", 0.6)
    motion = _common_motion(match, guess)
    path = Geodesic(motion)
    back = np.linalg.inv(motion)
    here = grid(one.shape[0], one.shape[1])
    stiffness = 60.0 + 3000.0 * (1 - min(1.0, match.coverage / 0.5)) ** 2

    def smooth(drift: Field, trust: Field, guide: Frame) -> Field:
        return spread(drift, trust**2 + np.float32(2e-3), guide, stiffness=stiffness, contrast=9.0)

    drift = smooth(project(back, here + match.forward) - here, match.forward_trust, one)
    watch.report("analyse", 0.75)
    start = project(back, here)
    other_drift = smooth(start - (here + match.backward), match.backward_trust, other)
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


def _match(one: Frame, other: Frame, motion: Homography) -> _Match:
    """Flow both ways, each searched on a picture that ``motion`` has already brought near."""
    here = grid(one.shape[0], one.shape[1])
    with ThreadPoolExecutor(2) as pool:
        there = pool.submit(_flow, one, other, motion, here)
        backward = _flow(other, one, np.linalg.inv(motion), here)
        forward = there.result()
    return _Match(
        forward=forward,
        backward=backward,
        forward_trust=_trust(one, other, forward, backward, here),
        backward_trust=_trust(other, one, backward, forward, here),
    )


def _flow(one: Frame, other: Frame, motion: Homography, here: Field) -> Field:
    brought = project(motion, here)
    near = sample(other, brought)
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    rest = search.calc(
        cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), cv2.cvtColor(near, cv2.COLOR_RGB2GRAY), np.zeros_like(here)
    )
    return project(motion, here + np.asarray(rest, np.float32)) - here


def _trust(one: Frame, other: Frame, forward: Field, backward: Field, here: Field) -> Field:
    """High where going there and back ends where it started, on a spot that looks alike, inside the picture."""
    target = here + forward
    astray = np.linalg.norm(forward + sample(backward, target), axis=2)
    allowed = 0.8 + 0.03 * np.linalg.norm(forward, axis=2)
    returned = np.exp(-((astray / allowed) ** 2) / 2)
    height, width = one.shape[:2]
    inside = (target >= -0.5).all(axis=2) & (target[..., 0] <= width - 0.5) & (target[..., 1] <= height - 0.5)
    return np.asarray(returned * _likeness(one, other, target) * inside, np.float32)


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

"""Which pixel of one frame is which pixel of the other, and how sure that is."""

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from kf2v.video.frames import Frame
from kf2v.video.motion.field import Field, grid, length, sample
from kf2v.video.motion.threads import both


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One attempt: flows (h, w, 2) from each frame to the other, and how far each vector can be trusted (h, w)."""

    forward: Field
    backward: Field
    forward_trust: Field
    backward_trust: Field

    @property
    def coverage(self) -> float:
        """The share of both pictures that is believed to be seen in both."""
        return float(self.forward_trust.mean() + self.backward_trust.mean()) / 2


def match_from(one: Frame, other: Frame, ahead: Field, behind: Field) -> Match:
    """Flow both ways, each searched from a first idea (h, w, 2) of where in the other picture everything is."""
    return _rated(one, other, *both(lambda: _flow(one, other, ahead), lambda: _flow(other, one, behind)))


def _rated(one: Frame, other: Frame, forward: Field, backward: Field) -> Match:
    forward_trust, backward_trust = both(
        lambda: _accompanied(agreement(one, other, forward, backward)) * _undivided(forward),
        lambda: _accompanied(agreement(other, one, backward, forward)) * _undivided(backward),
    )
    return Match(forward=forward, backward=backward, forward_trust=forward_trust, backward_trust=backward_trust)


def best_of(one: Frame, other: Frame, matches: list[Match]) -> Match:
    """Pixel by pixel the flow whose surroundings are trusted most, and the trust such a mixture still deserves."""

    def choose(flows: list[Field], trusts: list[Field]) -> Field:
        support = np.stack([cv2.boxFilter(trust, -1, (9, 9)) for trust in trusts])
        chosen = support.argmax(axis=0)[None, ..., None]
        return np.take_along_axis(np.stack(flows), chosen, axis=0)[0]

    if len(matches) == 1:
        return matches[0]
    forward, backward = both(
        lambda: choose([match.forward for match in matches], [match.forward_trust for match in matches]),
        lambda: choose([match.backward for match in matches], [match.backward_trust for match in matches]),
    )
    return _rated(one, other, forward, backward)


def _flow(one: Frame, other: Frame, start: Field) -> Field:
    """Dense inverse search (Kroeger et al. 2016) between ``one`` and what ``start`` brings of ``other``."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (one, sample(other, start))]
    here = grid(one.shape[0], one.shape[1])
    anew = cast(Field, None)  # there is no flow to start from, which OpenCV's annotations do not know
    rest = np.asarray(search.calc(grey[0], grey[1], anew), np.float32)
    return sample(start, here + rest) - here


def led_by(points: Field, targets: Field, here: Field) -> Field:
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


def agreement(
    one: Frame, other: Frame, forward: Field, backward: Field, *, loose: float = 1.0, window: int = 9
) -> Field:
    """High where going there and back ends where it started, on a spot that looks alike, inside the picture."""
    target = grid(one.shape[0], one.shape[1]) + forward
    astray = length(forward + sample(backward, target))
    allowed = 0.8 + 0.03 * length(forward)
    returned = np.exp(-((astray / allowed / loose) ** 2) / 2)
    height, width = one.shape[:2]
    x, y = target[..., 0], target[..., 1]
    inside = (x >= -0.5) & (y >= -0.5) & (x <= width - 0.5) & (y <= height - 0.5)
    return np.asarray(returned * _likeness(one, other, target, window) * inside, np.float32)


def _accompanied(trust: Field) -> Field:
    """A match that stands alone among mismatches is chance: its trust falls to 0."""
    side = max(trust.shape) // 20 * 2 + 1
    company = np.asarray(np.clip(cv2.boxFilter(trust, -1, (side, side)) / 0.25 - 0.4, 0, 1), np.float32)
    return trust * company


def _undivided(flow: Field) -> Field:
    """1 inside a motion, little where two meet: flow is found by patches, so only colour knows where the edge runs."""
    near = np.ones((3, 3), np.uint8)
    jump = np.asarray(cv2.dilate(flow, near), np.float32) - cv2.erode(flow, near)
    divided = cv2.dilate((np.maximum(jump[..., 0], jump[..., 1]) > 2).astype(np.uint8), np.ones((7, 7), np.uint8))
    return np.where(np.asarray(divided) > 0, np.float32(0.15), np.float32(1))


def _likeness(one: Frame, other: Frame, target: Field, window: int) -> Field:
    """1 where the surroundings show the same texture (whatever their tone), towards 0 where it differs."""
    mine = _texture(one.astype(np.float32))
    yours = _texture(sample(other.astype(np.float32), target))
    energy = cv2.boxFilter(_mean(mine**2 + yours**2), -1, (window, window)) + 8.0
    difference = cv2.boxFilter(_mean((mine - yours) ** 2), -1, (window, window))
    return np.asarray(np.exp(-((difference / energy / 0.45) ** 2)), np.float32)


def _mean(picture: Field) -> Field:
    """Over the three channels; a reduction along so short an axis is slow."""
    return (picture[..., 0] + picture[..., 1] + picture[..., 2]) / 3


def _texture(picture: Field) -> Field:
    return picture - cv2.GaussianBlur(picture, (0, 0), 5.0)

"""A frame at any position between the two, by warping both and weighing them pixel by pixel."""

from dataclasses import dataclass

import cv2
import numpy as np

from kf2v.video.frames import Frame
from kf2v.video.motion.correspondence import Correspondence, Strand
from kf2v.video.motion.field import Field, grid, resize, sample
from kf2v.video.motion.path import Homography, project

#: weight of a pixel nobody trusts, against 1 for a sure one
DOUBT = 0.05
#: share of the clip within which unmatched surroundings change hands; matched ones take the whole clip
HANDOVER = 0.25
#: of its linear share a frame keeps at least this, so that what it alone sees is there from the beginning
GLIMPSE = 0.1
#: weight of what the other frame's pixels say about where to read this one
HEARSAY = 0.2
#: what is narrower than this is no gap
THREAD = np.ones((5, 5), np.uint8)
#: grey levels; a change of light below this is not worth its arithmetic
NOTICEABLE = 1.5


class Renderer:
    """Holds a pair and its correspondence; ``frame`` may be called from several threads."""

    def __init__(self, first: Frame, last: Frame, correspondence: Correspondence) -> None:
        self._first, self._last = first, last
        self._pair = correspondence
        self._swarms = (_Swarm(correspondence.first), _Swarm(correspondence.last))
        self._here = grid(*correspondence.first.trust.shape)
        self._shape = (first.shape[0], first.shape[1])
        self._full = grid(*self._shape)
        tones = (correspondence.first_tone, correspondence.last_tone)
        self._lit = max(float(np.abs(tone).mean()) for tone in tones) > NOTICEABLE

    def frame(self, position: float) -> Frame:
        """The picture at ``position``, strictly between 0 (the first frame) and 1 (the last)."""
        pair, here = self._pair, self._here
        motion = pair.path.at(position)
        ahead = pair.path.at(1 - position)
        first = self._swarms[0].land(motion, position, zoom=_zoom(motion, here))
        last = self._swarms[1].land(motion, position, zoom=_zoom(np.linalg.inv(ahead), here))
        plane = project(np.linalg.inv(motion), here)
        from_first = plane - position * _drift(first, last)
        from_last = project(pair.path.at(1), plane + (1 - position) * _drift(last, first))

        matched = np.clip((first.trusted + last.trusted) / (first.seen + last.seen + 1e-3), 0, 1)
        width = HANDOVER + (1 - HANDOVER) * matched
        share = np.clip(0.5 + (position - 0.5) / width, GLIMPSE * position, 1 - GLIMPSE * (1 - position))
        weight_first = (1 - share) * _visible(first.seen, from_first, position)
        weight_last = share * _visible(last.seen, from_last, 1 - position)
        share = weight_last / (weight_first + weight_last)

        wide_share = resize(share, self._shape)
        blended = cv2.blendLinear(
            self._warp(self._first, from_first), self._warp(self._last, from_last), 1 - wide_share, wide_share
        )
        if self._lit:
            coarse = (slice(None, None, 4), slice(None, None, 4))
            tone = ((1 - share) * position)[coarse][..., None] * sample(pair.first_tone, from_first[coarse])
            tone += (share * (1 - position))[coarse][..., None] * sample(pair.last_tone, from_last[coarse])
            blended = cv2.add(blended, resize(tone, self._shape), dtype=cv2.CV_8U)
        return np.asarray(blended, np.uint8)

    def _warp(self, picture: Frame, origin: Field) -> Frame:
        """``picture`` read at ``origin`` (analysis pixels); displacements are enlarged, so that rest stays rest."""
        scale = np.array([self._full.shape[1], self._full.shape[0]], np.float32)
        scale /= np.array([origin.shape[1], origin.shape[0]], np.float32)
        at = resize((origin - self._here) * scale, self._shape) + self._full
        return sample(picture, at, border=cv2.BORDER_REFLECT_101)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Landing:
    """What one frame's pixels leave where they come down."""

    #: (h, w, 4), sums of trust, of trust and doubt (the weight), and of both components of drift times weight
    sums: Field

    @property
    def trusted(self) -> Field:
        """(h, w), sum of trust."""
        return self.sums[..., 0]

    @property
    def seen(self) -> Field:
        """(h, w): 1 where pixels land as densely as they should, 0 in the gaps that open behind moving things."""
        return (self.sums[..., 1] - self.sums[..., 0]) / DOUBT


class _Swarm:
    """One frame's pixels in flight."""

    def __init__(self, strand: Strand) -> None:
        self._strand = strand
        self._shape = strand.trust.shape
        weight = strand.trust + DOUBT
        carried = (strand.trust, weight, weight * strand.drift[..., 0], weight * strand.drift[..., 1])
        self._carried = [np.asarray(load, np.float64).ravel() for load in carried]

    def land(self, motion: Homography, position: float, *, zoom: float) -> _Landing:
        """Every pixel falls into the cell it is in at ``position`` and is spread a little, more where they thin out."""
        height, width = self._shape
        at = np.rint(project(motion, self._strand.anchor + position * self._strand.drift))
        x, y = at[..., 0], at[..., 1]
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        outside = height * width
        cell = np.asarray(np.where(inside, y * width + x, outside), np.intp).ravel()
        landed = np.empty((height, width, 4), np.float32)
        for layer, load in enumerate(self._carried):
            landed[..., layer] = np.bincount(cell, load, minlength=outside + 1)[:outside].reshape(height, width)
        spreading = 0.9 * max(1.0, zoom)
        side = 2 * round(2.5 * spreading) + 1
        return _Landing(
            sums=np.asarray(cv2.GaussianBlur(landed * np.float32(zoom**2), (side, side), spreading), np.float32)
        )


def _drift(own: _Landing, other: _Landing) -> Field:
    """Where a frame is read: at its own pixels' drift, unless the other's are much surer; gaps filled from around."""
    total = cv2.addWeighted(own.sums, 1.0, other.sums, HEARSAY, 0.0)
    height, width = total.shape[:2]
    small = cv2.resize(total, (-(-width // 8), -(-height // 8)), interpolation=cv2.INTER_AREA)
    small = np.asarray(cv2.GaussianBlur(small, (0, 0), 2.0), np.float32)
    around = resize(small[..., 2:] / (small[..., 1:2] + 1e-6), (height, width))
    weight = total[..., 1:2] + 1e-3
    return np.asarray((total[..., 2:] + 1e-3 * around) / weight, np.float32)


def _visible(seen: Field, origin: Field, age: float) -> Field:
    """0 … 1: there are pixels, and they come from inside the picture; the seam softens as the picture ages."""
    height, width = seen.shape
    x, y = origin[..., 0], origin[..., 1]
    margin = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
    soft = np.float32(1 + age * 0.04 * max(height, width))
    # What grows thins out line by line: lines that nothing lands on are no gap, and would show as rings if they were.
    dense = np.asarray(cv2.morphologyEx(seen, cv2.MORPH_CLOSE, THREAD), np.float32)
    return np.clip(3 * dense - 1.35, 0, 1) * np.clip((margin + 1) / soft, 0, 1) + np.float32(1e-3)


def _zoom(motion: Homography, here: Field) -> float:
    """How much larger ``motion`` makes things, at the middle of the picture."""
    height, width = here.shape[:2]
    depth = float(motion[2] @ np.array([width / 2, height / 2, 1.0]))
    return float(np.sqrt(np.linalg.det(motion) / abs(depth) ** 3))

"""A frame at any position between the two, by warping both and weighing them pixel by pixel."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from kf2v.video.frames import Frame
from kf2v.video.motion.correspondence import Correspondence, Strand
from kf2v.video.motion.field import Field, grid, resize, sample
from kf2v.video.motion.path import Homography, in_pixels, project

#: weight of a pixel nobody trusts, against 1 for a sure one
DOUBT = 0.05
#: share of the clip within which a place that is not matched changes hands: in pictures that have nothing in common,
#: and in two views of one thing; a matched one takes the whole clip
HANDOVER, RELATIVES_HANDOVER = 0.12, 0.25
#: how much of the difference in time between places is kept in two views of one thing
RELATIVES_TURN = 0.35
#: of its linear share a frame keeps at least this, so that what it alone sees is there from the beginning
GLIMPSE = 0.04
#: weight of what the other frame's pixels say about where to read this one
HEARSAY = 0.2
#: what is narrower than this is no gap
THREAD = np.ones((5, 5), np.uint8)
#: of BT.601, full range, as JPEG has it and OpenCV
RGB_TO_YCRCB = np.array([[0.299, 0.587, 0.114], [0.5, -0.4187, -0.0813], [-0.1687, -0.3313, 0.5]], np.float32)
#: grey levels; a change of light below this is not worth its arithmetic
NOTICEABLE = 1.5


#: position 0 … 1 to a motion of the whole picture
Bend: TypeAlias = Callable[[float], Homography]


def unbent(_position: float) -> Homography:
    """No motion beyond what is between the pictures."""
    return np.eye(3)


class Renderer:
    """Holds a pair and its correspondence; ``frame`` may be called from several threads."""

    def __init__(self, first: Frame, last: Frame, correspondence: Correspondence, bend: Bend = unbent) -> None:
        """``bend`` says where a point of the picture goes besides, at each position, in units of ``path.in_pixels``."""
        self._bend = bend
        self._plates = (_plates(first), _plates(last))
        self._pair = correspondence
        self._swarms = (_Swarm(correspondence.first), _Swarm(correspondence.last))
        self._here = grid(*correspondence.first.trust.shape)
        self._grids = {
            plane.shape[:2]: grid(*plane.shape[:2]) for plane in (self._plates[0].luma, self._plates[0].chroma)
        }
        self._tones = [
            cv2.transform(tone, RGB_TO_YCRCB) for tone in (correspondence.first_tone, correspondence.last_tone)
        ]
        self._lit = max(float(np.abs(tone).mean()) for tone in self._tones) > NOTICEABLE

    def frame(self, position: float) -> Frame:
        """The picture at ``position``, strictly between 0 (the first frame) and 1 (the last)."""
        pair, here = self._pair, self._here
        bend = in_pixels(self._bend(position), (here.shape[0], here.shape[1]))
        motion = bend @ pair.path.at(position)
        behind = bend @ np.linalg.inv(pair.path.at(1 - position))
        first = self._swarms[0].land(motion, position, zoom=_zoom(motion, here))
        last = self._swarms[1].land(motion, position, zoom=_zoom(behind, here))
        plane = project(np.linalg.inv(motion), here)
        from_first = plane - position * _drift(first, last)
        from_last = project(pair.path.at(1), plane + (1 - position) * _drift(last, first))

        matched = np.clip((first.trusted + last.trusted) / (first.seen + last.seen + 1e-3), 0, 1)
        at_once = HANDOVER + (RELATIVES_HANDOVER - HANDOVER) * pair.kinship
        width = at_once + (1 - at_once) * matched
        turn = (sample(pair.turns.first, from_first) + sample(pair.turns.last, from_last)) / 2
        turn *= (1 - matched) * (1 - (1 - RELATIVES_TURN) * pair.kinship)
        share = np.clip(0.5 + (position - 0.5 - turn) / width, GLIMPSE * position, 1 - GLIMPSE * (1 - position))
        weight_first = (1 - share) * _visible(first.seen, from_first, position, pair.kinship)
        weight_last = share * _visible(last.seen, from_last, 1 - position, pair.kinship)
        share = weight_last / (weight_first + weight_last)

        return self._developed(from_first, from_last, share, self._light(from_first, from_last, share, position))

    def _light(self, from_first: Field, from_last: Field, share: Field, position: float) -> Field | None:
        """(h, w, 3), Y'CrCb levels to add where the light changes between the frames."""
        if not self._lit:
            return None
        coarse = (slice(None, None, 4), slice(None, None, 4))
        tone = ((1 - share) * position)[coarse][..., None] * sample(self._tones[0], from_first[coarse])
        return tone + (share * (1 - position))[coarse][..., None] * sample(self._tones[1], from_last[coarse])

    def _developed(self, from_first: Field, from_last: Field, share: Field, light: Field | None) -> Frame:
        """Both pictures read at their origins, luma sharply at full size and chroma at half, and joined."""
        luma = self._joined([plates.luma for plates in self._plates], from_first, from_last, share, cv2.INTER_CUBIC)
        chroma = self._joined(
            [plates.chroma for plates in self._plates], from_first, from_last, share, cv2.INTER_LINEAR
        )
        if light is not None:
            luma = cv2.add(luma, resize(light[..., 0], luma.shape[:2]), dtype=cv2.CV_8U)
            chroma = cv2.add(chroma, resize(light[..., 1:], chroma.shape[:2]), dtype=cv2.CV_8U)
        wide = cv2.resize(chroma, luma.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.cvtColor(cv2.merge([luma, *cv2.split(wide)]), cv2.COLOR_YCrCb2RGB), np.uint8)

    def _joined(
        self, planes: list[npt.NDArray[np.uint8]], from_first: Field, from_last: Field, share: Field, kernel: int
    ) -> npt.NDArray[np.uint8]:
        shape = planes[0].shape[:2]
        wide = resize(share, shape)
        first, last = (self._warp(plane, at, kernel) for plane, at in zip(planes, (from_first, from_last), strict=True))
        return np.asarray(cv2.blendLinear(first, last, 1 - wide, wide), np.uint8)

    def _warp(self, plane: npt.NDArray[np.uint8], origin: Field, kernel: int) -> npt.NDArray[np.uint8]:
        """``plane`` read at ``origin`` (analysis pixels); displacements are enlarged, so that rest stays rest."""
        height, width = plane.shape[:2]
        scale = np.array([width / origin.shape[1], height / origin.shape[0]], np.float32)
        at = resize((origin - self._here) * scale, (height, width)) + self._grids[height, width]
        return np.asarray(cv2.remap(plane, at, None, kernel, borderMode=cv2.BORDER_REFLECT_101), np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plates:
    """A picture as it is read: Y' (H, W) and CrCb (H/2, W/2, 2), full range; colour needs no more, nor is it coded finer."""

    luma: npt.NDArray[np.uint8]
    chroma: npt.NDArray[np.uint8]


def _plates(picture: Frame) -> _Plates:
    planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)
    height, width = picture.shape[:2]
    half = cv2.resize(planes[..., 1:], ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    return _Plates(luma=np.ascontiguousarray(planes[..., 0]), chroma=half)


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


def _visible(seen: Field, origin: Field, age: float, kinship: float = 1.0) -> Field:
    """0 … 1: there are pixels, and they come from inside the picture; the seam softens as the picture ages."""
    height, width = seen.shape
    x, y = origin[..., 0], origin[..., 1]
    margin = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
    soft = np.float32(1 + age * 0.04 * max(height, width))
    # What grows thins out line by line: lines that nothing lands on are no gap, and would show as rings if they were.
    dense = np.asarray(cv2.morphologyEx(seen, cv2.MORPH_CLOSE, THREAD), np.float32)
    return np.maximum(
        np.clip(3 * dense - 1.35, 0, 1) * np.clip((margin + 1) / soft, 0, 1), np.float32(1 - kinship)
    ) + np.float32(3e-4)


def _zoom(motion: Homography, here: Field) -> float:
    """How much larger ``motion`` makes things, at the middle of the picture."""
    height, width = here.shape[:2]
    depth = float(motion[2] @ np.array([width / 2, height / 2, 1.0]))
    return float(np.sqrt(np.linalg.det(motion) / abs(depth) ** 3))

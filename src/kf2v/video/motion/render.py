"""A frame at any position between the two, by warping both and weighing them pixel by pixel.

There are two steps, for they cost alike and need not be done as often. A view says, at the size of the analysis, where
each place is read in either frame and how much of each is seen; from one frame of a film to the next it changes so
little that views in between are as good as their mean. Developing a view reads the frames at full size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from kf2v.video.frames import Frame
from kf2v.video.motion.correspondence import Correspondence
from kf2v.video.motion.field import Field, grid, resize, sample
from kf2v.video.motion.landing import Landing, Swarm, drift_of, visible, zoom_of
from kf2v.video.motion.path import Homography, in_pixels, project

#: share of the clip within which a place that is not matched changes hands: in pictures that have nothing in common,
#: and in two views of one thing; a matched one takes the whole clip
HANDOVER, RELATIVES_HANDOVER = 0.1, 0.25
#: how much of the difference in time between places is kept in two views of one thing
RELATIVES_TURN = 0.35
#: of its linear share a frame keeps at least this, so that what it alone sees is there from the beginning
GLIMPSE = 0.04
#: coverage above which it is rings that show, and below which it is blur
CLEAR = 0.7
#: of BT.601, full range, as JPEG has it and OpenCV
RGB_TO_YCRCB = np.array([[0.299, 0.587, 0.114], [0.5, -0.4187, -0.0813], [-0.1687, -0.3313, 0.5]], np.float32)
#: grey levels; a change of light below this is not worth its arithmetic
NOTICEABLE = 1.5

#: (h, w) or (h, w, 2)
Plane: TypeAlias = npt.NDArray[np.uint8]

#: a plane read at places (H, W, 2) in it
Reading: TypeAlias = Callable[[Plane, Field], Plane]

#: position 0 … 1 to a motion of the whole picture
Bend: TypeAlias = Callable[[float], Homography]


def unbent(_position: float) -> Homography:
    """No motion beyond what is between the pictures."""
    return np.eye(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is seen at a moment, in pixels of the analysis."""

    #: (h, w, 2), from each place to where the first (last) frame is read for it
    to_first: Field
    to_last: Field
    #: (h, w), how much of what is shown is the last frame's
    share: Field
    #: (about h/4, w/4, 3), Y'CrCb levels to add; none where the light does not change
    light: Field | None

    def towards(self, other: "View", part: float) -> "View":
        """The view ``part`` of the way to one a few frames away."""

        def mean(mine: Field, yours: Field) -> Field:
            return np.asarray(cv2.addWeighted(mine, 1 - part, yours, part, 0), np.float32)

        return View(
            to_first=mean(self.to_first, other.to_first),
            to_last=mean(self.to_last, other.to_last),
            share=mean(self.share, other.share),
            light=None if self.light is None or other.light is None else mean(self.light, other.light),
        )


class Renderer:
    """Holds a pair and its correspondence; its methods may be called from several threads."""

    def __init__(self, first: Frame, last: Frame, correspondence: Correspondence, bend: Bend = unbent) -> None:
        """``bend`` says where a point of the picture goes besides, at each position, in units of ``path.in_pixels``."""
        self._bend = bend
        self._read = _softly if correspondence.coverage > CLEAR else _sharply
        self._plates = (_plates(first), _plates(last))
        self._pair = correspondence
        self._swarms = (Swarm(correspondence.first), Swarm(correspondence.last))
        self._here = grid(*correspondence.first.trust.shape)
        self._grids = {
            plane.shape[:2]: grid(*plane.shape[:2]) for plane in (self._plates[0].luma, self._plates[0].chroma)
        }
        tones = [cv2.transform(tone, RGB_TO_YCRCB) for tone in (correspondence.first_tone, correspondence.last_tone)]
        self._tones = [np.asarray(tone, np.float32) for tone in tones]
        self._lit = max(float(np.abs(tone).mean()) for tone in self._tones) > NOTICEABLE

    def frame(self, position: float) -> Frame:
        """The picture at ``position``, strictly between 0 (the first frame) and 1 (the last)."""
        return self.develop(self.view(position))

    def view(self, position: float) -> View:
        """What is seen at ``position``."""
        pair, here = self._pair, self._here
        bend = in_pixels(self._bend(position), (here.shape[0], here.shape[1]))
        motion = bend @ pair.path.at(position)
        behind = bend @ np.linalg.inv(pair.path.at(1 - position))
        first = self._swarms[0].land(motion, position, zoom=zoom_of(motion, here))
        last = self._swarms[1].land(motion, position, zoom=zoom_of(behind, here))
        plane = project(np.linalg.inv(motion), here)
        from_first = plane - position * drift_of(first, last)
        from_last = project(pair.path.at(1), plane + (1 - position) * drift_of(last, first))
        share = self._share(position, first, last, from_first, from_last)
        light = self._light(position, share, from_first, from_last) if self._lit else None
        return View(to_first=from_first - here, to_last=from_last - here, share=share, light=light)

    def _share(self, position: float, first: Landing, last: Landing, from_first: Field, from_last: Field) -> Field:
        """(h, w), 0 … 1: whose place it is by now, and who sees it."""
        pair = self._pair
        matched = np.clip((first.trusted + last.trusted) / (first.seen + last.seen + 1e-3), 0, 1)
        at_once = HANDOVER + (RELATIVES_HANDOVER - HANDOVER) * pair.kinship
        width = at_once + (1 - at_once) * matched
        turn = (sample(pair.turns.first, from_first) + sample(pair.turns.last, from_last)) / 2
        turn *= (1 - matched) * (1 - (1 - RELATIVES_TURN) * pair.kinship)
        share = np.clip(0.5 + (position - 0.5 - turn) / width, GLIMPSE * position, 1 - GLIMPSE * (1 - position))
        of_first = (1 - share) * visible(first.seen, from_first, position, pair.kinship)
        of_last = share * visible(last.seen, from_last, 1 - position, pair.kinship)
        return np.asarray(of_last / (of_first + of_last), np.float32)

    def _light(self, position: float, share: Field, from_first: Field, from_last: Field) -> Field:
        """What each frame's light still lacks (has too much) by now, on every fourth pixel."""
        coarse = (slice(None, None, 4), slice(None, None, 4))
        lacking = ((1 - share) * position)[coarse][..., None] * sample(self._tones[0], from_first[coarse])
        ahead = (share * (1 - position))[coarse][..., None] * sample(self._tones[1], from_last[coarse])
        return np.asarray(lacking + ahead, np.float32)

    def develop(self, view: View) -> Frame:
        """The picture of ``view``: luma read sharply at full size, chroma linearly at half."""
        first, last = self._plates
        luma = self._joined(first.luma, last.luma, view, self._read)
        chroma = self._joined(first.chroma, last.chroma, view, _linearly)
        if view.light is not None:
            luma = cv2.add(luma, resize(view.light[..., 0], luma.shape[:2]), dtype=cv2.CV_8U)
            chroma = cv2.add(chroma, resize(view.light[..., 1:], chroma.shape[:2]), dtype=cv2.CV_8U)
        # The encoder averages squares of four pixels, which gives back the very chroma that fills them.
        wide = cv2.resize(chroma, luma.shape[::-1], interpolation=cv2.INTER_NEAREST)
        return np.asarray(cv2.cvtColor(cv2.merge([luma, *cv2.split(wide)]), cv2.COLOR_YCrCb2RGB), np.uint8)

    def _joined(self, first: Plane, last: Plane, view: View, read: Reading) -> Plane:
        share = resize(view.share, first.shape[:2])
        mine, yours = self._warp(first, view.to_first, read), self._warp(last, view.to_last, read)
        return np.asarray(cv2.blendLinear(mine, yours, 1 - share, share), np.uint8)

    def _warp(self, plane: Plane, shift: Field, read: Reading) -> Plane:
        """``plane`` read ``shift`` (analysis pixels) away; shifts are enlarged, so that rest stays rest."""
        height, width = plane.shape[:2]
        scale = np.array([width / shift.shape[1], height / shift.shape[0]], np.float32)
        at = resize(shift * scale, (height, width))
        cv2.add(at, self._grids[height, width], dst=at)
        return read(plane, at)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plates:
    """A picture as it is read, full range; colour needs no finer grid, nor is it coded finer."""

    #: (H, W), Y'
    luma: Plane
    #: (H/2, W/2, 2), Cr and Cb
    chroma: Plane


def _plates(picture: Frame) -> _Plates:
    planes = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb), np.uint8)
    height, width = picture.shape[:2]
    half = cv2.resize(planes[..., 1:], ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    return _Plates(luma=np.ascontiguousarray(planes[..., 0]), chroma=np.asarray(half, np.uint8))


def _linearly(plane: Plane, at: Field) -> Plane:
    return np.asarray(sample(plane, at, border=cv2.BORDER_REFLECT_101), np.uint8)


def _sharply(plane: Plane, at: Field) -> Plane:
    return np.asarray(sample(plane, at, border=cv2.BORDER_REFLECT_101, kernel=cv2.INTER_CUBIC), np.uint8)


def _softly(plane: Plane, at: Field) -> Plane:
    """Nearly as Catmull and Rom's cubic (a = -1/2) reads it: OpenCV's (a = -3/4) rings, linear blurs."""
    return np.asarray(cv2.addWeighted(_sharply(plane, at), 2 / 3, _linearly(plane, at), 1 / 3, 0), np.uint8)

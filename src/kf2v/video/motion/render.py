"""A frame at any position between the two, by warping both and weighing them pixel by pixel.

There are two steps, for they cost alike and need not be done as often. A view says, at the size of the analysis, where
each place is read in either frame and how much of each is seen; from one frame of a film to the next it changes so
little that views in between are as good as their mean. Developing a view reads the frames at full size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from kf2v.video.frames import Frame
from kf2v.video.motion.correspondence import Correspondence
from kf2v.video.motion.field import Field, grid, resize, sample
from kf2v.video.motion.landing import Landing, Swarm, drift_of, visible, zoom_of
from kf2v.video.motion.light import Light
from kf2v.video.motion.path import Homography, in_pixels, project
from kf2v.video.motion.threads import both

#: share of the clip within which a place that is not matched changes hands: in pictures that have nothing in common,
#: and in two views of one thing; a matched one takes the whole clip
HANDOVER, RELATIVES_HANDOVER = 0.1, 0.25
#: how much of the difference in time between places is kept in two views of one thing
RELATIVES_TURN = 0.35
#: of its linear share a frame keeps at least this, so that what it alone sees is there from the beginning
GLIMPSE = 0.04
#: coverage above which it is rings that show, and below which it is blur
CLEAR = 0.7
#: how far a value between two pixels goes beyond their mean, as a multiple of what OpenCV's cubic (a = -3/4) does.
#: Measured: reading linearly in between takes so much away that these look like cubics of a = -1/2 and -3/4
SOFT, SHARP = 1.0, 1.5
#: of BT.601, full range, as JPEG has it and OpenCV
RGB_TO_YCRCB = np.array([[0.299, 0.587, 0.114], [0.5, -0.4187, -0.0813], [-0.1687, -0.3313, 0.5]], np.float32)
#: grey levels; a change of light below this is not worth its arithmetic
NOTICEABLE = 1.5

#: (h, w)
Plane: TypeAlias = npt.NDArray[np.uint8]

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
        soft = correspondence.coverage > CLEAR
        self._plates = both(lambda: _plates(first, soft=soft), lambda: _plates(last, soft=soft))
        self._pair = correspondence
        self._swarms = (Swarm(correspondence.first), Swarm(correspondence.last))
        self._here = grid(*correspondence.first.trust.shape)
        height, width = first.shape[:2]
        self._luma = _Canvas((height, width), fineness=2)
        self._chroma = _Canvas(((height + 1) // 2, (width + 1) // 2), fineness=1)
        lights = (correspondence.first_light, correspondence.last_light)
        self._lit = max(float(np.abs(light.at(1.0)).mean()) for light in lights) > NOTICEABLE

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
        kinship = pair.kinship if pair.strange else 1.0
        of_first = (1 - share) * visible(first.seen, from_first, position, kinship)
        of_last = share * visible(last.seen, from_last, 1 - position, kinship)
        return np.asarray(of_last / (of_first + of_last), np.float32)

    def _light(self, position: float, share: Field, from_first: Field, from_last: Field) -> Field:
        """What each frame's light still lacks (has too much) by now, on every fourth pixel."""
        coarse = (slice(None, None, 4), slice(None, None, 4))
        lacking = self._added(self._pair.first_light, position, from_first[coarse])
        ahead = self._added(self._pair.last_light, 1 - position, from_last[coarse])
        part = share[coarse][..., None]
        return np.asarray((1 - part) * lacking + part * ahead, np.float32)

    def _added(self, light: Light, part: float, places: Field) -> Field:
        """(h, w, 3): Y'CrCb levels that ``light`` adds at ``places`` (h, w, 2)."""
        levels = np.asarray(cv2.transform(light.at(part), RGB_TO_YCRCB), np.float32)
        height, width = self._here.shape[:2]
        cells = np.array([levels.shape[1] / width, levels.shape[0] / height], np.float32)
        return sample(levels, (places + np.float32(0.5)) * cells - np.float32(0.5))

    def develop(self, view: View) -> Frame:
        """The picture of ``view``: luma at full size, chroma linearly at half."""
        first, last = self._plates
        planes = (
            *self._luma.mixed((first.luma,), (last.luma,), view),
            *self._chroma.mixed(first.chroma, last.chroma, view),
        )
        if view.light is not None:
            for layer, plane in enumerate(planes):
                cv2.add(plane, resize(view.light[..., layer], plane.shape), dst=plane, dtype=cv2.CV_8U)
        luma, *chroma = planes
        # The encoder averages squares of four pixels, which gives back the very chroma that fills them.
        wide = [cv2.resize(plane, luma.shape[::-1], interpolation=cv2.INTER_NEAREST) for plane in chroma]
        return np.asarray(cv2.cvtColor(cv2.merge([luma, *wide]), cv2.COLOR_YCrCb2RGB), np.uint8)


class _Canvas:
    """Pixels to be drawn, and where they lie in plates that are ``fineness`` times as fine."""

    def __init__(self, shape: tuple[int, int], *, fineness: int) -> None:
        self._shape, self._fineness = shape, fineness
        self._here = fineness * grid(*shape)

    def mixed(self, first: Sequence[Plane], last: Sequence[Plane], view: View) -> list[Plane]:
        """Plates of the same kind, read where ``view`` says and mixed by its share."""
        mine, yours = self._read(first, view.to_first), self._read(last, view.to_last)
        share = resize(view.share, self._shape)
        return [_mixture(*pair, share) for pair in zip(mine, yours, strict=True)]

    def _read(self, plates: Sequence[Plane], shift: Field) -> list[Plane]:
        """``plates`` read ``shift`` (analysis pixels) away; shifts are enlarged, so that rest stays rest."""
        height, width = self._shape
        stretch = self._fineness * np.diag([width / shift.shape[1], height / shift.shape[0]]).astype(np.float32)
        at = resize(np.asarray(cv2.transform(shift, stretch), np.float32), self._shape)
        cv2.add(at, self._here, dst=at)
        return [np.asarray(sample(plate, at, border=cv2.BORDER_REFLECT_101), np.uint8) for plate in plates]


def _mixture(mine: Plane, yours: Plane, share: Field) -> Plane:
    """Floats until the end: slow films show it when a share is rounded to bytes."""
    difference = cv2.subtract(yours, mine, dtype=cv2.CV_32F)
    cv2.multiply(difference, share, dst=difference)
    return np.asarray(cv2.add(mine, difference, dtype=cv2.CV_8U), np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plates:
    """A picture as it is read, linearly, full range."""

    #: (2H - 1, 2W - 1), Y': pixels and, between them, what a cubic says. To read such a plate linearly looks like
    #: reading the picture cubically, and takes less than half the time
    luma: Plane
    #: (H/2, W/2) each, Cr and Cb; colour needs no finer grid, nor is it coded finer
    chroma: tuple[Plane, Plane]


def _plates(picture: Frame, *, soft: bool) -> _Plates:
    planes = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb), np.uint8)
    height, width = picture.shape[:2]
    half = cv2.resize(planes[..., 1:], ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    red, blue = (np.asarray(plane, np.uint8) for plane in cv2.split(half))
    return _Plates(luma=_fine(np.ascontiguousarray(planes[..., 0]), soft=soft), chroma=(red, blue))


def _fine(plane: Plane, *, soft: bool) -> Plane:
    """``plane`` with a value between any two: ``soft`` as Catmull and Rom's cubic (a = -1/2), or sharper (-3/4)."""
    height, width = plane.shape

    def doubled(kernel: int) -> Plane:
        half = np.array([[0.5, 0, 0], [0, 0.5, 0]])
        size, flags = (2 * width - 1, 2 * height - 1), kernel | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(plane, half, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101), np.uint8)

    part = SOFT if soft else SHARP
    return np.asarray(cv2.addWeighted(doubled(cv2.INTER_CUBIC), part, doubled(cv2.INTER_LINEAR), 1 - part, 0), np.uint8)

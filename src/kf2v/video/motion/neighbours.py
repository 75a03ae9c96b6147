"""Two frames of a moving clip that stand next to each other, and any moment between them.

What moves little is found quickly: optical flow both ways at a reduced size, trusted where going there and back ends
where it started and shows the same texture. What moved far is searched for among whole shifts. For a moment in between
both frames' pixels are sent along their flow to where they are by then, the surer ones winning (softmax splatting of
the flow, Niklaus & Liu 2020); that tells where each frame has to be read and what hides behind what. Both are read
there and blended by time and visibility. Where even then the two do not agree, things move as their surroundings do,
and the frames change places within a short part of the time: a ghost is easier on the eye than debris.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import cast

import cv2
import numpy as np

from kf2v.video.frames import Frame
from kf2v.video.motion.field import Field, grid, length, resize, sample, scattered

#: pixels, the longer side of what flow is searched on; 640 costs twice as much and finds nothing more
LONG = 480
#: pixels, the shorter side at least; dense inverse search wants several of its patches of 8 each way
LEAST = 32
#: squared grey levels of local contrast; with less there is nothing to recognise a place by
CONTRAST = 20
#: squared grey levels; differences this small are noise
NOISE = 8
#: trust below which a place with contrast counts as lost
LOSING = 0.3
#: share of lost places above which it pays to search far: neighbours at 12 frames per second seldom have so many
LOST = 0.06
#: pixels, the longer side of what is searched among whole shifts, how far, and in what steps
TINY, REACH, STEP = 160, 24, 2
#: grey levels a shift must gain per pixel
EFFORT = 0.4
#: trust that a second flow must be ahead of the first around a place
AHEAD = 0.1
#: weight of a pixel nobody trusts, against 1 for a sure one
DOUBT = 0.02
#: share of the time within which what nobody trusts changes hands
HANDOVER = 0.3
#: of its linear share a frame keeps at least this, so that what it alone sees is there from the beginning
GLIMPSE = 0.1
#: trust, averaged over places with contrast, below which it is tried whether everything was shifted at once
SWEEPING = 0.4
#: The same below which two frames are of different scenes. Measured: cuts between clips at most 0.013, mirrored noise
#: 0.07, neighbours 0.64 and more, a flash 0.28. A change of all colours asks for more by the second number
PARTED, PARTED_RECOLOURED = 0.08, 0.06
#: unless a shift brings it to this: sweeps over a quarter to two fifths of the picture measured 0.35 and more, cuts at
#: most 0.03, mirrored noise 0.16
SWEPT = 0.25


class Neighbours:
    """Two frames of one size and what moves between them; ``between`` may be called from several threads.

    Puts OpenCV on one thread, as the engines do: the search cuts its work into as many strips as OpenCV has threads,
    and strips show in the result.
    """

    def __init__(self, one: Frame, other: Frame) -> None:
        cv2.setNumThreads(1)
        self._frames = one, other
        self._still = np.array_equal(one, other)
        #: whether a scene ends with the first and another begins with the second
        self.parted = False
        if self._still:
            return
        pair = _Pair(_reduced(_grey(one), LONG), _reduced(_grey(other), LONG))
        strands = pair.strands(pair.flows())
        matched = _matched(strands)
        if matched < SWEEPING:
            strands = pair.better(strands, pair.flows(pair.pan()))
            self.parted = matched < _required(one, other) and _matched(strands) < SWEPT
        if not self.parted and _lost(strands) > LOST:
            strands = pair.better(strands, pair.flows(_far_shifts(one, other, pair.shape)))
        self._strands = strands

    def between(self, t: float) -> Frame:
        """The picture at ``t``, between 0 (the one) and 1 (the other); of two scenes the nearer one's very frame."""
        one, other = self._frames
        if self._still or self.parted:
            return one if t < 0.5 else other
        motion, share = self._course(t)
        shape = (one.shape[0], one.shape[1])
        stretch = np.array([shape[1] / motion.shape[1], shape[0] / motion.shape[0]], np.float32)
        wide_motion, wide_share = resize(motion * stretch, shape), resize(share, shape)
        here = self._here
        first = _sharply(one, here - np.float32(t) * wide_motion)
        last = _sharply(other, here + np.float32(1 - t) * wide_motion)
        return np.asarray(cv2.blendLinear(first, last, 1 - wide_share, wide_share), np.uint8)

    def _course(self, t: float) -> tuple[Field, Field]:
        """What moves how far from one frame to the other (h, w, 2), and the other's share (h, w), as seen at ``t``."""
        first, last = self._strands[0].land(t), self._strands[1].land(1 - t)
        motion = _filled(first.weight + last.weight, first.moved - last.moved)
        sure = first.trusted + last.trusted
        trusted: Field = np.clip(sure / (first.seen + last.seen + 1e-3), 0, 1)
        alike = self._alike(motion, t)
        # Wide, so that the rim that a moving thing hides or bares, where nothing can agree, is not meant.
        agreed = np.asarray(cv2.blur(np.maximum(trusted, alike), (31, 31)), np.float32)
        adrift = np.clip(1.5 - 4 * agreed, 0, 1)
        if adrift.any():
            motion = motion + adrift[..., None] * (_around(sure + 1e-3, sure[..., None] * motion) - motion)

        known = np.asarray(cv2.blur(trusted, (9, 9)), np.float32)
        width = HANDOVER + (1 - HANDOVER) * np.clip(3 * known, 0, 1)
        share = np.clip(0.5 + (t - 0.5) / width, GLIMPSE * t, 1 - GLIMPSE * (1 - t))
        start = self._strands[0].start
        weight_first = (1 - share) * _visible(first.seen, adrift, start - t * motion)
        weight_last = share * _visible(last.seen, adrift, start + (1 - t) * motion)
        # Softened, or it would show where one frame ends and the other begins.
        share = np.asarray(weight_last / (weight_first + weight_last), np.float32)
        return motion, np.asarray(cv2.GaussianBlur(share, (5, 5), 1.2), np.float32)

    def _alike(self, motion: Field, t: float) -> Field:
        """(h, w), 0 … 1: how much both frames show the same at ``t``."""
        first, last = self._strands
        one = sample(first.texture, first.start - np.float32(t) * motion)
        other = sample(last.texture, last.start + np.float32(1 - t) * motion)
        return _likeness(one, other)[0]

    @cached_property
    def _here(self) -> Field:
        return grid(self._frames[0].shape[0], self._frames[0].shape[1])


class _Landing:
    """What one frame's pixels leave where they come down, (h, w) each; ``moved`` is (h, w, 2)."""

    def __init__(self, sums: Field) -> None:
        #: 1 where pixels land as densely as they should, 0 in the gaps that open behind moving things
        self.seen = sums[..., 0]
        #: sum of trust
        self.trusted = sums[..., 1]
        self.weight = sums[..., 2]
        #: sum of flow times weight
        self.moved = sums[..., 3:]


class _Strand:
    """One frame's pixels and where each goes in the other."""

    def __init__(self, texture: Field, other: Field, flow: Field, back: Field, start: Field) -> None:
        self.texture, self.flow, self.start = texture, flow, start
        target = start + flow
        height, width = texture.shape
        x, y = target[..., 0], target[..., 1]
        inside = (x >= -0.5) & (y >= -0.5) & (x <= width - 0.5) & (y <= height - 0.5)
        astray = length(flow + sample(back, target)) / (0.6 + 0.05 * length(flow))
        likeness, difference = _likeness(texture, sample(other, target))
        #: (h, w): whether there is anything to recognise
        self.marked = np.asarray(cv2.blur(texture**2, (7, 7)), np.float32) > CONTRAST
        #: (h, w), 0 … 1
        self.trust = np.asarray(np.exp(-(astray**2) / 2) * likeness * inside, np.float32)
        weight = (self.trust + DOUBT) * np.exp(-np.minimum(np.sqrt(difference), 30) / 10)
        loads = np.ones_like(weight), self.trust, weight, weight * flow[..., 0], weight * flow[..., 1]
        self._loads = [np.asarray(load, np.float64).ravel() for load in loads]

    def land(self, t: float) -> _Landing:
        """Every pixel falls into the cell it is in after ``t`` of its way, and is spread a little."""
        sums = scattered(self.start + np.float32(t) * self.flow, self._loads)
        return _Landing(np.asarray(cv2.GaussianBlur(sums, (5, 5), 0.7), np.float32))


_Strands = tuple[_Strand, _Strand]
_Flows = tuple[Field, Field]


class _Pair:
    """Both frames in grey, and every way of finding one in the other."""

    def __init__(self, one: Frame, other: Frame) -> None:
        self._greys = one, other
        self.shape = one.shape[0], one.shape[1]
        self._textures = _texture(one), _texture(other)
        self._here = grid(one.shape[0], one.shape[1])

    def flows(self, starts: _Flows | None = None) -> _Flows:
        """(h, w, 2) from each frame to the other, searched from nothing or from ``starts``."""
        one, other = self._greys
        with ThreadPoolExecutor(1) as pool:
            there = pool.submit(self._flow, one, other, starts and starts[0])
            back = self._flow(other, one, starts and starts[1])
            return there.result(), back

    def strands(self, flows: _Flows) -> _Strands:
        """Both frames' pixels on these flows."""
        one, other = self._textures
        forward, backward = flows
        return (
            _Strand(one, other, forward, backward, self._here),
            _Strand(other, one, backward, forward, self._here),
        )

    def better(self, strands: _Strands, flows: _Flows) -> _Strands:
        """The strands that follow ``flows`` instead wherever those are trusted more all around, if that pays."""
        rivals = self.strands(flows)
        mixed = self.strands((_surer(strands[0], rivals[0]), _surer(strands[1], rivals[1])))
        return max(strands, mixed, key=_matched)

    def pan(self) -> _Flows:
        """The one shift of everything that phases tell of, both ways: a camera that is swept round."""
        one, other = (np.asarray(texture, np.float32) for texture in self._textures)
        window = cv2.createHanningWindow((one.shape[1], one.shape[0]), cv2.CV_32F)
        shift, _ = cv2.phaseCorrelate(one, other, window)
        there = np.empty_like(self._here)
        there[:] = np.nan_to_num(np.array(shift, np.float32))
        return there, -there

    def _flow(self, one: Frame, other: Frame, start: Field | None) -> Field:
        """Dense inverse search (Kroeger et al. 2016); what ``start`` brings of ``other`` is compared."""
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        search.setFinestScale(1)
        # No flow at all, which OpenCV's annotations do not know, leaves the search freer than one of zeros does.
        nothing = cast(Field, None)
        if start is None:
            return np.asarray(search.calc(one, other, nothing), np.float32)
        rest = np.asarray(search.calc(one, sample(other, self._here + start), nothing), np.float32)
        return sample(start, self._here + rest) + rest


def _far_shifts(one: Frame, other: Frame, shape: tuple[int, int]) -> _Flows:
    """Of all whole shifts the one after which a pixel's surroundings look most alike, both ways, in ``shape``."""
    first, second = _reduced(one, TINY), _reduced(other, TINY)
    height, width = first.shape[:2]
    wide = cv2.copyMakeBorder(second, REACH, REACH, REACH, REACH, cv2.BORDER_REPLICATE)
    ahead, behind = _Search(height, width), _Search(height, width)
    for y in range(-REACH, REACH + 1, STEP):
        for x in range(-REACH, REACH + 1, STEP):
            moved = wide[REACH + y : REACH + y + height, REACH + x : REACH + x + width]
            difference = cv2.transform(cv2.absdiff(first, moved).astype(np.float32), np.full((1, 3), 1 / 3, np.float32))
            cost = np.asarray(cv2.blur(difference, (5, 5)), np.float32) + np.float32(EFFORT * np.hypot(x, y))
            top, bottom, left, right = max(0, y), height + min(0, y), max(0, x), width + min(0, x)
            ahead.offer(cost, 0, 0, (x, y))
            if top < bottom and left < right:
                behind.offer(cost[top - y : bottom - y, left - x : right - x], top, left, (-x, -y))
    return ahead.flow(shape), behind.flow(shape)


class _Search:
    """The cheapest offer so far for every pixel."""

    def __init__(self, height: int, width: int) -> None:
        self._cost = np.full((height, width), np.inf, np.float32)
        self._shift = np.zeros((height, width, 2), np.float32)

    def offer(self, cost: Field, top: int, left: int, shift: tuple[int, int]) -> None:
        """Take ``shift`` wherever ``cost``, whose corner lies at ``top`` and ``left``, is lower than any before."""
        part = slice(top, top + cost.shape[0]), slice(left, left + cost.shape[1])
        best = self._cost[part]
        cheaper = cost < best
        best[cheaper] = cost[cheaper]
        self._shift[part][cheaper] = shift

    def flow(self, shape: tuple[int, int]) -> Field:
        """(h, w, 2) in the pixels of ``shape``, single outliers taken out."""
        height, width = self._cost.shape
        calm = [cv2.medianBlur(np.ascontiguousarray(self._shift[..., axis]), 5) for axis in (0, 1)]
        return resize(np.dstack(calm).astype(np.float32), shape) * np.array(
            [shape[1] / width, shape[0] / height], np.float32
        )


def _surer(strand: _Strand, rival: _Strand) -> Field:
    support, challenge = (cv2.blur(each.trust, (9, 9)) for each in (strand, rival))
    return np.where((challenge > np.asarray(support) + AHEAD)[..., None], rival.flow, strand.flow)


def _lost(strands: _Strands) -> float:
    """The share of the worse frame where there is something to recognise, but not in the other."""
    return max(float(((strand.trust < LOSING) & strand.marked).mean()) for strand in strands)


def _matched(strands: _Strands) -> float:
    """Trust, averaged over all places of both frames where there is something to recognise; 1 if there are none."""
    marked = sum(int(strand.marked.sum()) for strand in strands)
    return float(sum(strand.trust[strand.marked].sum() for strand in strands)) / marked if marked else 1.0


def _required(one: Frame, other: Frame) -> float:
    """The trust that two frames of one scene have, the more the less their colours are the same."""
    small = _reduced(one, LONG), _reduced(other, LONG)
    counts = [cv2.calcHist([frame], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3) for frame in small]
    changed = float(np.abs(counts[0] - counts[1]).sum()) / 2 / (small[0].shape[0] * small[0].shape[1])
    return PARTED + PARTED_RECOLOURED * changed


def _likeness(one: Field, other: Field) -> tuple[Field, Field]:
    """Of two textures, around each pixel: how alike they are (0 … 1), and their squared difference."""
    # OpenCV's box sums run along, and rounding can leave them a little below 0.
    difference = np.maximum(cv2.blur((one - other) ** 2, (7, 7)), 0)
    energy = np.maximum(cv2.blur(one**2 + other**2, (7, 7)), 0)
    return np.exp(-((difference / (energy + NOISE) / 0.45) ** 2)), difference


def _filled(weight: Field, moved: Field) -> Field:
    """Motion (h, w, 2) from sums of weight and of weighted motion; where nothing landed, that of the surroundings."""
    little = np.float32(1e-3)
    return (moved + little * _around(weight + np.float32(1e-6), moved)) / (weight + little)[..., None]


def _around(weight: Field, moved: Field) -> Field:
    """The mean motion (h, w, 2) some dozen pixels around."""
    height, width = weight.shape
    size = (-(-width // 8), -(-height // 8))
    small = cv2.resize(np.dstack([weight, moved]), size, interpolation=cv2.INTER_AREA)
    small = np.asarray(cv2.GaussianBlur(small, (0, 0), 2.5), np.float32)
    return resize(small[..., 1:] / small[..., :1], (height, width))


def _visible(seen: Field, adrift: Field, origin: Field) -> Field:
    """0 … 1: there are pixels, or nobody knows, and they come from inside the picture."""
    height, width = seen.shape
    x, y = origin[..., 0], origin[..., 1]
    margin = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
    # What grows thins out line by line: lines that nothing lands on are no gap, and would show if they were.
    dense = np.asarray(cv2.morphologyEx(seen, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)), np.float32)
    return np.maximum(np.clip(3 * dense - 1.2, 0, 1), adrift) * np.clip(margin + 1.5, 0, 1) + np.float32(1e-3)


def _sharply(frame: Frame, at: Field) -> Frame:
    """``frame`` read at ``at``, cubic between pixels.

    Linearly, a frame half way loses a fifth of its fine detail and one close to a source frame much less; the two take
    turns, which flickers. Cubically it is half as much, for a seventh more time.
    """
    return np.asarray(sample(frame, at, kernel=cv2.INTER_CUBIC), np.uint8)


def _grey(frame: Frame) -> Frame:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def _texture(grey: Frame) -> Field:
    """What stands out from its surroundings, whatever the light."""
    levels = grey.astype(np.float32)
    return levels - np.asarray(cv2.blur(levels, (15, 15)), np.float32)


def _reduced(frame: Frame, long: int) -> Frame:
    """``frame`` with sides of at most ``long`` and at least ``LEAST`` pixels."""
    height, width = frame.shape[:2]
    scale = min(1.0, long / max(height, width))
    size = (max(LEAST, round(width * scale)), max(LEAST, round(height * scale)))
    if size == (width, height):
        return frame
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)

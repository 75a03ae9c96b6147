"""Both ends of a take brought onto the pictures that were given, without anybody seeing where.

A decoded end is never quite the picture it was made from: its colours drift, and the VAE loses fine detail. What an end
lacks is split. Its low frequencies, the drift, are added to many frames and fade linearly; what remains fades within
three frames and is carried along with what moves, so that detail does not stay behind. Both ends are then exact, and
nothing jumps. That the two parts fade like this is kf2v's own answer to a known complaint, not something Wan was
trained on, and it can be switched off: then everything fades within three frames.
Knows no torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np

from kf2v.video import Frame
from kf2v.video.motion.field import Field, grid, resize, sample

#: pixels per cell of what counts as low frequencies: a macroblock, which divides every film's sides
CELL = 16
#: frames over which the last picture's drift fades, at most; as many are held back, because the last frame comes last
HELD = 24
#: frames next to an end that get a share of what it lacks in detail
DETAIL = 3
#: pixels, the longer side of what motion next to an end is searched on (``kf2v.video.motion.neighbours`` measured it)
LONG = 480
#: grey levels that two neighbouring frames may differ by around a place that both show
ALIKE = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Closeness:
    """How near the decoded ends were to the given pictures, before anything was done about it."""

    #: decibels; infinite for equal pictures
    first_psnr: float
    last_psnr: float
    #: CIE76, averaged over all pixels
    first_delta_e: float
    last_delta_e: float


class Ends:
    """One take's correction; ``correct`` may be walked once."""

    def __init__(self, first: Frame, last: Frame, *, frames: int, drift: bool = True) -> None:
        """``drift``: whether low frequencies fade slowly. Raises ValueError for fewer than two frames."""
        if frames < 2:
            raise ValueError(f"a take with two ends has at least two frames, not {frames}")
        self._first, self._last = first, last
        self._final = frames - 1
        self._drift = drift
        #: frames that lie within reach of the last picture's drift, the last one not counted
        self._held = min(HELD, self._final // 2)
        #: known once all frames have passed
        self.closeness: Closeness | None = None

    def correct(self, decoded: Iterator[Frame]) -> Iterator[Frame]:
        """The same frames, the ends exact. Holds back at most ``HELD`` of them, and passes the rest as they come.

        Raises ValueError if ``decoded`` ends early.
        """
        # Optical flow cuts its work into as many strips as OpenCV has threads, and strips show in the result.
        cv2.setNumThreads(1)
        start = _next(decoded, 0)
        opening = _Lack(self._first, start, drift=self._drift)
        yield self._first.copy()
        waiting: deque[Frame] = deque()
        for index in range(1, self._final):
            waiting.append(self._opened(opening, _next(decoded, index), index))
            if index <= self._final - max(self._held, DETAIL + 1):
                yield waiting.popleft()
        end = _next(decoded, self._final)
        closing = _Lack(self._last, end, drift=self._drift)
        self.closeness = _closeness(self._first, start, self._last, end)
        while waiting:
            left = len(waiting)
            yield self._closed(closing, waiting.popleft(), left)
        yield self._last.copy()

    def _opened(self, lack: _Lack, frame: Frame, index: int) -> Frame:
        """Frame ``index`` with its share of what the first one lacked: drift is gone half way."""
        return lack.lent(frame, drift=1 - index / (self._final / 2), detail=self._share(index))

    def _closed(self, lack: _Lack, frame: Frame, left: int) -> Frame:
        """The frame ``left`` before the last with its share of what that one lacks."""
        drift = 1 - left / self._held if self._held else 0.0
        return lack.lent(frame, drift=drift, detail=self._share(left))

    def _share(self, away: int) -> float:
        """Of an end's detail, ``away`` frames from it; nothing at the other end, which has its own."""
        return max(0.0, 1 - away / min(DETAIL + 1, self._final))


class _Lack:
    """What one decoded end lacks, and how much of that another frame gets."""

    def __init__(self, given: Frame, decoded: Frame, *, drift: bool) -> None:
        self._decoded = decoded
        height, width = given.shape[:2]
        whole = given.astype(np.float32) - decoded
        cells = (-(-width // CELL), -(-height // CELL))
        low = np.asarray(cv2.resize(whole, cells, interpolation=cv2.INTER_AREA), np.float32)
        #: (h/16,w/16,3) and (h,w,3), in levels
        self._low = low if drift else np.zeros_like(low)
        self._detail: Field = whole - self._widened(self._low)

    def lent(self, frame: Frame, *, drift: float, detail: float) -> Frame:
        """``frame`` plus these shares of the low frequencies and of the detail; itself if there is nothing to add."""
        if drift <= 0 and detail <= 0:
            return frame
        extra = self._widened(self._low * np.float32(max(0.0, drift)))
        if detail > 0:
            extra = extra + np.float32(detail) * self._carried(frame)
        return np.asarray(cv2.add(frame, extra, dtype=cv2.CV_8U), np.uint8)

    def _carried(self, frame: Frame) -> Field:
        """The detail where ``frame`` shows what it belongs to, (h,w,3); zero where ``frame`` shows something else."""
        here, there = _grey(frame), _grey(self._decoded)
        motion = _motion(here, there)
        origin = grid(*here.shape) + motion
        apart = cv2.absdiff(here, np.asarray(sample(there, origin), np.uint8)).astype(np.float32)
        trust = np.exp(-((np.asarray(cv2.blur(apart, (9, 9)), np.float32) / ALIKE) ** 2))
        return np.asarray(sample(self._detail, origin), np.float32) * trust[..., None]

    def _widened(self, low: Field) -> Field:
        height, width = self._decoded.shape[:2]
        return resize(low, (height, width))


def _motion(here: Frame, there: Frame) -> Field:
    """(h,w,2): where in ``there`` each pixel of ``here`` is seen, relative to its own place."""
    height, width = here.shape[:2]
    scale = min(1.0, LONG / max(height, width))
    # Dense inverse search (Kroeger et al. 2016) wants several of its patches of 8 pixels each way.
    size = (max(32, round(width * scale)), max(32, round(height * scale)))
    small = [np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8) for grey in (here, there)]
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(1)
    nothing = cast(Field, None)  # no flow to start from, which OpenCV's annotations do not know
    flow = np.asarray(search.calc(small[0], small[1], nothing), np.float32)
    return resize(flow, (height, width)) * np.array([width / size[0], height / size[1]], np.float32)


def _grey(frame: Frame) -> Frame:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def _closeness(first: Frame, start: Frame, last: Frame, end: Frame) -> Closeness:
    return Closeness(
        first_psnr=psnr(first, start),
        last_psnr=psnr(last, end),
        first_delta_e=delta_e(first, start),
        last_delta_e=delta_e(last, end),
    )


def psnr(one: Frame, other: Frame) -> float:
    """Peak signal to noise in decibels, over all channels; infinite for equal pictures."""
    squared = float(np.mean((one.astype(np.float32) - other) ** 2))
    return float(10 * np.log10(255**2 / squared)) if squared else float("inf")


def delta_e(one: Frame, other: Frame) -> float:
    """Mean distance in CIE L*a*b* (CIE76); 2.3 is about what an eye can just tell apart (Mahy et al. 1994)."""
    lab: list[Any] = [cv2.cvtColor(np.asarray(frame, np.float32) / 255, cv2.COLOR_RGB2Lab) for frame in (one, other)]
    return float(np.linalg.norm(lab[0] - lab[1], axis=-1).mean())


def _next(decoded: Iterator[Frame], index: int) -> Frame:
    for frame in decoded:
        return frame
    raise ValueError(f"the take ended before its frame {index}")

"""Another number of frames for the same stretch of time, as they pass by.

The n frames that come stand at 0 … n-1. Of the m frames that leave, number j stands at j·(n-1)/(m-1), so that the
first and the last stay what they were. Where that is a whole number the very frame passes through; between two
frames the answer is, so far, their weighted mean. That is no motion: what moves far between two source frames
shows double. It does not matter to an engine that draws every output frame itself, as ``morph`` does.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from kf2v.video.frames import Clip, Frame


def retime(clip: Clip, *, fps: int = 30, count: int = 150) -> Clip:
    """``clip`` as ``count`` frames at ``fps`` frames per second, made one by one as they are asked for.

    Holds at most two source frames. A clip that has that rate and number already comes back as it is. Raises
    ValueError if there is no first or no last frame and, where it shows, if ``clip`` does not yield what it says.
    """
    if clip.count < 1 or count < 2:
        raise ValueError(f"at least one frame should become at least two, not {clip.count} {count}")
    if clip.fps == fps and clip.count == count:
        return clip
    return Clip(size=clip.size, fps=fps, count=count, frames=_resampled(clip, count))


def _resampled(clip: Clip, count: int) -> Iterator[Frame]:
    """Yields frame j of ``count``; ``before`` and ``after`` are the source frames at ``at`` and ``at + 1``."""
    steps = count - 1
    source = iter(clip.frames)
    before, after, at = _following(source, 0), None, 0
    for j in range(count):
        whole, part = divmod(j * (clip.count - 1), steps)
        while at < whole:
            at += 1
            if after is None:
                before = _following(source, at)
            else:
                before, after = after, None
        if part == 0:
            yield before
            continue
        if after is None:
            after = _following(source, at + 1)
        yield _blend(before, after, part / steps)
    del before, after
    if any(True for _ in source):
        raise ValueError(f"the clip goes on after its {clip.count} frames")


def _following(source: Iterator[Frame], index: int) -> Frame:
    try:
        return next(source)
    except StopIteration:
        raise ValueError(f"the clip ended before its frame {index}") from None


def _blend(before: Frame, after: Frame, weight: float) -> Frame:
    """(1 - ``weight``) · ``before`` + ``weight`` · ``after``, rounded."""
    return np.asarray(cv2.addWeighted(before, 1 - weight, after, weight, 0), dtype=np.uint8)

"""Another number of frames for the same stretch of time, as they pass by.

The n frames that come stand at 0 … n-1. Of the m frames that leave, number j stands at j·(n-1)/(m-1), so that the
first and the last stay what they were. Where that is a whole number the very frame passes through; between two
frames everything moves on along the way it takes from the one to the other, and across a cut, where nothing does,
the nearer frame is shown.
"""

from collections.abc import Iterator

from kf2v.video.frames import Clip, Frame, Size, size_of
from kf2v.video.motion.neighbours import Neighbours


def retime(clip: Clip, *, fps: int = 30, count: int = 150) -> Clip:
    """``clip`` as ``count`` frames at ``fps`` frames per second, made one by one as they are asked for.

    The same frames give the same bytes every time. Holds at most two source frames. A clip that has
    that rate and number already comes back as it is. Raises ValueError if there is no first or no last frame and,
    where it shows, if ``clip`` does not yield what it says.
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
    before, after, at = _following(source, 0, clip.size), None, 0
    pair = None
    for j in range(count):
        whole, part = divmod(j * (clip.count - 1), steps)
        while at < whole:
            at += 1
            pair = None
            if after is None:
                before = _following(source, at, clip.size)
            else:
                before, after = after, None
        if part == 0:
            yield before
            continue
        if after is None:
            after = _following(source, at + 1, clip.size)
        if pair is None:
            pair = Neighbours(before, after)
        yield pair.between(part / steps)
    del before, after, pair
    if any(True for _ in source):
        raise ValueError(f"the clip goes on after its {clip.count} frames")


def _following(source: Iterator[Frame], index: int, size: Size) -> Frame:
    try:
        frame = next(source)
    except StopIteration:
        raise ValueError(f"the clip ended before its frame {index}") from None
    if size_of(frame) != size:
        raise ValueError(f"frame {index} is {size_of(frame)}, where the clip says {size}")
    return frame

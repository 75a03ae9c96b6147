"""Another number of frames for the same stretch of time, as they pass by.

The n frames that come stand at 0 … n-1. Of the m frames that leave, number j stands at j·(n-1)/(m-1), so that the
first and the last stay what they were. Where that is a whole number the very frame passes through; between two
frames everything moves on along the way it takes from the one to the other, and across a cut, where nothing does,
the nearer frame is shown.
"""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from kf2v.video.frames import Clip, Frame, Size, size_of
from kf2v.video.motion.neighbours import Neighbours

#: frames in the making at once, unless told otherwise; measured at 1080P, each takes 70 to 80 MB
THREADS = min(4, os.cpu_count() or 1)


def retime(clip: Clip, *, fps: int = 30, count: int = 150, threads: int = THREADS) -> Clip:
    """``clip`` as ``count`` frames at ``fps`` frames per second, made in ``threads`` a few ahead of what is asked for.

    The same frames give the same bytes every time. Holds at most twice ``threads`` + 4 source frames. A clip that has
    that rate and number already comes back as it is. Raises ValueError if there is no first or no last frame and,
    where it shows, if ``clip`` does not yield what it says.
    """
    if clip.count < 1 or count < 2:
        raise ValueError(f"at least one frame should become at least two, not {clip.count} {count}")
    if clip.fps == fps and clip.count == count:
        return clip
    return Clip(size=clip.size, fps=fps, count=count, frames=_resampled(clip, count, threads))


def _resampled(clip: Clip, count: int, threads: int) -> Iterator[Frame]:
    """Yields what ``_planned`` has in the making, a few frames ahead of what is asked for."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="retime")
    pending: deque[Future[Frame]] = deque()
    try:
        for frame in _planned(clip, count, pool):
            pending.append(frame)
            if len(pending) > threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _planned(clip: Clip, count: int, pool: ThreadPoolExecutor) -> Iterator[Future[Frame]]:
    """Frame j of ``count``, put to work; ``before`` and ``after`` are the source frames at ``at`` and ``at + 1``.

    A frame waits in its thread for its pair; that was put to work before it, so somebody is at it already.
    """
    steps = count - 1
    source = iter(clip.frames)
    before, after, at = _following(source, 0, clip.size), None, 0
    pair: Future[Neighbours] | None = None
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
            yield _made(before)
            continue
        if after is None:
            after = _following(source, at + 1, clip.size)
        if pair is None:
            pair = pool.submit(Neighbours, before, after)
        yield pool.submit(_between, pair, part / steps)
    del before, after, pair
    if any(True for _ in source):
        raise ValueError(f"the clip goes on after its {clip.count} frames")


def _between(pair: Future[Neighbours], part: float) -> Frame:
    return pair.result().between(part)


def _made(frame: Frame) -> Future[Frame]:
    made: Future[Frame] = Future()
    made.set_result(frame)
    return made


def _following(source: Iterator[Frame], index: int, size: Size) -> Frame:
    try:
        frame = next(source)
    except StopIteration:
        raise ValueError(f"the clip ended before its frame {index}") from None
    if size_of(frame) != size:
        raise ValueError(f"frame {index} is {size_of(frame)}, where the clip says {size}")
    return frame

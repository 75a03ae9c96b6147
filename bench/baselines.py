"""What ``morph`` is measured against: three ways to get from one picture to another that anyone has at hand.

Each takes two frames of one size and gives the clip an engine would give: 150 frames at 30 per second, at even speed,
whose first and last are the given frames themselves.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from kf2v.video import Clip, Frame
from kf2v.video.frames import size_of

COUNT, FPS = 150, 30

#: what a source counts in DIS where it is not believed: with less, the nearer picture pops in at the very end
FLOOR = 0.05

Picture = npt.NDArray[np.float32]

#: scene cuts are not looked for: two frames this far apart always look like one, and then nothing would move at all
MINTERPOLATE = f"fps={FPS}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:me=epzs:vsbmc=1:scd=none"


def dissolve(first: Frame, last: Frame) -> Clip:
    """A cross-fade of the stored (gamma) values."""

    def frames() -> Iterator[Frame]:
        for index in range(1, COUNT - 1):
            share = index / (COUNT - 1)
            yield np.asarray(cv2.addWeighted(first, 1 - share, last, share, 0), dtype=np.uint8)

    return _clip(first, last, frames())


def minterpolate(first: Frame, last: Frame) -> Clip:
    """FFmpeg's motion-compensated interpolation, overlapped blocks of variable size, searched in both directions.

    The filter interpolates between the two middle ones of four frames. So each end is given twice, the copies a
    thirtieth of a second outside, and of what comes out the frames between the ends are taken.
    """
    return _clip(first, last, _minterpolated(first, last))


def _minterpolated(first: Frame, last: Frame) -> Iterator[Frame]:
    size, tick = size_of(first), Fraction(1, FPS)
    graph = Graph()
    source = graph.add_buffer(width=size.width, height=size.height, format="yuv420p", time_base=tick)
    graph.link_nodes(source, graph.add("minterpolate", MINTERPOLATE), graph.add("buffersink")).configure()
    reformatter = VideoReformatter()
    end, found = COUNT - 1, 0
    for moment, frame in ((-1, first), (0, first), (end, last), (end + 1, last), (None, None)):
        graph.push(None if frame is None else _timed(reformatter, frame, moment, tick))
        for made in _waiting(graph):
            if made.pts is not None and 0 < round(made.pts * (made.time_base or tick) * FPS) < end:
                found += 1
                yield _rgb(reformatter, made)
    if found != end - 1:
        raise RuntimeError(f"minterpolate made {found} frames between the ends, where {end - 1} were expected")


def _timed(reformatter: VideoReformatter, frame: Frame, moment: int | None, tick: Fraction) -> VideoFrame:
    made = reformatter.reformat(
        VideoFrame.from_ndarray(frame, format="rgb24"),
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
    )
    made.pts, made.time_base = moment, tick
    return made


def _rgb(reformatter: VideoReformatter, frame: VideoFrame) -> Frame:
    rgb = reformatter.reformat(frame, format="rgb24", src_colorspace=Colorspace.ITU709, src_color_range=ColorRange.MPEG)
    return np.asarray(rgb.to_ndarray(), dtype=np.uint8)


def _waiting(graph: Graph) -> Iterator[VideoFrame]:
    """What the graph has ready."""
    while True:
        try:
            frame = graph.pull()
        except (BlockingIOError, av.error.EOFError):
            return
        if isinstance(frame, VideoFrame):
            yield frame


def dis_flow(first: Frame, last: Frame) -> Clip:
    """DIS optical flow (Kroeger et al. 2016) both ways, and a blend that believes the frame that sees a place.

    The flow is found at half the size, which reaches farther and measured better than at full size.

    Every pixel of the frame at time t is followed back to where it comes from in each picture (p = x - t·flow(p),
    solved in four steps). A source counts by its nearness in time, by how well the two flows undo each other there,
    and not at all where it lies outside the picture; where neither counts it is a cross-fade of both.
    """
    cv2.setNumThreads(1)
    ways = (_flow(first, last), _flow(last, first))
    trusts = (_trust(ways[0], ways[1]), _trust(ways[1], ways[0]))
    pictures = [frame.astype(np.float32) for frame in (first, last)]

    def frames() -> Iterator[Frame]:
        for index in range(1, COUNT - 1):
            share = index / (COUNT - 1)
            total, weights = np.zeros_like(pictures[0]), np.zeros((*first.shape[:2], 1), np.float32)
            for picture, flow, trust, far in zip(pictures, ways, trusts, (share, 1 - share), strict=True):
                origin = _origin(flow, far)
                weight = np.float32(1 - far) * (_inside(origin) * _sampled(trust, origin) + np.float32(FLOOR))
                total += weight[..., None] * _sampled(picture, origin)
                weights += weight[..., None]
            yield np.clip(total / weights + np.float32(0.5), 0, 255).astype(np.uint8)

    return _clip(first, last, frames())


def _flow(here: Frame, there: Frame) -> Picture:
    """(height, width, 2): where each pixel of ``here`` goes to in ``there``, as a shift in pixels."""
    height, width = here.shape[:2]
    half = (width // 2, height // 2)
    greys = [
        cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), half, interpolation=cv2.INTER_AREA)
        for frame in (here, there)
    ]
    found = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(greys[0], greys[1], None)
    return np.asarray(cv2.resize(found, (width, height)) * 2, dtype=np.float32)


def _grid(shape: tuple[int, ...]) -> Picture:
    height, width = shape[:2]
    return np.dstack(np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)))


def _sampled(values: Picture, places: Picture) -> Picture:
    edge = cv2.BORDER_REPLICATE
    return np.asarray(cv2.remap(values, places, None, cv2.INTER_LINEAR, borderMode=edge), dtype=np.float32)


def _trust(way: Picture, back: Picture) -> Picture:
    """(height, width), 0 … 1: high where going there and back again ends within a pixel or two."""
    missed = way + _sampled(back, _grid(way.shape) + way)
    allowed = 1 + 0.02 * (way**2).sum(axis=2)
    return np.exp(-(missed**2).sum(axis=2) / allowed).astype(np.float32)


def _origin(flow: Picture, share: float) -> Picture:
    """(height, width, 2): where in the picture that ``flow`` leaves from each pixel was, ``share`` of the way back."""
    grid = _grid(flow.shape)
    origin = grid
    for _ in range(4):
        origin = grid - np.float32(share) * _sampled(flow, origin)
    return origin


def _inside(places: Picture) -> Picture:
    height, width = places.shape[:2]
    x, y = places[..., 0], places[..., 1]
    return ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)).astype(np.float32)


def _clip(first: Frame, last: Frame, between: Iterator[Frame]) -> Clip:
    def frames() -> Iterator[Frame]:
        yield first
        yield from between
        yield last

    return Clip(size=size_of(first), fps=float(FPS), count=COUNT, frames=frames())


BASELINES: dict[str, Callable[[Frame, Frame], Clip]] = {
    "dissolve": dissolve,
    "minterpolate": minterpolate,
    "dis": dis_flow,
}

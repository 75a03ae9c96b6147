"""The file: frames to H.264 in MP4 and back. The only module that knows the codec library.

A clip is encoded as it passes by, at constant quality: nobody knows beforehand what it shows. Its two ends are the
exception. There the viewer holds the original in hand, so the first and the last frame are coded at a fixed, much
lower quantiser, which costs about as much as two good JPEGs. The last one has to be a P frame for that: x264 takes
the quantiser of an inner I frame from its neighbours and ignores what was asked for.

The same frames give the same bytes wherever the same build of the codec library runs: the number of encoder threads
is fixed, x264 is told not to choose algorithms by processor, and the container carries no times.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from os import SEEK_CUR
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.codec.context import ThreadType
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from kf2v.video.frames import Clip, Frame, size_of

#: what reading raises; that of a missing file is a FileNotFoundError too
CodecError: TypeAlias = FFmpegError

CRF = 18
#: ``superfast`` needs twice the bytes for the same quality, ``faster`` twice the time
PRESET = "veryfast"
#: of the first and the last frame: 46 dB and more on photographs, 43 on a cut to pure noise
END_QUANTISER = 10
#: frames before the last whose quantisers lead down to it: all at once would show as a jump
APPROACH = 5
#: part of the result (another number gives other bytes), so never taken from the machine
THREADS = 4

#: bitexact keeps library versions out of the container
_CONTAINER = {"movflags": "+faststart", "fflags": "+bitexact"}
#: rounded instead of truncated, chroma averaged over all four pixels, the same on every processor
_TO_YUV = Interpolation.AREA | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_TO_RGB = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a file says about itself, and what was counted in it."""

    #: ``h264``
    codec: str
    #: ``High``
    profile: str
    #: ``yuv420p``
    pixel_format: str
    width: int
    height: int
    #: frames per second
    fps: float
    #: whether every frame stands as long as every other
    steady: bool
    #: counted
    frames: int
    #: seconds
    duration: float
    #: this and the next two: code points of ITU-T H.273, where BT.709 is 1 and 2 is unspecified
    primaries: int
    transfer: int
    matrix: int
    #: luma 0 … 255 instead of 16 … 235
    full_range: bool
    #: the index stands before the pictures, so that playing can begin before the file is all there
    faststart: bool
    has_audio: bool


def write(path: Path, clip: Clip) -> None:
    """Encode ``clip`` to ``path``: H.264 High, yuv420p, BT.709, one steady rate, silent, index first.

    Asks for a frame when it is ready for it and lets go of it at once; the encoder's own threads work on earlier
    frames meanwhile. Raises what ``clip.frames`` raises, and ValueError if the clip is not what it says (another
    number of frames, another size); then, as after any other error, nothing is left at ``path``.
    """
    try:
        with av.open(path, "w", format="mp4", container_options=_CONTAINER) as container:
            stream = _add_stream(container, clip)
            for picture in _pictures(clip):
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _add_stream(container: OutputContainer, clip: Clip) -> VideoStream:
    last = clip.count - 1
    quantisers = {last - back: END_QUANTISER + 1 + back for back in range(min(APPROACH, last), 0, -1)}
    quantisers |= {0: END_QUANTISER, last: END_QUANTISER}
    zones = "/".join(f"{index},{index},q={quantiser}" for index, quantiser in sorted(quantisers.items()))
    options = {
        "preset": PRESET,
        "crf": str(CRF),
        "profile": "high",
        # mbtree=0: by default x264 saves on frames that few others refer to, which a slow film shows as a pulse
        # chromaloc=1: chroma stands between the four pixels it was averaged over
        "x264-params": f"zones={zones}:mbtree=0:cpu-independent=1:chromaloc=1",
    }
    stream = container.add_stream("libx264", rate=_rate(clip), options=options)
    stream.width, stream.height, stream.pix_fmt = clip.size.width, clip.size.height, "yuv420p"
    codec = stream.codec_context
    # one frame per thread: slices would cost quality and make the caller wait for each frame
    codec.thread_type, codec.thread_count = ThreadType.FRAME, THREADS
    codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
    return stream


def _pictures(clip: Clip) -> Iterator[VideoFrame]:
    """The clip's frames as the encoder takes them. Raises ValueError if they are not what the clip says."""
    reformatter = VideoReformatter()
    time_base, last, seen = 1 / _rate(clip), clip.count - 1, 0
    for frame in clip.frames:
        if seen > last:
            raise ValueError(f"the clip goes on after its {clip.count} frames")
        if size_of(frame) != clip.size:
            raise ValueError(f"frame {seen} is {size_of(frame)}, where the clip says {clip.size}")
        picture = reformatter.reformat(
            VideoFrame.from_ndarray(frame, format="rgb24"),
            format="yuv420p",
            src_colorspace=Colorspace.ITU709,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=_TO_YUV,
            threads=1,
        )
        del frame
        picture.pts, picture.time_base = seen, time_base
        picture.pict_type = PictureType.P if seen == last > 0 else PictureType.NONE
        yield picture
        seen += 1
    if seen <= last:
        raise ValueError(f"the clip ended after {seen} of {clip.count} frames")


def _rate(clip: Clip) -> Fraction:
    return Fraction(clip.fps).limit_denominator(1001)


def read_frames(path: Path) -> Iterator[Frame]:
    """The frames of the video at ``path``, decoded one by one as they are asked for.

    Raises ``av.error.FFmpegError``, of which a missing file's is a FileNotFoundError, when the file cannot be read.
    """
    reformatter = VideoReformatter()
    with av.open(path) as container:
        for picture in container.decode(video=0):
            yield _rgb(picture, reformatter)


def frame(path: Path, number: int | None) -> Frame:
    """The frame of that number, from 0, or the last, of the video at ``path``: the same as ``read_frames`` has there.

    Raises IndexError if there is none, and otherwise like ``read_frames``.
    """
    with av.open(path) as container:
        container.streams.video[0].codec_context.thread_type = ThreadType.FRAME
        picture = None
        for index, picture in enumerate(container.decode(video=0)):
            if index == number:
                return _rgb(picture, VideoReformatter())
        if picture is not None and number is None:
            return _rgb(picture, VideoReformatter())
    raise IndexError(number)


def _rgb(picture: VideoFrame, reformatter: VideoReformatter) -> Frame:
    rgb = reformatter.reformat(
        picture, format="rgb24", dst_color_range=ColorRange.JPEG, interpolation=_TO_RGB, threads=1
    )
    return np.asarray(rgb.to_ndarray(), dtype=np.uint8)


def facts(path: Path) -> Facts:
    """What the video at ``path`` is, without decoding its frames. Raises like ``read_frames``."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        times = sorted(p.pts for p in container.demux(stream) if p.pts is not None)
        return Facts(
            codec=codec.codec.canonical_name,
            profile=codec.profile or "",
            pixel_format=codec.pix_fmt or "",
            width=codec.width,
            height=codec.height,
            fps=float(stream.average_rate or 0),
            steady=len({after - before for before, after in pairwise(times)}) <= 1,
            frames=len(times),
            duration=float((stream.duration or 0) * (stream.time_base or 0)),
            primaries=int(codec.color_primaries),
            transfer=int(codec.color_trc),
            matrix=int(codec.colorspace),
            full_range=codec.color_range == ColorRange.JPEG,
            faststart=_index_comes_first(path),
            has_audio=bool(container.streams.audio),
        )


def _index_comes_first(path: Path) -> bool:
    """Whether ``moov`` stands before ``mdat`` among the file's top boxes (ISO/IEC 14496-12, section 4.2)."""
    whole = path.stat().st_size
    with path.open("rb") as file:
        while len(header := file.read(16)) >= 8:
            size, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if kind in (b"moov", b"mdat"):
                return kind == b"moov"
            if size == 1:  # the size follows in 64 bits
                size = int.from_bytes(header[8:16], "big")
            if not 8 <= size <= whole:  # 0: this box is the last; or no box at all
                break
            file.seek(size - len(header), SEEK_CUR)
    return False

"""How near retiming comes to what was filmed, next to FFmpeg's minterpolate, a linear blend and the nearest frame.

``python -m bench.retime [--data DIR] [--sheets DIR] [--json [FILE]] [--quick]``. Every second frame of the clips with
true frames is left out and made again from those that stay, at its own time and, because nothing films at an even
speed, at the best of seven times between its neighbours (``_t``). Clips of 24 and more frames between their ends are
apart: their neighbours are up to a second from each other, which no generated clip's are. Speed is that of 81 frames
becoming 150 at 720P, decoding and encoding left out. The clips are not part of this repository.
"""

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame

from bench.surroundings import ROOT, keep, machine, versions
from kf2v.pipeline.prepare import decode
from kf2v.video import Clip, Frame, Size
from kf2v.video.frames import fit, size_of
from kf2v.video.retime import retime

#: frames between both ends from which on a clip is one of distant frames
FAR = 24
#: frames per second of what comes in; the filter's times hang on it, its pictures do not
RATE = 8
#: steps from one known frame to the next; the one in the middle is the time of the frame left out
STEPS = 8
BEFORE, AFTER = 81, 150
TIER = Size(width=1280, height=720)

#: the filter's own scene detection and the lack of it gave the same figures on these clips
MINTERPOLATE = f"fps={STEPS * RATE}:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:me=epzs:vsbmc=1:scd=none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """Frames that were filmed evenly one after the other, an odd number of them."""

    name: str
    far: bool
    frames: list[Frame]


def footage(data: Path) -> list[Footage]:
    """Every clip below ``data`` whose true frames stand evenly; their number of steps is part of the folder's name."""
    found: list[Footage] = []
    for first in sorted((data / "dev" / "clips").glob("*/*/first.*")):
        folder = first.parent
        span = int(re.sub(r".*_k", "", folder.name))
        files = [first, *sorted(folder.glob("gt_*")), *folder.glob("last.*")]
        frames = [decode(file.read_bytes()) for file in files]
        found.append(Footage(name=f"{folder.parent.name}/{folder.name}", far=span >= FAR, frames=frames))
    return found


def ours(known: list[Frame]) -> list[Frame]:
    """What the pipeline does."""
    return list(retime(_clip(known), fps=STEPS * RATE, count=_count(known)).frames)


def minterpolate(known: list[Frame]) -> list[Frame]:
    """FFmpeg's motion-compensated interpolation; of what comes out, the frames whose times are asked for.

    The filter looks at four frames at a time and has to be told of two more at either end, where the clip stands.
    """
    size, tick = size_of(known[0]), Fraction(1, RATE)
    graph = Graph()
    source = graph.add_buffer(width=size.width, height=size.height, format="rgb24", time_base=tick)
    steps = (graph.add("format", "yuv444p"), graph.add("minterpolate", MINTERPOLATE), graph.add("format", "rgb24"))
    graph.link_nodes(source, *steps, graph.add("buffersink")).configure()
    made: dict[Fraction, Frame] = {}
    for moment, frame in enumerate([known[0]] * 2 + known + [known[-1]] * 4, start=-2):
        picture = VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts, picture.time_base = moment, tick
        graph.push(picture)
        made |= dict(_waiting(graph))
    graph.push(None)
    made |= dict(_waiting(graph))
    return [made[Fraction(j, STEPS * RATE)] for j in range(_count(known))]


def _waiting(graph: Graph) -> Iterator[tuple[Fraction, Frame]]:
    """What the graph has ready, and when it is shown."""
    while True:
        try:
            frame = graph.pull()
        except (BlockingIOError, av.error.EOFError):
            return
        if isinstance(frame, VideoFrame) and frame.pts is not None and frame.time_base is not None:
            yield frame.pts * frame.time_base, np.asarray(frame.to_ndarray(), dtype=np.uint8)


def blend(known: list[Frame]) -> list[Frame]:
    """A mean of both neighbours, weighted by time: nothing moves, everything doubles."""
    return list(_blended(known, _count(known)))


def nearest(known: list[Frame]) -> list[Frame]:
    """The neighbour that is nearer in time; in the middle, the one before."""
    return [known[(2 * j + STEPS - 1) // (2 * STEPS)] for j in range(_count(known))]


MAKERS: dict[str, Callable[[list[Frame]], list[Frame]]] = {
    "ours": ours,
    "minterpolate": minterpolate,
    "blend": blend,
    "nearest": nearest,
}


def _count(known: list[Frame]) -> int:
    return STEPS * (len(known) - 1) + 1


def _blended(known: list[Frame], count: int) -> Iterator[Frame]:
    for j in range(count):
        whole, part = divmod(j * (len(known) - 1), count - 1)
        share = part / (count - 1)
        after = known[min(whole + 1, len(known) - 1)]
        yield np.asarray(cv2.addWeighted(known[whole], 1 - share, after, share, 0), np.uint8) if part else known[whole]


def _clip(known: list[Frame]) -> Clip:
    return Clip(size=size_of(known[0]), fps=float(RATE), count=len(known), frames=iter(known))


def rebuild(clip: Footage, sheets: Path | None) -> list[dict[str, Any]]:
    """One row for every frame that was left out: PSNR (dB) and SSIM of luma, by maker."""
    made = {maker: make(clip.frames[::2]) for maker, make in MAKERS.items()}
    rows: list[dict[str, Any]] = []
    for j in range(1, len(clip.frames), 2):
        true, middle = clip.frames[j], STEPS * j // 2
        scores = {
            maker: {
                "psnr": round(psnr(frames[middle], true), 2),
                "ssim": round(ssim(frames[middle], true), 4),
                "psnr_t": round(max(psnr(frames[middle + i], true) for i in range(1 - STEPS // 2, STEPS // 2)), 2),
            }
            for maker, frames in made.items()
        }
        rows.append({"name": clip.name, "frame": j, "far": clip.far, "scores": scores})
        if sheets is not None:
            pictures = [true, *(frames[middle] for frames in made.values())]
            _draw(pictures, sheets / f"{clip.name.replace('/', '-')}-{j}.png")
    return rows


def _draw(pictures: list[Frame], file: Path) -> None:
    """The true frame, then one of each maker, side by side."""
    file.parent.mkdir(parents=True, exist_ok=True)
    small = [cv2.resize(each, (480, 480 * each.shape[0] // each.shape[1])) for each in pictures]
    cv2.imwrite(str(file), cv2.cvtColor(np.hstack(small), cv2.COLOR_RGB2BGR))


def _luma(frame: Frame) -> Any:
    """BT.601, 0 … 255."""
    return cv2.transform(frame.astype(np.float32), np.array([[0.299, 0.587, 0.114]], np.float32))


def psnr(one: Frame, other: Frame) -> float:
    """Of luma, in dB."""
    return float(10 * np.log10(255**2 / max(1e-9, float(np.mean((_luma(one) - _luma(other)) ** 2)))))


def ssim(one: Frame, other: Frame) -> float:
    """Of luma, in Gaussian windows of 11 by 11 (Wang et al. 2004)."""

    def mean(values: Any) -> Any:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    a, b = _luma(one), _luma(other)
    middle_a, middle_b = mean(a), mean(b)
    spread_a, spread_b, joint = mean(a * a) - middle_a**2, mean(b * b) - middle_b**2, mean(a * b) - middle_a * middle_b
    first, second = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    upper = (2 * middle_a * middle_b + first) * (2 * joint + second)
    return float((upper / ((middle_a**2 + middle_b**2 + first) * (spread_a + spread_b + second))).mean())


def speed(clip: Footage, count: int) -> dict[str, Any]:
    """Milliseconds per output frame: ``count`` of 150, from the clip played to and fro."""
    frames = [fit(frame, TIER) for frame in clip.frames]
    turn = len(frames) - 1
    known = [frames[turn - abs(turn - i % (2 * turn))] for i in range(round((count - 1) * (BEFORE - 1) / AFTER) + 1)]
    told: dict[str, Any] = {"name": clip.name, "size": f"{TIER.width}x{TIER.height}", "frames": count}
    cv2.setNumThreads(1)
    for maker, made in (("ours", retime(_clip(known), count=count).frames), ("blend", _blended(known, count))):
        began, spent = time.perf_counter(), time.process_time()
        for frame in made:
            del frame
        told[maker] = {
            "cpu_ms": round(1000 * (time.process_time() - spent) / count, 1),
            "wall_ms": round(1000 * (time.perf_counter() - began) / count, 1),
        }
    return told


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything measured, and on what."""
    clips = footage(arguments.data)
    if not clips:
        sys.exit(f"there are no clips in {arguments.data / 'dev' / 'clips'} (--data)")
    result: dict[str, Any] = {
        "machine": machine(),
        "versions": versions(("kf2v", "numpy", "opencv-python-headless", "av")),
        "quick": arguments.quick,
    }
    timed = [clip for clip in clips if not clip.far and size_of(clip.frames[0]) == TIER]
    result["speed"] = [speed(clip, 16 if arguments.quick else AFTER) for clip in timed]
    rows = [row for clip in clips for row in rebuild(clip, arguments.sheets)]
    parts = {"near": [row for row in rows if not row["far"]], "far": [row for row in rows if row["far"]]}
    return {**result, "mean": {part: _means(of) for part, of in parts.items() if of}, "rows": rows}


def _means(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    return {
        maker: {
            measure: round(statistics.fmean(row["scores"][maker][measure] for row in rows), 4)
            for measure in ("psnr", "ssim", "psnr_t")
        }
        for maker in MAKERS
    }


def table(result: dict[str, Any]) -> str:
    """The result for reading."""
    on, of = result["machine"], result["versions"]
    lines = [
        f"{on['cpu']}, {on['cores']} cores, load average {on['load_average'][0]:.1f}, {of['commit']}",
        "",
        f"{'PSNR dB, SSIM, PSNR_t':26}" + "".join(f"{maker:>22}" for maker in MAKERS),
    ]
    for part, wanted in (("near", False), ("far", True)):
        wanted_rows = [row for row in result["rows"] if row["far"] is wanted]
        lines += [f"{row['name'] + ' #' + str(row['frame']):26}" + _cells(row["scores"]) for row in wanted_rows]
        if part in result["mean"]:
            lines += [f"{'mean, ' + part:26}" + _cells(result["mean"][part]), ""]
    for told in result["speed"]:
        each = ", ".join(
            f"{maker} {told[maker]['cpu_ms']} (wall {told[maker]['wall_ms']})" for maker in ("ours", "blend")
        )
        lines.append(f"CPU ms per frame, {told['name']} as {told['frames']} at {told['size']}: {each}")
    return "\n".join(lines)


def _cells(scores: dict[str, dict[str, float]]) -> str:
    return "".join(
        f"{scores[maker]['psnr']:9.2f} {scores[maker]['ssim']:.4f} {scores[maker]['psnr_t']:5.2f}" for maker in MAKERS
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.retime", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", metavar="DIR")
    parser.add_argument("--sheets", type=Path, metavar="DIR", help="draw every frame made next to the true one there")
    parser.add_argument("--json", nargs="?", const="", metavar="FILE", help="write the result too, to bench/results/")
    parser.add_argument("--quick", action="store_true", help="time 16 frames instead of 150")
    arguments = parser.parse_args()
    result = run(arguments)
    print(table(result))
    if arguments.json is not None:
        print(f"\nwritten to {keep(result, 'retime', arguments.json)}")


if __name__ == "__main__":
    main()

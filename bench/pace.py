"""How long a video takes, stage by stage, and how much memory: each job in a process of its own on two cores.

``python -m bench.pace stages|peak|series NUMBER`` does one job and prints JSON; ``measure`` starts them. The pair is
the bundled one. A stage is timed through what everyone may use: analysis ends when the watch first hears of
``render``, rendering is the clip walked through without keeping it, encoding is ``mp4.write`` of frames that were
rendered before, and the whole is ``mp4.write`` of a clip as it is made.
"""

import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.surroundings import ROOT

if TYPE_CHECKING:
    from kf2v.engines import Scene
    from kf2v.video import Clip, Frame, Size

CORES = 2
PAIR = ROOT / "examples" / "pair"
STAGES = ("analyse", "render", "encode", "whole")
#: twice the pixels of 720P: what a stage may cost more is asked there
DOUBLE = "720P x2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Seconds of one stage."""

    wall: float
    #: of all threads
    cpu: float


class Stopwatch:
    """A watch that notes when a phase is first heard of."""

    def __init__(self) -> None:
        self.heard: dict[str, tuple[float, float]] = {}

    def report(self, phase: str, done: float) -> None:
        del done
        self.heard.setdefault(phase, _now())

    def note(self, text: str) -> None:
        del text


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _between(begin: tuple[float, float], end: tuple[float, float]) -> Spent:
    return Spent(wall=end[0] - begin[0], cpu=end[1] - begin[1])


def measure(*, rounds: int, videos: int) -> dict[str, Any]:
    """Everything about speed and memory, from fresh processes."""
    return {
        "cores": min(CORES, len(os.sched_getaffinity(0))),
        "rounds": rounds,
        **_job("stages", rounds),
        **_job("peak", 1),
        **_job("series", videos),
    }


def _job(name: str, number: int) -> dict[str, Any]:
    print(f"  {name}", file=sys.stderr, flush=True)
    cores = set(sorted(os.sched_getaffinity(0))[:CORES])
    done = subprocess.run(
        [sys.executable, "-m", "bench.pace", name, str(number)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    if done.returncode != 0:
        raise SystemExit(f"the job {name} failed")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def stages(rounds: int) -> dict[str, Any]:
    """Medians over ``rounds`` at every size, after a round that warms up and gives the frames to encode."""
    from kf2v.catalog.models import AREAS

    found: dict[str, Any] = {}
    for name, area in {**AREAS, DOUBLE: 2 * AREAS["720P"]}.items():
        scene = _scene(area)
        frames: list[Frame] = []
        _walked(scene, frames.append)
        taken = [_round(scene, frames) for _ in range(rounds)]
        size = _size(scene)
        found[name] = {
            "size": f"{size.width}x{size.height}",
            "pixels": size.width * size.height,
            "ends_psnr": _ends(scene, frames),
            **{stage: _medians([each[stage] for each in taken]) for stage in STAGES},
        }
        found[name]["ratio"] = statistics.median(each["whole"].wall / each["encode"].wall for each in taken)
        print(f"    {name} done", file=sys.stderr, flush=True)
    return {"stages": found, "scaling": _scaling(found["720P"], found[DOUBLE])}


def _round(scene: "Scene", frames: "list[Frame]") -> dict[str, Spent]:
    analyse, render = _walked(scene, lambda _: None)
    encode = _timed(lambda: _write(_kept(scene, frames)))
    whole = _timed(lambda: _write(_made(scene)))
    return {"analyse": analyse, "render": render, "encode": encode, "whole": whole}


def _walked(scene: "Scene", take: "Callable[[Frame], object]") -> tuple[Spent, Spent]:
    """Make a clip without encoding it; seconds until ``render`` began, and from then on."""
    from kf2v.engines.morph import Morph

    watch, begin = Stopwatch(), _now()
    for frame in Morph().generate(scene, watch).frames:
        take(frame)
    end = _now()
    middle = watch.heard["render"]
    return _between(begin, middle), _between(middle, end)


def _timed(work: Callable[[], object]) -> Spent:
    begin = _now()
    work()
    return _between(begin, _now())


def _made(scene: "Scene") -> "Clip":
    from kf2v.engines.morph import Morph

    return Morph().generate(scene, Stopwatch())


def _kept(scene: "Scene", frames: "list[Frame]") -> "Clip":
    from kf2v.engines.morph import FPS
    from kf2v.video import Clip

    return Clip(size=_size(scene), fps=FPS, count=len(frames), frames=iter(frames))


def _write(clip: "Clip") -> None:
    """Write ``clip`` as a file and forget it."""
    from kf2v.video import mp4

    with tempfile.TemporaryDirectory(prefix="kf2v-bench-") as folder:
        mp4.write(Path(folder) / "film.mp4", clip)


def _ends(scene: "Scene", frames: "list[Frame]") -> dict[str, float]:
    """Luma PSNR in dB of both ends after encoding."""
    from kf2v.video import mp4, sheet

    with tempfile.TemporaryDirectory(prefix="kf2v-bench-") as folder:
        path = Path(folder) / "film.mp4"
        mp4.write(path, _kept(scene, frames))
        seen = sheet.survey(path, mp4.facts(path), tiles=2, width=16, first=scene.first, last=scene.last)
    assert seen.psnr_first is not None
    assert seen.psnr_last is not None
    return {"first": seen.psnr_first, "last": seen.psnr_last}


def _medians(spent: list[Spent]) -> dict[str, float]:
    return {
        "wall": statistics.median(each.wall for each in spent),
        "cpu": statistics.median(each.cpu for each in spent),
    }


def _scaling(single: dict[str, Any], double: dict[str, Any]) -> dict[str, float]:
    """How many times longer each stage takes, and how many times the pixels there are."""
    times = {stage: double[stage]["wall"] / single[stage]["wall"] for stage in STAGES}
    return {"pixels": double["pixels"] / single["pixels"], **times}


def peak(videos: int) -> dict[str, Any]:
    """The most memory this process ever held, after nothing but making videos at 1080P."""
    from kf2v.catalog.models import AREAS

    for _ in range(videos):
        _write(_made(_scene(AREAS["1080P"])))
    return {"peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}


def series(videos: int) -> dict[str, Any]:
    """Seconds of each of ``videos`` at 480P, one after the other, in a process that has done nothing before."""
    begin = time.perf_counter()
    for module in ("kf2v.engines.morph", "kf2v.video.mp4", "kf2v.pipeline.prepare"):
        importlib.import_module(module)
    imports = time.perf_counter() - begin
    from kf2v.catalog.models import AREAS

    scene = _scene(AREAS["480P"])
    taken = [_timed(lambda: _write(_made(scene))).wall for _ in range(videos)]
    return {
        "series": {
            "imports": imports,
            "first": taken[0],
            "median_of_the_rest": statistics.median(taken[1:]),
            "all": taken,
        }
    }


def _scene(area: int) -> "Scene":
    from kf2v.engines import Scene
    from kf2v.pipeline.prepare import decode
    from kf2v.video.frames import fit
    from kf2v.video.size import output_size

    first, last = (decode((PAIR / name).read_bytes()) for name in ("first.jpg", "last.jpg"))
    size = output_size(first.shape[1], first.shape[0], area)
    return Scene(first=fit(first, size), last=fit(last, size), prompt="", negative_prompt="", seed=1)


def _size(scene: "Scene") -> "Size":
    from kf2v.video.frames import size_of

    return size_of(scene.first)


def table(result: dict[str, Any]) -> Iterator[str]:
    """The result for reading, line by line."""
    yield f"seconds per video on {result['cores']} cores, median of {result['rounds']} (CPU seconds of all threads)"
    yield f"{'':10}{'size':12}" + "".join(f"{stage:>16}" for stage in STAGES) + f"{'whole/encode':>16}{'ends, dB':>14}"
    for name, row in result["stages"].items():
        spent = "".join(f"{row[stage]['wall']:>8.2f} ({row[stage]['cpu']:5.2f})" for stage in STAGES)
        ends = f"{row['ends_psnr']['first']:.1f}/{row['ends_psnr']['last']:.1f}"
        yield f"{name:10}{row['size']:12}{spent}{row['ratio']:>16.2f}{ends:>14}"
    scaling = result["scaling"]
    told = ", ".join(f"{stage} {scaling[stage]:.2f}" for stage in STAGES)
    yield f"from 720P to {scaling['pixels']:.2f} times the pixels: {told} times the seconds"
    yield f"most memory at 1080P: {result['peak_rss_mb']:.0f} MB"
    series = result["series"]
    late = series["first"] - series["median_of_the_rest"]
    yield (
        f"a fresh process at 480P: imports {series['imports']:.2f} s, first video {series['first']:.2f} s, "
        f"{len(series['all']) - 1} more {series['median_of_the_rest']:.2f} s (the first {late:+.2f})"
    )


JOBS: dict[str, Callable[[int], dict[str, Any]]] = {"stages": stages, "peak": peak, "series": series}

if __name__ == "__main__":
    json.dump(JOBS[sys.argv[1]](int(sys.argv[2])), sys.stdout)

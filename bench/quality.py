"""How good the films are: every pair of a data directory, made by ``morph`` and by every baseline, scored alike.

The scorer is a file outside this repository; it is imported by its path. Nothing is kept between runs: the baselines
are made and scored anew each time.
"""

import functools
import importlib.util
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.baselines import BASELINES
from kf2v.catalog.models import AREAS
from kf2v.engines import Scene
from kf2v.engines.morph import Morph
from kf2v.pipeline.prepare import decode
from kf2v.video import Clip, Frame, mp4, sheet
from kf2v.video.frames import fit
from kf2v.video.size import output_size

TIER = "480P"
SEED = 1
MAKERS = ("morph", *BASELINES)
WORKERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Two pictures, and what was truly between them where somebody filmed it."""

    kind: str
    name: str
    first: Path
    last: Path
    #: where between the two, 0 … 1, and the frame that was there
    truths: tuple[tuple[float, Path], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One film to make and to score, told to a worker process."""

    entry: Entry
    maker: str
    scorer: Path
    #: where its contact sheet goes; None: nobody wants to look
    sheets: Path | None


class Silence:
    """A watch that nobody looks at."""

    def report(self, phase: str, done: float) -> None:
        del phase, done

    def note(self, text: str) -> None:
        del text


def entries(data: Path) -> list[Entry]:
    """What ``index.json`` in ``data`` lists."""
    return [
        Entry(
            kind=row["kind"],
            name=row["name"],
            first=data / row["first"],
            last=data / row["last"],
            truths=tuple((truth["u"], data / truth["file"]) for truth in row.get("gt", ())),
        )
        for row in json.loads((data / "index.json").read_text())
    ]


def one_of_each(found: Iterable[Entry]) -> list[Entry]:
    """The first entry of every kind."""
    kinds: dict[str, Entry] = {}
    for entry in found:
        kinds.setdefault(entry.kind, entry)
    return list(kinds.values())


def measure(found: list[Entry], scorer: Path, sheets: Path | None) -> dict[str, Any]:
    """Rows and what follows from them, from two processes at once."""
    orders = [Order(entry=entry, maker=maker, scorer=scorer, sheets=sheets) for entry in found for maker in MAKERS]
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(row, order) for order in orders]):
            rows.append(done.result())
            _tell(len(rows), len(orders), rows[-1])
    place = {(order.entry.kind, order.entry.name, order.maker): number for number, order in enumerate(orders)}
    rows.sort(key=lambda each: place[each["kind"], each["name"], each["maker"]])
    return {"tier": TIER, "seed": SEED, "summary": summary(rows), "rows": rows}


def row(order: Order) -> dict[str, Any]:
    """One film, made and scored. What goes wrong becomes the row's ``error``: the others still count."""
    entry = order.entry
    told: dict[str, Any] = {"kind": entry.kind, "name": entry.name, "maker": order.maker}
    with tempfile.TemporaryDirectory(prefix="kf2v-bench-") as folder:
        path = Path(folder) / "film.mp4"
        try:
            began = time.process_time()
            mp4.write(path, film(order.maker, *_ends(entry)))
            told["cpu_seconds"] = round(time.process_time() - began, 2)
            truths = [(moment, str(file)) for moment, file in entry.truths]
            told |= _essence(_loaded(order.scorer).score(str(path), str(entry.first), str(entry.last), truths))
            if order.sheets is not None:
                _draw(path, order.sheets / f"{entry.kind}-{entry.name}-{order.maker}.png")
        except Exception as error:  # noqa: BLE001  twenty minutes of work should not end with one film
            told["error"] = f"{type(error).__name__}: {error}"
    return told


def film(maker: str, first: Frame, last: Frame) -> Clip:
    """What ``maker`` makes of two frames of one size."""
    if maker == "morph":
        scene = Scene(first=first, last=last, prompt="", negative_prompt="", seed=SEED)
        return Morph(threads=1).generate(scene, Silence())
    return BASELINES[maker](first, last)


def _ends(entry: Entry) -> tuple[Frame, Frame]:
    first, last = decode(entry.first.read_bytes()), decode(entry.last.read_bytes())
    size = output_size(first.shape[1], first.shape[0], AREAS[TIER])
    return fit(first, size), fit(last, size)


@functools.cache
def _loaded(scorer: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("score_video", scorer)
    if spec is None or spec.loader is None:
        raise ImportError(f"{scorer} is no Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _essence(score: dict[str, Any]) -> dict[str, Any]:
    """What a row keeps of everything the scorer says."""
    kept = {
        "Q": round(score["Q"], 2),
        "parts": {part: round(value, 3) for part, value in score["parts"].items()},
        "ends": {
            end: {"psnr": round(score["endpoint"][end]["psnr"], 2), "ssim": round(score["endpoint"][end]["ssim"], 4)}
            for end in ("first", "last")
        },
        "stream_ok": score["stream"]["ok"],
    }
    if "gt" in score:
        kept["truth"] = {name: round(score["gt"][name], 4) for name in ("psnr", "psnr_t", "ssim", "ssim_t")}
    return kept


def _draw(path: Path, target: Path) -> None:
    facts = sheet.read_facts(path)
    layout = sheet.arrange(facts, tiles=12, width=240)
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(sheet.draw(sheet.survey(path, facts, tiles=12, width=240), layout, title=target.stem), target)


def _tell(done: int, of: int, told: dict[str, Any]) -> None:
    found = told.get("error") or f"Q {told['Q']:.1f}"
    print(f"  {done}/{of}  {told['kind']}/{told['name']} {told['maker']}: {found}", file=sys.stderr, flush=True)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means per kind, the worst five, how near the true frames, how exact the ends. Failed films are counted apart."""
    good = [each for each in rows if "error" not in each]
    of = {maker: [each for each in good if each["maker"] == maker] for maker in MAKERS}
    kinds = list(dict.fromkeys(each["kind"] for each in good))
    ends = [(end, each) for each in of["morph"] for end in each["ends"].values()]
    return {
        "failed": [f"{each['kind']}/{each['name']} {each['maker']}" for each in rows if "error" in each],
        "mean": {maker: _mean(each["Q"] for each in of[maker]) for maker in MAKERS},
        "kinds": {
            kind: {maker: _mean(each["Q"] for each in of[maker] if each["kind"] == kind) for maker in MAKERS}
            for kind in kinds
        },
        "worst": [
            {name: each[name] for name in ("kind", "name", "Q", "parts")}
            for each in sorted(of["morph"], key=lambda each: each["Q"])[:5]
        ],
        "psnr_t": {maker: _mean(each["truth"]["psnr_t"] for each in of[maker] if "truth" in each) for maker in MAKERS},
        "least": {
            measure: min(
                ({"at": f"{each['kind']}/{each['name']}", measure: end[measure]} for end, each in ends),
                key=lambda found: found[measure],
                default=None,
            )
            for measure in ("psnr", "ssim")
        },
        "streams_ok": all(each["stream_ok"] for each in of["morph"]),
    }


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return round(statistics.fmean(found), 3) if found else None


def table(result: dict[str, Any]) -> Iterator[str]:
    """The result for reading, line by line."""
    told, rows = result["summary"], result["rows"]
    yield f"Q at {result['tier']}, seed {result['seed']}"
    yield f"{'kind':28}" + "".join(f"{maker:>14}" for maker in MAKERS)
    for kind, means in (*told["kinds"].items(), ("all", told["mean"])):
        yield f"{kind:28}" + "".join(f"{_figure(means[maker]):>14}" for maker in MAKERS)
    yield ""
    yield (
        f"{'pair':28}"
        + "".join(f"{maker:>14}" for maker in MAKERS)
        + "    parts of morph"
        + " " * 22
        + "psnr_t (over …)"
    )
    for own in (each for each in rows if each["maker"] == "morph"):
        same = {each["maker"]: each for each in rows if (each["kind"], each["name"]) == (own["kind"], own["name"])}
        figures = "".join(f"{_figure(same.get(maker, {}).get('Q')):>14}" for maker in MAKERS)
        yield f"{own['kind'] + '/' + own['name']:28}{figures}    {_parts(own):36}{_near(same)}".rstrip()
    yield ""
    yield "worst: " + ", ".join(f"{each['kind']}/{each['name']} {each['Q']:.1f}" for each in told["worst"])
    if told["psnr_t"]["morph"] is not None:
        over = (f"{told['psnr_t']['morph'] - told['psnr_t'][maker]:+.2f} over {maker}" for maker in BASELINES)
        yield f"true frames: psnr_t {told['psnr_t']['morph']:.2f} dB, {', '.join(over)}"
    for measure, least in told["least"].items():
        if least is not None:
            yield f"ends: least luma {measure.upper()} {least[measure]:g} ({least['at']})"
    yield f"streams as promised: {'all' if told['streams_ok'] else 'NOT ALL'}"
    for each in rows:
        if "error" in each:
            yield f"FAILED {each['kind']}/{each['name']} {each['maker']}: {each['error']}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _parts(own: dict[str, Any]) -> str:
    letters = {"endpoint": "E", "smooth": "S", "ghost": "G", "integrity": "I", "sharp": "H", "motion": "M"}
    return " ".join(f"{letters[part]}{value:.2f}" for part, value in own.get("parts", {}).items())


def _near(same: dict[str, dict[str, Any]]) -> str:
    if "truth" not in same["morph"]:
        return ""
    own = same["morph"]["truth"]["psnr_t"]
    theirs = [same.get(maker, {}).get("truth") for maker in BASELINES]
    over = ["-" if truth is None else f"{own - truth['psnr_t']:+.1f}" for truth in theirs]
    return f"{own:.2f} ({' '.join(over)})"

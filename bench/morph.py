"""How good and how fast ``morph`` is, next to a dissolve, FFmpeg's minterpolate, DIS flow, and encoding alone.

``python -m bench.morph [--data DIR] [--scorer FILE] [--sheets DIR] [--json [FILE]] [--quick] [--only PART]``. Speed
comes first, alone on the machine, on the bundled pair; then quality at 480P, two films at a time, over every entry of
the data directory's ``index.json``. Pictures to judge by and the scorer are not part of this repository; without them
only speed is measured. Nothing is cached: baselines are made and scored in the same run.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from bench import pace, quality
from bench.surroundings import ROOT, keep, machine, versions

SHARED = ROOT.parent / "shared"


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything measured, and on what."""
    began = time.monotonic()
    result: dict[str, Any] = {
        "machine": machine(),
        "versions": versions(("kf2v", "numpy", "opencv-python-headless", "av")),
        "quick": arguments.quick,
    }
    if arguments.only != "quality":
        say("speed")
        result["speed"] = pace.measure(rounds=1 if arguments.quick else 3, videos=3 if arguments.quick else 10)
    missing = [str(path) for path in (arguments.data / "index.json", arguments.scorer) if not path.is_file()]
    if arguments.only != "speed" and missing:
        result["quality_missing"] = [Path(path).name for path in missing]
        say(f"!!! QUALITY IS NOT MEASURED: there is no {' and no '.join(missing)} (--data, --scorer)")
    elif arguments.only != "speed":
        say("quality")
        found = quality.entries(arguments.data)
        found = quality.one_of_each(found) if arguments.quick else found
        result["quality"] = quality.measure(found, arguments.scorer.resolve(), arguments.sheets)
    return {**result, "minutes": round((time.monotonic() - began) / 60, 1)}


def table(result: dict[str, Any]) -> str:
    """The result for reading."""
    on, of = result["machine"], result["versions"]
    lines = [
        f"{on['cpu']}, {on['cores']} cores, load average {on['load_average'][0]:.1f}, {of['commit']}, "
        f"{result['minutes']} minutes{', QUICK: a few pairs and single runs' if result['quick'] else ''}"
    ]
    for name, part in (("speed", pace), ("quality", quality)):
        if name in result:
            lines += ["", *part.table(result[name])]
    if "quality_missing" in result:
        lines += ["", f"!!! QUALITY WAS NOT MEASURED: {' and '.join(result['quality_missing'])} missing"]
    return "\n".join(lines)


def say(text: str) -> None:
    """Talk, beside the table."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.morph", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=SHARED / "data", metavar="DIR", help="pairs, with an index.json")
    parser.add_argument("--scorer", type=Path, default=SHARED / "tools" / "score_video.py", metavar="FILE")
    parser.add_argument("--sheets", type=Path, metavar="DIR", help="draw a contact sheet of every film there")
    parser.add_argument("--json", nargs="?", const="", metavar="FILE", help="write the result too, to bench/results/")
    parser.add_argument("--quick", action="store_true", help="one pair of each kind, single runs")
    parser.add_argument("--only", choices=("speed", "quality"), help="leave the other out")
    arguments = parser.parse_args()
    result = run(arguments)
    print(table(result))
    if arguments.json is not None:
        print(f"\nwritten to {keep(result, 'morph', arguments.json)}")
    if result.get("quality", {}).get("summary", {}).get("failed"):
        sys.exit(1)


if __name__ == "__main__":
    main()

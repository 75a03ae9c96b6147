"""How fast the wan engine is on one GPU: ``python -m bench.wan [--only STEP]``.

Five steps, each in a process of its own and under ten minutes on an H100, each with its own result file: (a)
``roofline``, (b) ``dit``, (c) ``vae``, (d) ``video``, (e) ``diffusers``. README.md beside this says what a machine
needs, in which order a session runs them, and how long they are expected to take. Weights are random and of the real
sizes; nothing is read from a hub. Without a GPU nothing is measured and nothing is written; ``--dry-run`` walks every
step on tiny shapes.
"""

import argparse
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from bench.surroundings import ROOT, keep, machine, versions

if TYPE_CHECKING:
    import torch

    from bench.wan.scale import Scale

#: exit codes of this command
NO_GPU, STEP_FAILED = 3, 1
#: whose versions make a difference; those that are not installed are told as such
PACKAGES = (
    "kf2v",
    "torch",
    "triton",
    "diffusers",
    "transformers",
    "nvidia-cudnn-frontend",
    "numpy",
    "av",
    "opencv-python-headless",
)


class Module(Protocol):
    """One step."""

    measure: Callable[["Scale", "torch.device"], dict[str, Any]]
    table: Callable[[dict[str, Any]], Iterator[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What ``--only`` names."""

    module: str
    title: str

    def load(self) -> Module:
        return cast(Module, importlib.import_module(f"bench.wan.{self.module}"))


STEPS = {
    "roofline": Step(module="roofline", title="what the GPU reaches: products and attention"),
    "dit": Step(module="forward", title="one forward of the transformer"),
    "vae": Step(module="autoencoder", title="the VAE"),
    "video": Step(module="film", title="seconds per film"),
    "diffusers": Step(module="stock", title="the same film through diffusers"),
}


def run(name: str, scale: "Scale", device: "torch.device", *, commit: str = "") -> dict[str, Any]:
    """One step, and what it ran on."""
    import torch

    from bench.wan.card import Vitals, card

    begin = time.monotonic()
    torch.manual_seed(0)
    with torch.no_grad(), Vitals(device) as vitals:
        result = STEPS[name].load().measure(scale, device)
    return {
        "step": name,
        "machine": {**machine(), "gpu": card(device), "while_it_ran": vitals.told()},
        "versions": {**versions(()), **installed(), **({"commit": commit} if commit else {})},
        "frames": scale.frames,
        **result,
        "minutes": round((time.monotonic() - begin) / 60, 2),
    }


def installed() -> dict[str, str]:
    """Versions of ``PACKAGES``."""
    import importlib.metadata

    def version(package: str) -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "not installed"

    return {package: version(package) for package in PACKAGES}


def table(result: dict[str, Any]) -> str:
    """The result of one step for reading."""
    gpu, of = result["machine"]["gpu"], result["versions"]
    ran = result["machine"]["while_it_ran"]
    clocks = f", SM {ran['sm_mhz']['median']:.0f} MHz, {ran['watts']['median']:.0f} W" if "sm_mhz" in ran else ""
    head = (
        f"{STEPS[result['step']].title}: {gpu['name']}{clocks}, driver {gpu.get('driver', 'none')}, "
        f"torch {of['torch']}, {of['commit']}, {result['minutes']} minutes"
    )
    return "\n".join([head, *STEPS[result["step"]].load().table(result)])


def dry_run(steps: list[str]) -> None:
    """Walk ``steps`` on tiny shapes: on the CPU, or, where there is a GPU, on it, kernels and all."""
    import torch

    from bench.wan.scale import SMALL, TINY

    torch.set_num_threads(1)
    gpu = torch.cuda.is_available()
    device, scale = (torch.device("cuda", 0), SMALL) if gpu else (torch.device("cpu"), TINY)
    print(f"DRY RUN on {'the GPU' if gpu else 'the CPU'}: tiny shapes, so that the code is known to run. NO RESULT.")
    for name in steps:
        print(f"\nDRY RUN, no result: {table(run(name, scale, device))}", flush=True)
    print("\nDRY RUN: nothing was measured, nothing was written.")


def one(name: str, scale: "Scale", device: "torch.device", *, commit: str = "", into: Path | None = None) -> Path:
    """One step in this process; its result is printed and written, to ``bench/results/`` or ``into``."""
    from bench.wan.scale import FULL

    result = run(name, scale, device, commit=commit)
    print(table(result))
    bench = "-".join(["wan", name, *(scale.films if len(scale.films) < len(FULL.films) else ())])
    wanted = into / f"{bench}-{result['versions']['commit']}.json" if into else ""
    file = keep(result, bench, str(wanted))
    print(f"written to {file}", flush=True)
    return file


def on_the_gpu(arguments: argparse.Namespace) -> None:
    """One step at the real sizes."""
    import torch

    from bench.wan.scale import FULL

    films = {tier: size for tier, size in FULL.films.items() if tier in arguments.tier}
    scale = replace(FULL, films=films)
    one(arguments.only[0], scale, torch.device("cuda", 0), commit=arguments.commit, into=arguments.into)


def each(steps: list[str], arguments: argparse.Namespace) -> list[str]:
    """Every step in a process of its own, so that none inherits another's memory; those that failed."""
    failed: list[str] = []
    for name in steps:
        command = [sys.executable, "-m", "bench.wan", "--only", name, "--tier", *arguments.tier, "--here"]
        command += ["--commit", arguments.commit] if arguments.commit else []
        command += ["--into", str(arguments.into)] if arguments.into else []
        if subprocess.run(command, cwd=ROOT, env=os.environ, check=False).returncode != 0:
            say(f"!!! STEP {name} FAILED")
            failed.append(name)
        print(flush=True)
    return failed


def say(text: str) -> None:
    """Talk, beside the tables."""
    print(text, file=sys.stderr, flush=True)


def lacking() -> str:
    """Why nothing can be measured here; empty if it can."""
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} sees no GPU"
    return ""


def main() -> None:
    # Nothing here comes from a hub, and what diffusers says about casts is known.
    os.environ.update({"HF_HUB_OFFLINE": "1", "DIFFUSERS_VERBOSITY": "error", "TRANSFORMERS_VERBOSITY": "error"})
    parser = argparse.ArgumentParser(prog="python -m bench.wan", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--only", nargs="+", choices=tuple(STEPS), default=list(STEPS), metavar="STEP", help="these steps"
    )
    parser.add_argument("--tier", nargs="+", choices=("480P", "720P"), default=["480P", "720P"], help="these sizes")
    parser.add_argument("--dry-run", action="store_true", help="walk the code on tiny shapes; no results")
    parser.add_argument("--commit", default="", metavar="ID", help="the commit, where the machine has no git history")
    parser.add_argument("--into", type=Path, metavar="DIR", help="write results there, not to bench/results/")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.dry_run:
        dry_run(arguments.only)
        return
    if missing := lacking():
        say(f"!!! NOTHING WAS MEASURED: {missing}, and a GPU's speed is measured on a GPU (--dry-run walks the code)")
        sys.exit(NO_GPU)
    if arguments.here:
        on_the_gpu(arguments)
    elif failed := each(arguments.only, arguments):
        say(f"!!! not measured: {', '.join(failed)}")
        sys.exit(STEP_FAILED)


if __name__ == "__main__":
    main()

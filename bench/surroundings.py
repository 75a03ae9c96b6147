"""What a benchmark ran on and with, and where its result is kept."""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def machine() -> dict[str, Any]:
    """What it ran on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load_average": os.getloadavg(),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of everything that makes a difference."""
    found = {package: importlib.metadata.version(package) for package in packages}
    return {"python": platform.python_version(), "commit": _commit(), **found}


def _commit() -> str:
    """What git calls this state; ``unknown`` in a copy without a history, or without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def keep(result: dict[str, Any], bench: str, wanted: str) -> Path:
    """Write ``result`` to the file ``wanted``, or to one in ``bench/results/`` named after day and commit."""
    name = f"{bench}-{datetime.now(UTC):%Y-%m-%d}-{result['versions']['commit']}.json"
    file = Path(wanted or ROOT / "bench" / "results" / name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n")
    return file

"""The GPU that is measured: what it is, how it feels while it works, and how long a piece of work takes on it.

Knows nothing of Wan. On a CPU everything runs once, so that the code is walked; those times mean nothing.
"""

import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

#: what a piece of work is run before it is timed, and how often it is timed
WARM, ROUNDS = 2, 5
#: seconds of one run from which on it is warmed once and timed twice: a step has to end within ten minutes
LONG = 8.0
#: seconds between two looks at clocks and power
INTERVAL = 1.0

_ASKED = {
    "driver": "driver_version",
    "sm_mhz": "clocks.sm",
    "sm_max_mhz": "clocks.max.sm",
    "memory_mhz": "clocks.mem",
    "watts": "power.draw",
    "limit_watts": "power.limit",
    "celsius": "temperature.gpu",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Seconds that a piece of work took, of several runs."""

    median: float
    least: float
    most: float
    rounds: int

    @classmethod
    def of(cls, seconds: list[float]) -> "Taken":
        return cls(median=statistics.median(seconds), least=min(seconds), most=max(seconds), rounds=len(seconds))

    def told(self, flops: float, limit: float) -> dict[str, Any]:
        """As a row of a result: ``limit`` in FLOP/s is what ``share`` is of."""
        return {
            "ms": self.median * 1e3,
            "ms_least": self.least * 1e3,
            "ms_most": self.most * 1e3,
            "rounds": self.rounds,
            "tflops": flops / self.median / 1e12,
            "share": flops / self.median / limit,
        }


def timed(work: Callable[[], object], device: torch.device) -> Taken:
    """``work`` warmed and then timed, each run between two CUDA events; on a CPU once and cold."""
    if device.type != "cuda":
        begin = time.perf_counter()
        work()
        return Taken.of([time.perf_counter() - begin])
    first = _one(work)
    warm, rounds = (WARM, ROUNDS) if first < LONG else (1, 2)
    for _ in range(warm - 1):
        work()
    return Taken.of([_one(work) for _ in range(rounds)])


def _one(work: Callable[[], object]) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def settled(device: torch.device) -> float:
    """Now, in seconds, once everything asked of ``device`` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@contextmanager
def peak(device: torch.device) -> Generator[dict[str, float]]:
    """Gigabytes of GPU memory held at once while this lasts, under ``peak_gb``; nothing on a CPU."""
    found: dict[str, float] = {}
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    yield found
    if device.type == "cuda":
        found["peak_gb"] = torch.cuda.max_memory_allocated(device) / 1e9


def emptied(device: torch.device) -> None:
    """Give back what nobody holds any more."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()


def card(device: torch.device) -> dict[str, Any]:
    """What it is."""
    if device.type != "cuda":
        return {"name": "none: the CPU", "memory_gb": None}
    found = torch.cuda.get_device_properties(device)
    return {
        "name": found.name,
        "memory_gb": found.total_memory / 1e9,
        "capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        **_asked(device),
    }


def _asked(device: torch.device) -> dict[str, Any]:
    """Readings only; nothing is set."""
    index = device.index or 0
    command = [
        "nvidia-smi",
        f"--id={index}",
        f"--query-gpu={','.join(_ASKED.values())}",
        "--format=csv,noheader,nounits",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return {}
    values = [value.strip() for value in done.stdout.splitlines()[0].split(",")]
    return {name: _number(value) for name, value in zip(_ASKED, values, strict=True)}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


class Vitals:
    """Clocks, power and temperature while something runs: read every second beside it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._read: list[dict[str, Any]] = []
        self._over = threading.Event()

    def __enter__(self) -> "Vitals":
        if self._device.type == "cuda":
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        if self._device.type == "cuda":
            self._thread.join(timeout=15)

    def _watch(self) -> None:
        while not self._over.wait(INTERVAL):
            if found := _asked(self._device):
                self._read.append(found)

    def told(self) -> dict[str, Any]:
        """Lowest, median and highest of each reading."""
        found: dict[str, Any] = {"readings": len(self._read)}
        for name in ("sm_mhz", "memory_mhz", "watts", "celsius"):
            values = sorted(each[name] for each in self._read if isinstance(each.get(name), float))
            if values:
                found[name] = {"least": values[0], "median": statistics.median(values), "most": values[-1]}
        return found

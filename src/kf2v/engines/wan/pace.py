"""How far a host may run ahead of its device. Knows neither what is computed nor why it is called off."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch

#: seconds of a block from which on the next is not queued before it has ended, which costs a launch's few milliseconds
SLOW = 0.7


class Event(Protocol):
    """A mark in a device's queue of work."""

    def synchronize(self) -> None:
        """Return once the device has come this far."""
        ...


class Pace:
    """Keeps the host from running ahead of the device: work called off shall end soon, not when the queue is empty."""

    def __init__(
        self,
        device: torch.device,
        *,
        ahead: int = 1,
        mark: Callable[[], Event] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``ahead`` blocks may be queued while one runs, none while they take longer than SLOW: then no more than the
        one at work is waited for. ``mark`` puts an event into the queue; None has no queue to wait for.
        """
        self._ahead = self._usual = ahead
        self._mark = mark or (_cuda_mark(device) if device.type == "cuda" else None)
        self._marks: list[Event] = []
        self._clock = clock
        #: when the last block was seen to have ended
        self._ended: float | None = None

    def begin(self) -> None:
        """A pass begins; how slow blocks are is remembered."""
        self._marks.clear()
        self._ended = None

    def step(self) -> None:
        """Called after each block was queued; waits for the one ``ahead`` before it."""
        if self._mark is None:
            return
        self._marks.append(self._mark())
        while len(self._marks) > self._ahead:
            self._marks.pop(0).synchronize()
            now = self._clock()
            if self._ended is not None:
                self._ahead = 0 if now - self._ended > SLOW else self._usual
            self._ended = now


def _cuda_mark(device: torch.device) -> Callable[[], Event]:
    def mark() -> Event:
        event = torch.cuda.Event(blocking=True)  # waiting threads sleep instead of spinning
        event.record(torch.cuda.current_stream(device))
        return event

    return mark

"""A follower: a process that runs a take's transformers together with rank 0, on a device of its own.

Started by ``company`` and by nobody else. It has no pictures, no progress to tell and no log, and ends with rank 0.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import structlog

if __name__ == "__main__":  # it is rank 0 who is called off, before anything slow is imported
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)

import torch

from kf2v.engines.wan.checkpoint import open_bundle
from kf2v.engines.wan.company import Agreed, Denoise, Done, Failed, Left, Load, Meeting, given, met, tell, told
from kf2v.engines.wan.dit import Dit
from kf2v.engines.wan.experts import load_experts
from kf2v.engines.wan.parallel import Ulysses
from kf2v.engines.wan.weights import Weights


def follow(channel: Connection) -> None:
    """Do what is ordered through ``channel``, until it ends. Raises whatever goes wrong."""
    meeting = told(channel)
    assert isinstance(meeting, Meeting)
    device = torch.device(meeting.device)
    torch.set_num_threads(meeting.threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.zeros(1, device=device)  # a GPU that is full or broken is told before anybody waits for it to meet
    tell(channel, Done())
    ulysses = met(meeting)
    tell(channel, Done())
    models: dict[Weights, tuple[Dit, ...]] = {}
    while True:
        try:
            order = told(channel)
        except (EOFError, OSError):
            return
        match order:
            case Load(weights=weights, plan=plan, options=options):
                bundle = open_bundle(weights)
                models[weights] = load_experts(bundle, plan, options, device=device, ulysses=ulysses)
                tell(channel, Done())
            case Denoise(weights=weights):
                _denoise(models[weights], ulysses)
            case _:
                raise TypeError(f"{type(order).__name__} is no order")


def _denoise(experts: tuple[Dit, ...], ulysses: Ulysses) -> None:
    agreed, take = Agreed(ulysses), given([None])
    with contextlib.suppress(Left):
        take.denoised(experts, lambda *_: agreed.after(), lambda _: agreed.after())


def _end_with_rank_0() -> None:
    """The pipe on standard input ends when rank 0 does, or wants this process to."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os._exit(0)

    threading.Thread(target=wait, name="rank 0", daemon=True).start()


def _said(error: BaseException) -> str:
    """One line, with the place."""
    line, at = (str(error).splitlines() or [""])[0][:200], error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    place = "" if at is None else f" ({Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno})"
    return f"{type(error).__name__}: {line}{place}"


def main() -> None:
    _end_with_rank_0()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    channel = Connection(int(sys.argv[1]))
    try:
        follow(channel)
    except BaseException as error:  # noqa: BLE001  told to rank 0, who tells the owner
        try:
            tell(channel, Failed(said=_said(error)))
        finally:
            os._exit(1)  # not in order: kernels may wait for other GPUs for ever
    os._exit(0)


if __name__ == "__main__":
    main()

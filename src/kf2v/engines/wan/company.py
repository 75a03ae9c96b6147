"""Several processes make one video: rank 0 is the worker, followers do the same forward on other GPUs.

Knows no pictures. Orders go through a socket to each follower, what transformers are told through a broadcast, and
tokens and heads through ``parallel``. Encoders and VAE are rank 0's alone. Tried with gloo on CPUs; not run on GPUs
yet (nccl).

Nobody waits for the dead. A follower's standard input is a pipe that nobody writes to, and it ends when that ends, so
however rank 0 goes, followers go too. A follower that goes takes its sockets along, which whoever exchanges something
with it sees at once; after every block all processes exchange one number on their CPUs, because a kernel that waits
for a dead GPU sees nothing. That number also says whether somebody wants to stop: rank 0 hears the callbacks of a
take, and what those raise makes all of them leave at the same block, ready for the next take. Whatever else goes wrong
in one process cannot be told to the others, who already wait in the middle of a block: the company is over, and the
next one starts with new followers.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import structlog
import torch
import torch.distributed as dist
from torch import Tensor

from kf2v.engines.wan.dit import Dit
from kf2v.engines.wan.fault import CompanyBroken
from kf2v.engines.wan.parallel import Ulysses, answered
from kf2v.engines.wan.profiles import Options, Plan
from kf2v.engines.wan.sampler import OnBlock, OnStep
from kf2v.engines.wan.take import Take
from kf2v.engines.wan.weights import Weights

log = structlog.get_logger(__name__)

#: seconds that a process which is there may take for its part of a block; the first one compiles kernels
PATIENCE = 300.0
#: seconds between two looks at a follower, in which ``on_wait`` is not heard
LOOK = 0.05
#: seconds a follower gets for its last words once it is missed, and for its end
GRACE = 2.0
STDERR = 2

#: for everybody who meets here. The gloo sockets of one machine's processes are not for the network. Where a GPU
#: waits for a dead one, waiting ends instead of this process (the 2 of TORCH_NCCL_ASYNC_ERROR_HANDLING)
LOOPBACK = ("lo", "lo0")
NCCL = {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """What a follower has to know before anything else."""

    #: nobody else's, in a directory of this user's
    path: str
    rank: int
    size: int
    #: as torch spells it
    device: str
    #: that torch may use on a CPU
    threads: int
    #: seconds
    patience: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Order: have the transformers of these weights, placed by ``plan``. Answered by Done."""

    weights: Weights
    plan: Plan
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Denoise:
    """Order: do the take that is broadcast next, with these weights. Not answered."""

    weights: Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Answer: ready to meet, met, or loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The last words of a follower."""

    said: str


Message = Meeting | Load | Denoise | Done | Failed


class Left(Exception):
    """All processes left the take at the same block."""


class Company:
    """Rank 0's side: followers on the other devices, for any number of models and takes. One to a process."""

    def __init__(
        self,
        devices: Sequence[torch.device],
        *,
        on_wait: Callable[[], None] = lambda: None,
        patience: float = PATIENCE,
    ) -> None:
        """``devices`` by rank; the first is this process's. ``on_wait`` is called while followers start, for seconds.

        Raises CompanyBroken when one does not come, and what ``on_wait`` raises; then nobody stays behind.
        """
        if dist.is_initialized():
            raise CompanyBroken("this process already works together with others")
        #: by rank, as the devices
        self.devices = tuple(devices)
        folder = tempfile.TemporaryDirectory(prefix="kf2v-wan-", ignore_cleanup_errors=True)
        self._followers: list[_Follower] = []
        self._end = weakref.finalize(self, _end, self._followers, folder)
        meetings = [
            Meeting(
                path=str(Path(folder.name) / "meeting"),
                rank=rank,
                size=len(devices),
                device=str(device),
                threads=torch.get_num_threads(),
                patience=patience,
            )
            for rank, device in enumerate(devices)
        ]
        try:
            self._followers.extend(_Follower(meeting) for meeting in meetings[1:])
            self._expect_done(on_wait)
            self.ulysses = met(meetings[0])
            self._expect_done(on_wait)
        except BaseException:
            self.close()
            raise
        log.info("several GPUs work together", devices=[str(device) for device in devices], followers=self.pids)

    @property
    def over(self) -> bool:
        """Whether it was closed, or broke: nothing can be done with it any more."""
        return not self._end.alive

    @property
    def pids(self) -> list[int]:
        """The followers' process ids."""
        return [follower.pid for follower in self._followers]

    def close(self) -> None:
        """End all followers, and with them whatever they hold. Closing twice is not an error."""
        self._end()

    def load(self, weights: Weights, plan: Plan, options: Options) -> Others:
        """Let followers load their transformers of ``weights``, while this process loads its own."""
        self._order(Load(weights=weights, plan=plan, options=options))
        return Others(self, weights)

    def _order(self, message: Message) -> None:
        if self.over:
            raise CompanyBroken("the other processes of this video have been ended")
        try:
            for follower in self._followers:
                follower.tell(message)
        except OSError as error:
            raise self._broken(error) from error

    def _expect_done(self, on_wait: Callable[[], None]) -> None:
        """Wait for one answer of each. Raises CompanyBroken, and what ``on_wait`` raises."""
        for follower in self._followers:
            while not follower.has_spoken(LOOK):
                on_wait()
            if not follower.said_done():
                raise self._broken(None)

    def _denoised(
        self, weights: Weights, take: Take, experts: Sequence[Dit], on_step: OnStep, on_block: OnBlock
    ) -> Tensor:
        self._order(Denoise(weights=weights))
        agreed = Agreed(self.ulysses)
        try:
            given([take.on_host()])
            return take.denoised(
                experts,
                lambda index, clean: agreed.after(lambda: on_step(index, clean)),
                lambda done: agreed.after(lambda: on_block(done)),
            )
        except Left:
            assert agreed.reason is not None
            raise agreed.reason from None
        except CompanyBroken as error:
            raise self._broken(error) from error
        except BaseException:
            self.close()
            raise

    def _broken(self, error: Exception | None) -> CompanyBroken:
        """What to say of a follower that is missed; the company is over."""
        until = time.monotonic() + GRACE
        words = [follower.last_words(until) for follower in self._followers]
        self.close()
        said = [f"{follower.device}: {word}" for follower, word in zip(self._followers, words, strict=True) if word]
        return CompanyBroken("; ".join(said) or f"no answer within the time given ({error})")


@dataclass(frozen=True, slots=True)
class Others:
    """The followers' copies of one model."""

    company: Company
    weights: Weights

    @property
    def ulysses(self) -> Ulysses:
        return self.company.ulysses

    def loaded(self, on_wait: Callable[[], None]) -> None:
        """Wait for them to be loaded. Raises CompanyBroken, and what ``on_wait`` raises."""
        self.company._expect_done(on_wait)

    def denoised(self, take: Take, experts: Sequence[Dit], on_step: OnStep, on_block: OnBlock) -> Tensor:
        """As ``take.denoised(experts, …)``, together. Raises CompanyBroken, and what callbacks raise."""
        return self.company._denoised(self.weights, take, experts, on_step, on_block)


class Agreed:
    """Callbacks after each of which all processes go on, or none."""

    def __init__(self, ulysses: Ulysses) -> None:
        self._ulysses = ulysses
        #: why this process wants to leave
        self.reason: BaseException | None = None

    def after(self, told: Callable[[], None] = lambda: None) -> None:
        """Raises Left, in all processes, if ``told`` raised in one of them."""
        try:
            told()
        except BaseException as error:  # noqa: BLE001  raised again once everybody has left
            self.reason = error
        if self._ulysses.any(self.reason is not None, "cpu"):
            raise Left


def met(meeting: Meeting) -> Ulysses:
    """Meet the others: numbers on CPUs go by gloo, those on GPUs by nccl. Raises CompanyBroken."""
    device = torch.device(meeting.device)
    on_gpu = device.type == "cuda"
    with _environment(), answered():
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            init_method=f"file://{meeting.path}",
            rank=meeting.rank,
            world_size=meeting.size,
            timeout=timedelta(seconds=meeting.patience),
            device_id=device if on_gpu else None,
        )
    return Ulysses()


def given(take: list[Take | None] | list[Take]) -> Take:
    """The take of rank 0, who puts it into the list, in every process. Raises CompanyBroken."""
    with answered():
        dist.broadcast_object_list(take, src=0, device=torch.device("cpu"))
    (found,) = take
    assert found is not None
    return found


def told(channel: Connection) -> Message:
    """The next message. Raises EOFError or OSError when the other end is gone."""
    return pickle.loads(channel.recv_bytes())  # noqa: S301  from the process that started this one, or that it started


def tell(channel: Connection, message: Message) -> None:
    """Raises OSError when the other end is gone."""
    channel.send_bytes(pickle.dumps(message))  # not ``send``, which would put tensors into shared memory


class _Follower:
    """Rank 0's end of a follower."""

    def __init__(self, meeting: Meeting) -> None:
        self.device = meeting.device
        ours, theirs = socket.socketpair()
        self._channel = Connection(ours.detach())
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "kf2v.engines.wan.follower", str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=STDERR,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        with contextlib.suppress(OSError):  # its end will be noticed where its answer is missed
            self.tell(meeting)

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, message: Message) -> None:
        tell(self._channel, message)

    def has_spoken(self, seconds: float) -> bool:
        """Whether there is a word, or an end, to be heard within ``seconds``."""
        return self._channel.poll(seconds)

    def said_done(self) -> bool:
        """Whether the next word is Done; if not, ``last_words`` knows what it was."""
        self._last = self._heard()
        return isinstance(self._last, Done)

    _last: Message | None = None

    def last_words(self, until: float) -> str:
        """What this follower died of, empty if it lives at ``until`` (of the monotonic clock)."""
        if isinstance(self._last, Failed):
            return self._last.said
        while self.has_spoken(max(0.0, until - time.monotonic())):
            match self._heard():
                case Failed(said=said):
                    return said
                case None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._process.wait(GRACE)
                    return f"its process ended with status {self._process.returncode}"
                case _:
                    pass
        return ""

    def end(self) -> None:
        """It will be gone when this returns."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._channel.close()
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _heard(self) -> Message | None:
        """None for the end."""
        try:
            return told(self._channel)
        except (EOFError, OSError):
            return None


def _end(followers: list[_Follower], folder: tempfile.TemporaryDirectory[str]) -> None:
    for follower in followers:
        follower.end()
    if dist.is_initialized():
        _part()
    folder.cleanup()


def _part() -> None:
    """Leave a group of which the others are gone already."""
    if "nccl" in str(dist.get_backend_config()):
        # kernels that wait for the others end only so; parting in peace would wait for the others as well
        dist.distributed_c10d._abort_process_group()
    else:
        dist.destroy_process_group()


@contextlib.contextmanager
def _environment() -> Generator[None]:
    """What torch.distributed can only be told through the environment; what the owner says there goes first."""
    wanted = dict(NCCL)
    for _, name in socket.if_nameindex():
        if name in LOOPBACK:
            wanted["GLOO_SOCKET_IFNAME"] = name
    added = wanted.keys() - os.environ.keys()
    os.environ.update({name: wanted[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)

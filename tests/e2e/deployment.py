"""One data directory and one port, on which server processes come and go: what an operator has, and what crashes.

Finds worker processes where Linux shows them, in ``/proc``.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from service import PATIENCE, Service, environment

KEY = "sk-test-of-kf2v"
SABOTAGE = Path(__file__).parent / "sabotage"

needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="workers are found in /proc")


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker process. Equal to no other that ever was."""

    name: str
    pid: int

    def send(self, number: signal.Signals) -> bool:
        """Signal it, and surely no other process that was given its number; False if it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if self.name not in _arguments(self.pid):
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True


class Deployment:
    """Server processes, one after the other, on the same directory and port."""

    def __init__(self, home: Path, *, workers: int, data_dir: Path | None = None, **settings: str) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.data_dir = data_dir or home / "kf2v"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        #: what all servers and workers wrote to stderr so far, line by line
        self.log: list[str] = []
        self._workers = workers
        self._variables = {
            "KF2V_API_KEY": KEY,
            "KF2V_ENGINE": "still",
            **{f"KF2V_{name.upper()}": value for name, value in settings.items()},
        }
        self._readers: list[threading.Thread] = []
        self._deaf = False
        self._process: subprocess.Popen[str] | None = None

    def sabotage(self) -> None:
        """From the next start on there is the engine ``actor``, see ``sabotage/sitecustomize.py``."""
        self._variables |= {"PYTHONPATH": str(SABOTAGE), "KF2V_ENGINE": "actor"}

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process

    def environment(self) -> dict[str, str]:
        return environment(self.home, **self._variables)

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run ``kf2v`` with ``arguments`` to its end."""
        return subprocess.run(
            [KF2V, *arguments],
            env=self.environment() | {"KF2V_DATA_DIR": str(self.data_dir)},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def arguments(self) -> Sequence[str]:
        """The command line of a server."""
        at = ("--host", "127.0.0.1", "--port", str(self.port))
        return (KF2V, "serve", *at, "--data-dir", str(self.data_dir), "--workers", str(self._workers))

    def launch(self) -> threading.Event:
        """Start a server; the event tells that it has said ``ready``, or ended."""
        self._process = subprocess.Popen(
            self.arguments(),
            env=self.environment(),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        ready = threading.Event()
        reader = threading.Thread(target=self._follow, args=(self._process, ready), daemon=True)
        reader.start()
        self._readers.append(reader)
        return ready

    def start(self) -> Service:
        """A server that is ready."""
        ready = self.launch()
        assert ready.wait(PATIENCE), "not ready in time\n" + self.log_tail()
        assert self.process.poll() is None, "ended instead of getting ready\n" + self.log_tail()
        return self.service()

    def service(self) -> Service:
        """The server as clients see it, whichever process it is."""
        return Service(url=self.url, api_key=KEY, data_dir=self.data_dir, process=self.process, log=self.log)

    def kill(self) -> None:
        """End the server as a crash would."""
        self.process.kill()
        self.process.wait()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask the server to leave; its exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def workers(self) -> list[Worker]:
        """The worker processes of this data directory that live, whichever server started them."""
        numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        living = ((number, _arguments(number)) for number in numbers)
        return [
            Worker(name=arguments[arguments.index("--name") + 1], pid=number)
            for number, arguments in living
            if {"worker", "--name"} < set(arguments) and str(self.data_dir) in " ".join(arguments)
        ]

    def stop_reading(self) -> None:
        """Close the pipe that the server writes to, as of its next line."""
        self._deaf = True

    def none_left(self) -> bool:
        """Whether every process that any of the servers ever started ends, now that no server runs.

        All of them hold the other end of what the readers read.
        """
        deadline = time.monotonic() + PATIENCE
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        return not any(reader.is_alive() for reader in self._readers) and not self.workers()

    def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        for worker in self.workers():
            worker.send(signal.SIGKILL)

    def log_tail(self) -> str:
        return "\n".join(self.log[-60:])

    def complaints(self) -> list[str]:
        """What nobody should have had to write."""
        return [line for line in self.log if "Traceback (most recent call last)" in line or '"level": "error"' in line]

    def _follow(self, process: "subprocess.Popen[str]", ready: threading.Event) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                self.log.append(line.rstrip("\n"))
                if line.startswith("ready http://"):
                    ready.set()
                if self._deaf:
                    break
        ready.set()


KF2V = str(Path(sys.executable).parent / "kf2v")


@contextmanager
def deployed(home: Path, *, workers: int, data_dir: Path | None = None, **settings: str) -> Iterator[Deployment]:
    """A ``Deployment``, nothing running yet; nothing runs any more when the block has ended."""
    deployment = Deployment(home, workers=workers, data_dir=data_dir, **settings)
    try:
        yield deployment
    finally:
        deployment.close()


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


def until(fact: str, true: Callable[[], object], within: float = PATIENCE) -> None:
    """Wait until ``true()`` is, which in words is ``fact``."""
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, f"not within {within:g} s: {fact}"
        time.sleep(0.02)


def _arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backroom import PATIENCE

TETHERED = """
import sys, time
from kf2v.worker.tether import tether
tether()
print("tied", flush=True)
time.sleep(3600)
"""

#: a server with one tethered worker, which holds a lock as long as it lives
SERVER = """
import asyncio, sys
from kf2v.worker.pools.process import ProcessPool

WORKER = '''
import fcntl, os, sys, time
from kf2v.worker.tether import tether
tether()
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print(os.getpid(), file=file, flush=True)
time.sleep(3600)
'''

async def serve():
    async def note(name): ...
    await ProcessPool([sys.executable, "-c", WORKER, sys.argv[1]], 1, note).start()
    await asyncio.sleep(3600)

asyncio.run(serve())
"""


def test_a_worker_ends_when_its_line_is_closed() -> None:
    with subprocess.Popen([sys.executable, "-c", TETHERED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"tied\n"
        assert worker.poll() is None
        worker.stdin.close()
        assert worker.wait(PATIENCE) == 1


def test_a_worker_is_given_its_cue_on_its_line() -> None:
    waiting = TETHERED.replace("tether()", "cue = tether()").replace("time.sleep(3600)", 'cue.wait(); print("begun")')
    with subprocess.Popen([sys.executable, "-c", waiting], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"tied\n"
        worker.stdin.write(b"\n")
        worker.stdin.flush()
        assert worker.stdout.read() == b"begun\n"
        assert worker.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    "frozen",
    [False, pytest.param(True, marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tell it"))],
)
def test_a_worker_does_not_outlive_a_server_that_was_killed(tmp_path: Path, frozen: bool) -> None:
    held = tmp_path / "held"
    held.touch()
    deadline = time.monotonic() + PATIENCE
    with subprocess.Popen([sys.executable, "-c", SERVER, str(held)]) as server:
        try:
            while not held.read_text():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            if frozen:
                os.kill(int(held.read_text()), signal.SIGSTOP)
        finally:
            server.kill()
    with held.open() as file:
        while not _free(file.fileno()):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def _free(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

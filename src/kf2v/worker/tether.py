"""A worker does not outlive its server: it ends when the pipe between them does, and begins when something comes."""

import ctypes
import os
import signal
import sys
import threading

#: of Linux's prctl(2)
_PR_SET_PDEATHSIG = 1


def tether(fd: int = 0, *, status: int = 1) -> threading.Event:
    """The cue: set when anything arrives on ``fd``.

    End this process at once, with ``status``, when the other end of ``fd`` is closed, by death or by hand.

    At once is meant: nothing is settled or handed back, for nobody is there to hear it. Linux is asked as well to
    kill this process when the thread that started it ends, because a stopped one cannot see a pipe end.
    """

    cue = threading.Event()

    def wait() -> None:
        while os.read(fd, 1024):
            cue.set()
        os._exit(status)

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    threading.Thread(target=wait, name="tether", daemon=True).start()
    return cue

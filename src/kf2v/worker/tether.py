"""A worker does not outlive its server: it ends when the pipe between them does."""

import os
import threading


def tether(fd: int = 0, *, status: int = 1) -> None:
    """End this process at once, with ``status``, when the other end of ``fd`` is closed, by death or by hand.

    At once is meant: nothing is settled or handed back, for nobody is there to hear it.
    """

    def wait() -> None:
        while os.read(fd, 1024):
            pass
        os._exit(status)

    threading.Thread(target=wait, name="tether", daemon=True).start()

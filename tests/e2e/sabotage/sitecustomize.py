"""Found on PYTHONPATH, this gives every process of a server one engine more, made to misbehave."""

import os
import signal
import threading
import time
from pathlib import Path

from kf2v.assembly.engines import ENGINES
from kf2v.engines import Scene, Watch
from kf2v.engines.still import Still
from kf2v.video import Clip


class Actor:
    """Plays what the prompt says: one word, then whatever that word needs.

    ``crash``: the process dies of a signal. ``hang``: nothing is heard of it any more, and no call gets through;
    ``hang FILE`` makes that file first.
    ``wait FILE``: works and reports until there is such a file. Anything else: what ``Still`` does.
    """

    name = "actor"

    def generate(self, scene: Scene, watch: Watch) -> Clip:
        word, _, rest = scene.prompt.partition(" ")
        if word == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif word == "hang":
            if rest:
                Path(rest).touch()
            threading.Event().wait()
        elif word == "wait":
            while not Path(rest).exists():
                watch.report("render", 0.5)
                time.sleep(0.01)
        return Still().generate(scene, watch)


ENGINES["actor"] = lambda settings, seat: Actor()

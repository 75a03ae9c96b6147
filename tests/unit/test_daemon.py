"""Work that nobody waits for at the end."""

import subprocess
import sys
import threading

import pytest

from kf2v import daemon

HANGING = "import threading; from kf2v import daemon; daemon.begin(threading.Event().wait, name='hangs')"


def test_what_the_work_returns_or_raises_reaches_who_waits():
    def leaves():
        raise SystemExit(3)

    assert daemon.begin(lambda: threading.current_thread().name, name="here").result(10) == "here"
    with pytest.raises(SystemExit):
        daemon.begin(leaves, name="leaves").result(10)


def test_work_that_hangs_keeps_no_process_from_ending():
    subprocess.run([sys.executable, "-c", HANGING], timeout=30, check=True)

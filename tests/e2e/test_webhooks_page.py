"""The receiver in ``docs/howto/webhooks.md`` does what the page says."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from kf2v.net.guard import AllowedHosts
from kf2v.net.post import NotPosted, Poster
from kf2v.notify.signature import new_secret, signed
from service import PATIENCE

PAGE = Path(__file__).parents[2] / "docs/howto/webhooks.md"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_the_receiver_of_the_page_takes_what_is_genuine_once_and_nothing_else(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "receiver.py").write_text(program)
    secret, port = new_secret(), free_port()
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "receiver.py")],
        env={**os.environ, "WEBHOOK_SECRET": secret, "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    post = Poster(allowed=AllowedHosts({"127.0.0.1"}), timeout=PATIENCE).post
    body = b'{"id": "e-1", "type": "t", "data": {"task_id": "a"}}'

    def send(signed_with: str) -> int:
        now = time.time_ns() // 1_000_000
        headers = signed(body, event_id="e-1", secret=signed_with, now=now)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return post(f"http://127.0.0.1:{port}/", body, headers).status
            except NotPosted:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    try:
        assert [send(secret), send(secret), send(new_secret())] == [204, 204, 400]
    finally:
        process.terminate()
        out, _ = process.communicate(timeout=PATIENCE)
    assert out == "t {'task_id': 'a'}\n"

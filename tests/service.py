"""A real server process as its users meet it: a command, an environment, one line on stderr.

Knows nothing of the inside: whatever these tests see, a client can see.
"""

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CREATE = "/api/v1/services/aigc/image2video/video-synthesis"
CREATE_2X = "/api/v1/services/aigc/video-generation/video-synthesis"
FINAL = {"SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN"}

#: how long a server may take to accept requests, and to leave, on a busy machine
PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back."""

    status: int
    #: names in lower case
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running server."""

    #: ``http://127.0.0.1:<port>``
    url: str
    api_key: str
    data_dir: Path
    process: subprocess.Popen[str]
    #: what it wrote to stderr so far, line by line
    log: list[str]

    @property
    def base_url(self) -> str:
        """What an SDK user sets."""
        return f"{self.url}/api/v1"

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = "",
    ) -> Reply:
        """One exchange on its own connection. ``path`` may be a full URL of this server.

        ``key`` "" is the server's own key, None sends no Authorization at all. Redirects are not followed.
        """
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {key or self.api_key}"
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            connection.request(method, path.removeprefix(self.url), body=body, headers=sent)
            answer = connection.getresponse()
            return Reply(
                status=answer.status,
                headers={name.lower(): value for name, value in answer.getheaders()},
                body=answer.read(),
            )
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Reply:
        return self.request("GET", path, **options)

    def create(self, body: Any, *, path: str = CREATE, headers: Mapping[str, str] | None = None) -> Reply:
        """POST a task; ``body`` is bytes, text or something to make JSON of."""
        if not isinstance(body, bytes):
            body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        usual = {"Content-Type": "application/json", "X-DashScope-Async": "enable"}
        return self.request("POST", path, body=body, headers={**usual, **(headers or {})})

    def task(self, task_id: str) -> Any:
        """The task as it reads now."""
        return self.get(f"/api/v1/tasks/{task_id}").json

    def finish(self, task_id: str, *, within: float = PATIENCE) -> Any:
        """The task once it has ended."""
        deadline = time.monotonic() + within
        while (task := self.task(task_id))["output"]["task_status"] not in FINAL:
            assert time.monotonic() < deadline, f"not ended within {within:.0f} s: {task}\n{self.log_tail()}"
            time.sleep(0.05)
        return task

    def log_tail(self) -> str:
        return "\n".join(self.log[-40:])


def environment(home: Path, **settings: str) -> dict[str, str]:
    """An environment with ``settings``, nothing of the caller's own configuration and no proxies."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "LANG": "C.UTF-8",
        "NO_PROXY": "*",
        **settings,
    }


@contextmanager
def serving(
    home: Path, *, workers: int, api_key: str = "sk-test-of-kf2v", pythonpath: Path | None = None, **settings: str
) -> Iterator[Service]:
    """Run ``kf2v serve`` on a free port until the block ends.

    ``settings`` become ``KF2V_…`` variables; a ``sitecustomize`` in ``pythonpath`` is run by every process. Raises
    AssertionError if the server does not get ready, does not leave on SIGTERM, or wrote a traceback meanwhile.
    """
    home.mkdir(parents=True, exist_ok=True)
    variables = {
        "KF2V_API_KEY": api_key,
        "KF2V_ENGINE": "still",
        "KF2V_FETCH_ALLOW_HOSTS": "127.0.0.1,localhost",
        **{f"KF2V_{name.upper()}": value for name, value in settings.items()},
        **({} if pythonpath is None else {"PYTHONPATH": str(pythonpath)}),
    }
    command = [
        str(Path(sys.executable).parent / "kf2v"),
        *("serve", "--host", "127.0.0.1", "--port", "0", "--data-dir", str(home / "kf2v"), "--workers", str(workers)),
    ]
    process = subprocess.Popen(
        command,
        env=environment(home, **variables),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    log: list[str] = []
    ready = threading.Event()
    reader = threading.Thread(target=_follow, args=(process, log, ready), daemon=True)
    reader.start()
    try:
        ready.wait(PATIENCE)
        url = next((line.split()[1] for line in log if line.startswith("ready http://")), None)
        assert url is not None, "the server did not get ready:\n" + "\n".join(log[-40:])
        yield Service(url=url.rstrip("/"), api_key=api_key, data_dir=home / "kf2v", process=process, log=log)
    finally:
        left = _stop(process)
        reader.join(PATIENCE)
        assert process.stderr is not None
        process.stderr.close()
    assert left, "the server did not leave on SIGTERM:\n" + "\n".join(log[-40:])
    complaints = [number for number, line in enumerate(log) if "Traceback (most recent call last)" in line]
    assert not complaints, "the server wrote a traceback:\n" + "\n".join(log[complaints[0] : complaints[0] + 40])


def _follow(process: subprocess.Popen[str], log: list[str], ready: threading.Event) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        log.append(line.rstrip("\n"))
        if line.startswith("ready http://"):
            ready.set()
    ready.set()  # the end: whoever waits for it need not wait any longer


def _stop(process: subprocess.Popen[str]) -> bool:
    """Ask the process to leave; False if it had to be killed."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True

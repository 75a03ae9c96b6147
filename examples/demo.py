"""A real video through the real API: `make demo`.

Starts the service on a free loopback port, sends the bundled pair of frames through the official ``dashscope`` SDK as
any program written for Model Studio would, follows the task, downloads the video and stops the service.
"""
# ruff: noqa: T201  it talks to whoever runs it

import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
PAIR = ROOT / "examples" / "pair"
HOME = ROOT / ".demo"
VIDEO = HOME / "video.mp4"

MODEL = "wan2.2-kf2v-flash"
PROMPT = "The camera moves slowly through the scene, natural light, photographic."
#: settings of the caller that the demo's own service keeps
KEPT = ("KF2V_ENGINE", "KF2V_LOG_LEVEL", "KF2V_WATERMARK_TEXT")
#: seconds that the service may take to start and to stop, and the video to be made, on a slow machine
START, STOP, MAKE = 60, 30, 900


class DemoFailed(Exception):
    """What went wrong, as one sentence."""


@contextmanager
def service(api_key: str) -> Iterator[str]:
    """A running service; yields its ``http://host:port`` and stops it at the end, whatever happens in between."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KF2V_") or name in KEPT}
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "kf2v", "serve"),
            *("--host", "127.0.0.1", "--port", "0", "--workers", "1", "--data-dir", str(HOME / "data")),
        ],
        env=environment | {"KF2V_API_KEY": api_key},
        cwd=HOME,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for us; the service is told by us
    )
    try:
        yield _ready(process)
    except BaseException:
        with suppress(DemoFailed):  # the first failure is the one to tell
            _stop(process)
        raise
    _stop(process)


def _ready(process: subprocess.Popen[str]) -> str:
    """The address the service announces. Raises DemoFailed with its last words if it does not."""
    said: deque[str] = deque(maxlen=20)
    address: list[str] = []
    announced = threading.Event()

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:  # to the end, or the service would block when the pipe is full
            said.append(line)
            if line.startswith("ready http") and not address:
                address.append(line.split()[1])
                announced.set()
        announced.set()

    threading.Thread(target=listen, daemon=True).start()
    announced.wait(START)
    if not address:
        how = f"gave up with exit code {process.poll()}" if process.poll() is not None else f"said nothing in {START} s"
        raise DemoFailed(f"the service did not come up: it {how}\n" + "".join(said).rstrip())
    return address[0]


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        code = process.wait(STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise DemoFailed(f"the service did not stop within {STOP} s and was killed") from None
    except BaseException:  # interrupted again: no more patience
        process.kill()
        raise
    if code != 0:
        raise DemoFailed(f"the service ended with exit code {code}")


def order(base_url: str, api_key: str) -> Any:
    """Create the task and follow it to its end; returns the SDK's last answer."""
    import dashscope
    from dashscope import VideoSynthesis

    dashscope.base_http_api_url = f"{base_url}/api/v1"
    dashscope.api_key = api_key
    began = time.monotonic()
    answer: Any = VideoSynthesis.async_call(
        model=MODEL,
        prompt=PROMPT,
        first_frame_url=(PAIR / "first.jpg").as_uri(),
        last_frame_url=(PAIR / "last.jpg").as_uri(),
        resolution="720P",
        seed=7,
    )
    _accepted(answer)
    print(f"task {answer.output.task_id}")
    state = ""
    while True:
        if answer.output.task_status != state:
            state = answer.output.task_status
            _show(f"{time.monotonic() - began:5.1f} s  {state}", keep=True)
        if state in ("SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN"):
            return answer
        if time.monotonic() - began > MAKE:
            raise DemoFailed(f"the video was not made within {MAKE} s")
        time.sleep(0.25)
        _show(f"{time.monotonic() - began:5.1f} s  {state} …", keep=False)
        answer = VideoSynthesis.fetch(answer)
        _accepted(answer)


def _accepted(answer: Any) -> None:
    if answer.status_code != 200:
        raise DemoFailed(f"{answer.code}: {answer.message} (request {answer.request_id})")


def _show(line: str, *, keep: bool) -> None:
    """A line that is overwritten by the next unless it is to ``keep``; elsewhere than on a terminal only those show."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{line}", end="\n" if keep else "", flush=True)
    elif keep:
        print(line, flush=True)


def download(url: str) -> None:
    """Fetch the video to ``VIDEO``; loopback needs no proxy."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    part = VIDEO.with_suffix(".part")
    with direct.open(url, timeout=60) as answer, part.open("wb") as file:
        shutil.copyfileobj(answer, file)
    part.replace(VIDEO)


def describe(seconds: float) -> None:
    """What was made."""
    from kf2v.video import mp4

    facts = mp4.facts(VIDEO)
    print(f"\n{VIDEO}")
    print(f"  {facts.width}x{facts.height} pixels, {facts.frames} frames at {facts.fps:g} per second")
    print(f"  {facts.duration:.3f} s, {VIDEO.stat().st_size / 1e6:.2f} MB, {facts.codec} {facts.profile}")
    print(f"  made in {seconds:.1f} s, from the order to the file")


def main() -> None:
    for name in ("first.jpg", "last.jpg"):
        if not (PAIR / name).is_file():
            raise DemoFailed(f"{PAIR / name} is missing")
    HOME.mkdir(exist_ok=True)
    # the SDK would send even loopback calls to a proxy
    spared = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, (spared, "127.0.0.1,localhost")))
    key = f"sk-{secrets.token_hex(16)}"
    began = time.monotonic()
    with service(key) as base_url:
        print(f"service on {base_url}, up after {time.monotonic() - began:.1f} s")
        ordered = time.monotonic()
        answer = order(base_url, key)
        if answer.output.task_status != "SUCCEEDED":
            raise DemoFailed(f"{answer.output.get('code')}: {answer.output.get('message')}")
        download(answer.output.video_url)
        made_in = time.monotonic() - ordered
    describe(made_in)
    print(f"  {time.monotonic() - began:.1f} s in all, service started and stopped included")


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    del frame
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)
    try:
        main()
    except DemoFailed as failed:
        sys.exit(f"\ndemo: {failed}")
    except KeyboardInterrupt:
        sys.exit("\ndemo: interrupted, the service is stopped")

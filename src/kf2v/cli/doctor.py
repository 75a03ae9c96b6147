"""``kf2v doctor``: whether this machine can run the service, and what to do where it cannot."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kf2v.cli.config import DataDir, read_settings
from kf2v.cli.delivery import AsJson
from kf2v.cli.exits import Exit
from kf2v.cli.terminal import give, give_json

if TYPE_CHECKING:
    from kf2v.settings import Settings

#: seconds that a language model gets to say a word; loading it may take longer than that
PROBE = 30.0


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check saw."""

    name: str
    state: State
    detail: str
    #: what to do; empty where nothing is to be done
    fix: str = ""


def doctor(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Check what the service needs, each with a fix. Exits with 1 if anything fails."""
    settings = read_settings(data_dir=data_dir)
    findings = [check(settings) for check in CHECKS]
    failed = any(finding.state is State.FAIL for finding in findings)
    if as_json:
        give_json({"ok": not failed, "checks": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            give(f"{finding.state:<4}  {finding.name:<9}  {finding.detail}")
            if finding.fix:
                give(f"{'':<15}  fix: {finding.fix}")
    if failed:
        raise typer.Exit(Exit.GENERAL)


def python(settings: Settings) -> Finding:
    """Which Python this is; with one that is too old not even this would run."""
    del settings
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(name="python", state=State.OK, detail=f"{version} at {sys.executable}")


def sqlite(settings: Settings) -> Finding:
    """Whether the bundled SQLite is free of the bug that corrupts files in WAL mode."""
    del settings
    from importlib.metadata import version

    from kf2v.store.sqlite.connections import SqliteTooOld, check_version

    bundled = ".".join(version("apsw").split(".")[:3])
    try:
        check_version(bundled)
    except SqliteTooOld as error:
        return Finding(name="sqlite", state=State.FAIL, detail=str(error), fix="pip install --upgrade apsw")
    return Finding(name="sqlite", state=State.OK, detail=bundled)


def codec(settings: Settings) -> Finding:
    """Whether a video can be encoded, by encoding one."""
    del settings
    import tempfile

    try:
        import numpy as np

        from kf2v.video import Clip, Size, mp4

        frame = np.zeros((64, 64, 3), dtype=np.uint8)
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "video.mp4"
            mp4.write(path, Clip(size=Size(width=64, height=64), fps=30, count=2, frames=iter([frame, frame])))
            facts = mp4.facts(path)
    except Exception as error:  # noqa: BLE001  whatever keeps it from working is the finding
        fix = "reinstall PyAV with its bundled codecs: pip install --force-reinstall av"
        return Finding(name="codec", state=State.FAIL, detail=f"cannot encode H.264: {error}", fix=fix)
    return Finding(name="codec", state=State.OK, detail=f"{facts.codec} {facts.profile}, {facts.pixel_format}")


def mark(settings: Settings) -> Finding:
    """Whether the watermark can be drawn."""
    try:
        import numpy as np

        from kf2v.video import Size
        from kf2v.video.watermark import Watermark

        blank = np.zeros((480, 832, 3), dtype=np.uint8)
        drawn = Watermark(settings.watermark_text, Size(width=832, height=480)).apply(blank)
        seen = bool((drawn != blank).any())
    except Exception as error:  # noqa: BLE001  whatever keeps it from working is the finding
        return Finding(name="mark", state=State.FAIL, detail=str(error), fix="reinstall kf2v: a file is missing")
    state = State.OK if seen else State.FAIL
    return Finding(name="mark", state=state, detail=f"{settings.watermark_text!r} can{'' if seen else 'not'} be drawn")


def disk(settings: Settings) -> Finding:
    """Whether there is room for videos."""
    import shutil

    free = shutil.disk_usage(_existing(settings.data_dir)).free // 2**20
    detail = f"{free} MB free for {settings.data_dir}"
    if free < settings.min_free_mb:
        fix = f"free some space: below {settings.min_free_mb} MB no task is accepted (KF2V_MIN_FREE_MB)"
        return Finding(name="disk", state=State.FAIL, detail=detail, fix=fix)
    if free < 4 * settings.min_free_mb:
        return Finding(name="disk", state=State.WARN, detail=detail, fix="a video takes 1 to 5 MB for 24 hours")
    return Finding(name="disk", state=State.OK, detail=detail)


def data(settings: Settings) -> Finding:
    """Whether the data directory can be used, and whether a server uses it."""
    place, existing = settings.data_dir, _existing(settings.data_dir)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        fix = "choose another with --data-dir or KF2V_DATA_DIR"
        return Finding(name="data", state=State.FAIL, detail=f"{existing} cannot be written", fix=fix)
    note = ", a server is running on it" if in_use(place) else "" if place.exists() else " (made at the first start)"
    return Finding(name="data", state=State.OK, detail=f"{place}{note}")


def port(settings: Settings) -> Finding:
    """Whether the address is free, or taken by our own server."""
    import socket

    address = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            if in_use(settings.data_dir):
                return Finding(name="port", state=State.OK, detail=f"{address} is taken, a server is running")
            detail = f"{address} cannot be had: {error.strerror or error}"
            return Finding(name="port", state=State.FAIL, detail=detail, fix="kf2v serve --port 0 takes a free one")
    return Finding(name="port", state=State.OK, detail=f"{address} is free")


def proxy(settings: Settings, environment: Mapping[str, str] = os.environ) -> Finding:
    """Whether SDKs would send calls for this machine to a proxy."""
    del settings
    proxies = [name for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy") if environment.get(name)]
    spared = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    names = {name.strip() for name in spared.split(",")}
    if not proxies:
        return Finding(name="proxy", state=State.OK, detail="none for plain HTTP")
    if "*" in names or {"127.0.0.1", "localhost"} <= names:
        return Finding(name="proxy", state=State.OK, detail=f"{proxies[0]} is set and NO_PROXY spares this machine")
    return Finding(
        name="proxy",
        state=State.WARN,
        detail=f"{proxies[0]} is set: SDKs would ask the proxy for this machine's service",
        fix="export NO_PROXY=127.0.0.1,localhost (kf2v env prints it)",
    )


def clock(settings: Settings) -> Finding:
    """Whether the clock can be right: links and policies end by it."""
    del settings
    import time
    from datetime import UTC, datetime

    now = time.time()
    shown = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC"
    installed = Path(__file__).stat().st_mtime
    if now + 86_400 < installed:
        fix = "set the clock: links and uploads end by it"
        return Finding(name="clock", state=State.FAIL, detail=f"{shown} is before kf2v was installed", fix=fix)
    return Finding(name="clock", state=State.OK, detail=shown)


def engine(settings: Settings) -> Finding:
    """Whether the engine of these settings can work here, and what does instead where it cannot."""
    from kf2v.assembly.engines import known_engines, readiness, shortcomings

    if strangers := sorted({settings.engine, *settings.engines} - known_engines()):
        fix = f"set KF2V_ENGINE and KF2V_ROUTES to some of {', '.join(sorted(known_engines()))}"
        return Finding(
            name="engine", state=State.FAIL, detail=f"there is no {', '.join(map(repr, strangers))}", fix=fix
        )
    if settings.routes:
        return _routed(settings)
    alone = settings.fallback_engine in ("", settings.engine)
    lacking = readiness(settings)
    if lacking is None:
        absent = shortcomings(settings)
        if not absent:
            return Finding(name="engine", state=State.OK, detail=f"{settings.engine} can work")
        reasons = " ".join(dict.fromkeys(each.reason for each in absent.values()))
        instead = "tasks for it fail" if alone else f"{settings.fallback_engine} makes those"
        detail = f"{settings.engine} can work, but not for {', '.join(absent)}, and {instead}: {reasons}"
        fix = " ".join(dict.fromkeys(each.fix for each in absent.values()))
        return Finding(name="engine", state=State.WARN, detail=detail, fix=fix)
    if alone:
        return Finding(name="engine", state=State.FAIL, detail=lacking.reason, fix=lacking.fix)
    detail = f"{settings.fallback_engine} stands in for {settings.engine}: {lacking.reason}"
    return Finding(name="engine", state=State.WARN, detail=detail, fix=lacking.fix)


def _routed(settings: Settings) -> Finding:
    """Which engines of the routes can work here."""
    from kf2v.assembly.engines import readiness

    lacking = {name: absent for name in sorted(settings.engines) if (absent := readiness(settings, name)) is not None}
    able = ", ".join(sorted(settings.engines - lacking.keys()))
    if not lacking:
        return Finding(name="engine", state=State.OK, detail=f"{able} can work")
    detail = " ".join(f"{name} cannot work: {absent.reason}" for name, absent in lacking.items())
    fix = " ".join(absent.fix for absent in lacking.values())
    if not able:
        return Finding(name="engine", state=State.FAIL, detail=detail, fix=fix)
    return Finding(name="engine", state=State.WARN, detail=f"{able} can work, and {detail}", fix=fix)


def gpu(settings: Settings) -> Finding:
    """Whether there is an accelerator, which only wan asks for."""
    del settings
    from importlib.util import find_spec

    devices = sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))
    torch = "torch is installed" if find_spec("torch") else "no torch"
    return Finding(name="gpu", state=State.OK, detail=f"{', '.join(devices) or 'none'}; {torch}; only wan needs either")


def rewriter(settings: Settings) -> Finding:
    """Who rewrites prompts and, where that is a language model, whether it answers."""
    if settings.rewriter != "openai":
        told = {"rules": "says what is measured in the frames", "verbatim": "prompts stay as they are"}
        return Finding(name="rewriter", state=State.OK, detail=f"{settings.rewriter}: {told[settings.rewriter]}")
    import time

    from kf2v.assembly.rewriters import build_chat
    from kf2v.net.call import Unanswered
    from kf2v.settings.secrecy import starred

    asked = f"openai: {settings.rewrite_model} at {starred(settings.rewrite_base_url)}"
    kept = settings.rewrite_on_failure == "keep"
    began = time.monotonic()
    try:
        build_chat(settings).probe(min(settings.rewrite_timeout, PROBE))
    except Unanswered as error:
        fix = "see KF2V_REWRITE_BASE_URL, _MODEL and _API_KEY; " + (
            "until then prompts stay as they are" if kept else "until then tasks fail with RewriteFailed"
        )
        state = State.WARN if kept else State.FAIL
        return Finding(name="rewriter", state=state, detail=f"{asked}: {error}", fix=fix)
    return Finding(name="rewriter", state=State.OK, detail=f"{asked} answers in {time.monotonic() - began:.1f} s")


def moderation(settings: Settings) -> Finding:
    """Who inspects and, where that is a service elsewhere, whether it answers."""
    from kf2v import logs
    from kf2v.assembly.panel import MODERATORS
    from kf2v.moderation import Exhibit, Undecided
    from kf2v.settings.secrecy import starred

    logs.configure("warning")  # lines of the lists that are left out are told on stderr
    if not settings.moderation:
        return Finding(name="moderation", state=State.OK, detail="off: nothing is inspected")
    told = ", ".join(settings.moderation)
    try:
        for name in settings.moderation:
            moderator = MODERATORS[name](settings)
            moderator.read("ready?", Exhibit(side="input", part="prompt"), lambda: None)
    except Undecided as error:
        passes = settings.moderation_on_failure == "pass"
        return Finding(
            name="moderation",
            state=State.WARN if passes else State.FAIL,
            detail=f"{told}: {error}",
            fix="see KF2V_MODERATION_URL, _API_KEY and _MODEL; "
            + ("until then everything passes" if passes else "until then submissions and tasks fail"),
        )
    there = f" at {starred(settings.moderation_url)}, which answers" if settings.moderation != ("lists",) else ""
    return Finding(name="moderation", state=State.OK, detail=told + there)


def remote(settings: Settings) -> Finding:
    """Whether the endpoint that tasks are forwarded to answers, and takes our key."""
    from kf2v.settings import REMOTE
    from kf2v.settings.secrecy import starred

    if REMOTE not in settings.engines:
        return Finding(name="remote", state=State.OK, detail="no task is forwarded")
    from kf2v.assembly.production import build_remote
    from kf2v.net.remote_error import RemoteError

    detail = f"{starred(settings.remote_base_url)}"
    try:
        with build_remote(settings).line() as line:
            line.greet()
    except RemoteError as error:
        fix = "see KF2V_REMOTE_BASE_URL (it ends in /api/v1) and KF2V_REMOTE_API_KEY"
        return Finding(name="remote", state=State.FAIL, detail=f"{detail}: {error}", fix=fix)
    return Finding(name="remote", state=State.OK, detail=f"{detail} answers and takes the key")


CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    python,
    sqlite,
    codec,
    mark,
    disk,
    data,
    port,
    proxy,
    clock,
    gpu,
    rewriter,
    moderation,
    remote,
    engine,
)


def in_use(data_dir: Path) -> bool:
    """Whether a server owns ``data_dir``. Asks the lock that it holds, and lets go at once."""
    import fcntl

    try:
        with (data_dir / "kf2v.db.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _existing(path: Path) -> Path:
    """``path``, or the nearest directory above it that is there."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())

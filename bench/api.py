"""How fast the API takes orders and answers polls, next to a bare ASGI application's constant answer.

Three servers: ``bare`` answers one constant, ``floor`` is the least application that keeps tasks in the same store
(what durability costs anyone), ``kf2v`` is the real thing.

``python -m bench.api [--json [FILE]]``. All are real processes with the same uvicorn options, pinned to one
core, the load generator to another; rounds alternate, so that whatever else the machine does meets both. kf2v runs
without workers on its default SQLite store: every create is on disk (``synchronous=FULL``) before it is answered.
Where the machine is busy, compare the server's CPU time per request, which contention hardly changes.
"""

import argparse
import base64
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.surroundings import ROOT, keep, machine, versions

KEY = "sk-bench"
CREATE = "/api/v1/services/aigc/image2video/video-synthesis"
BODY = json.dumps(
    {
        "model": "wan2.2-kf2v-flash",
        "input": {
            "prompt": "Realistic style, a small black cat looks up at the sky curiously, the camera gradually rises.",
            "negative_prompt": "people",
            "first_frame_url": "https://wanx.alicdn.com/material/20250318/first_frame.png",
            "last_frame_url": "https://wanx.alicdn.com/material/20250318/last_frame.png",
        },
        "parameters": {"resolution": "480P", "duration": 5, "seed": 12345, "prompt_extend": True, "watermark": False},
    }
).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One server under one load for a while."""

    server: str
    load: str
    per_second: float
    p50_ms: float
    p99_ms: float
    #: microseconds of all the server's threads
    server_cpu_us: float
    #: how much of a core the generator took, 0 … 1; near 1 it was the bottleneck, not the server
    client_busy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server process."""

    name: str
    process: subprocess.Popen[str]
    host: str
    port: int

    def cpu_seconds(self) -> float:
        """What all its threads have used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cores() -> tuple[set[int], set[int]]:
    """One core for the servers and another for the load, where there are two."""
    available = sorted(os.sched_getaffinity(0))
    return {available[0]}, {available[-1]}


@contextlib.contextmanager
def serving(name: str, command: list[str], home: Path) -> Iterator[Server]:
    """Run ``command`` pinned to the servers' core, from its ``ready`` line on until the block ends."""
    environment = {**os.environ, "KF2V_API_KEY": KEY, "KF2V_LOG_LEVEL": "warning", "XDG_CONFIG_HOME": str(home)}
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores()[0]),
    )
    try:
        assert process.stderr is not None
        ready = next((line for line in process.stderr if line.startswith("ready http://")), None)
        if ready is None:
            raise SystemExit(f"{name} did not start: {' '.join(command)}")
        parts = urlsplit(ready.split()[1])
        assert parts.hostname is not None
        assert parts.port is not None
        yield Server(name=name, process=process, host=parts.hostname, port=parts.port)
    finally:
        process.terminate()
        process.wait(60)


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """A request as the SDKs send it."""
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "user-agent: dashscope/2.0.2; python/3.11.7; platform/Linux; processor/",
        "Accept: application/json; charset=utf-8",
        f"Authorization: Bearer {KEY}",
    ]
    if body:
        head += ["X-DashScope-Async: enable", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


def measure(server: Server, load: str, requests: list[bytes], *, connections: int, seconds: float) -> Round:
    """Put ``requests`` on ``server`` from a process of its own."""
    job = {
        "host": server.host,
        "port": server.port,
        "connections": connections,
        "seconds": seconds,
        "requests": [base64.b64encode(each).decode() for each in requests],
    }
    before = server.cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, cores()[1]),
    )
    if done.returncode != 0:
        raise SystemExit(f"the load on {server.name} failed:\n{done.stderr}")
    used, found = server.cpu_seconds() - before, json.loads(done.stdout)
    return Round(
        server=server.name,
        load=load,
        per_second=found["requests"] / found["seconds"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        server_cpu_us=1e6 * used / found["requests"],
        client_busy=found["client_cpu_seconds"] / found["seconds"],
    )


def some_tasks(server: Server, count: int) -> list[str]:
    """Ids of freshly created tasks."""
    import http.client

    ids: list[str] = []
    connection = http.client.HTTPConnection(server.host, server.port)
    headers = {"Authorization": f"Bearer {KEY}", "X-DashScope-Async": "enable", "Content-Type": "application/json"}
    for _ in range(count):
        connection.request("POST", CREATE, body=BODY, headers=headers)
        ids.append(json.loads(connection.getresponse().read())["output"]["task_id"])
    connection.close()
    return ids


def fsync_ms(folder: Path) -> float:
    """Median milliseconds that this disk takes for one ``fdatasync`` after 4 kB."""
    took: list[float] = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(b"\0" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return 1000 * statistics.median(took)


def run(*, rounds: int, seconds: float, connections: int) -> dict[str, Any]:
    """Everything measured, and on what."""
    with contextlib.ExitStack() as house:
        folder = Path(house.enter_context(tempfile.TemporaryDirectory(prefix="kf2v-bench-")))
        kf2v = [str(Path(sys.executable).parent / "kf2v"), "serve", "--port", "0", "--workers", "0"]
        ours = house.enter_context(serving("kf2v", [*kf2v, "--data-dir", str(folder / "data")], folder))
        python = [sys.executable, "-m"]
        bare = house.enter_context(serving("bare", [*python, "bench.bare"], folder))
        floor = house.enter_context(serving("floor", [*python, "bench.floor", str(folder / "floor.db")], folder))
        servers = (bare, floor, ours)
        loads = {server.name: {"create": [request("POST", CREATE, BODY)]} for server in servers}
        for server, keeper in ((bare, ours), (floor, floor), (ours, ours)):
            ids = some_tasks(keeper, 200)
            loads[server.name]["poll"] = [request("GET", f"/api/v1/tasks/{task_id}") for task_id in ids]
        found: list[Round] = []
        for number in range(rounds + 1):
            for load in ("create", "poll"):
                for server in servers:
                    requests = loads[server.name][load]
                    each = measure(server, load, requests, connections=connections, seconds=seconds)
                    if number > 0:  # the first round warms up
                        found.append(each)
        return {
            "machine": {**machine(), "fdatasync_ms": fsync_ms(folder)},
            "versions": versions(("kf2v", "uvicorn", "httptools", "starlette", "msgspec", "apsw")),
            "rounds": rounds,
            "seconds": seconds,
            "connections": connections,
            "ratios": {
                load: {name: ratios(found, load, name) for name in ("bare", "floor")} for load in ("create", "poll")
            },
            "measured": [asdict(each) for each in found],
        }


def ratios(found: list[Round], load: str, base: str) -> dict[str, float]:
    """kf2v against ``base``: rates of the same round, of which the median; and CPU time per request."""
    theirs = [each for each in found if (each.server, each.load) == (base, load)]
    ours = [each for each in found if (each.server, each.load) == ("kf2v", load)]
    pairs = list(zip(theirs, ours, strict=True))
    return {
        "rate": statistics.median(own.per_second / other.per_second for other, own in pairs),
        "cpu": statistics.median(other.server_cpu_us / own.server_cpu_us for other, own in pairs),
    }


def table(result: dict[str, Any]) -> str:
    """The result for reading."""
    on, rows = result["machine"], list[str]()
    for load, bases in result["ratios"].items():
        for server in ("bare", "floor", "kf2v"):
            found = [each for each in result["measured"] if (each["load"], each["server"]) == (load, server)]
            columns = ("per_second", "p50_ms", "p99_ms", "server_cpu_us", "client_busy")
            rate, p50, p99, cpu, client = (statistics.median(each[column] for each in found) for column in columns)
            rows.append(f"{load:8}{server:6}{rate:>10,.0f}{p50:>9.2f}{p99:>9.2f}{cpu:>9.1f}{client:>9.0%}")
        for base, ratio in bases.items():
            rows.append(f"{load:8}kf2v / {base:6} rate {ratio['rate']:.2f}   CPU {ratio['cpu']:.2f}")
        rows.append("")
    disk = f"fdatasync {on['fdatasync_ms']:.2f} ms"
    return "\n".join(
        (
            f"{on['cpu']}, {on['cores']} cores, load average {on['load_average'][0]:.1f}, {disk}",
            f"{result['connections']} connections, median of {result['rounds']} rounds of {result['seconds']:g} s",
            "",
            f"{'load':8}{'server':6}{'per s':>10}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs':>9}{'client':>9}",
            *rows,
            "CPU µs: server CPU time per request, all threads; client: how busy the load generator was;",
            "kf2v / …: higher is better, 1 is as good as the baseline.",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.api", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--json", nargs="?", const="", metavar="FILE", help="write the result too, to bench/results/")
    arguments = parser.parse_args()
    result = run(rounds=arguments.rounds, seconds=arguments.seconds, connections=arguments.connections)
    print(table(result))
    if arguments.json is not None:
        file = keep(result, "api", arguments.json)
        print(f"\nwritten to {file}")


if __name__ == "__main__":
    main()

"""A load generator in one file: keep-alive connections on one epoll loop, a request out as soon as an answer is in.

Run as a process of its own (``python -m bench.load``) with a job as JSON on standard input; the findings come as JSON
on standard output. It has to cost less per request than any server under test, so it knows only as much HTTP as
uvicorn speaks back: a status, a ``content-length``, a body.
"""

import base64
import json
import select
import socket
import sys
import time
from array import array
from dataclasses import dataclass, field
from itertools import cycle


@dataclass(slots=True)
class Line:
    """One connection and the answer that is coming in on it."""

    socket: socket.socket
    sent_at: float = 0.0
    answer: bytearray = field(default_factory=bytearray)


class Strange(Exception):
    """An answer that is no 200."""


def run(address: tuple[str, int], requests: list[bytes], *, connections: int, seconds: float) -> dict[str, object]:
    """Send ``requests`` round and round for ``seconds``, and tell what came back."""
    lines: dict[int, Line] = {}
    poller = select.epoll()
    for _ in range(connections):
        opened = socket.create_connection(address)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setblocking(False)
        lines[opened.fileno()] = Line(opened)
        poller.register(opened.fileno(), select.EPOLLIN)
    next_request = cycle(requests).__next__
    clock, took = time.perf_counter, array("d")
    started, cpu = clock(), time.process_time()
    end = started + seconds
    for line in lines.values():
        line.sent_at = clock()
        line.socket.send(next_request())
    while clock() < end:
        for number, _ in poller.poll(0.5):
            line = lines[number]
            if not _whole(line):
                continue
            now = clock()
            took.append(now - line.sent_at)
            line.sent_at = now
            line.socket.send(next_request())
    elapsed, cpu = clock() - started, time.process_time() - cpu
    for line in lines.values():
        line.socket.close()
    ordered = sorted(took)
    return {
        "requests": len(ordered),
        "seconds": elapsed,
        "client_cpu_seconds": cpu,
        "p50_ms": _percentile(ordered, 50),
        "p99_ms": _percentile(ordered, 99),
    }


def _whole(line: Line) -> bool:
    """Read what is there; whether that completes the answer, which is then dropped."""
    data = line.socket.recv(65536)
    if not data:
        raise Strange("the server hung up")
    answer = line.answer
    answer += data
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return False
    if not answer.startswith(b"HTTP/1.1 200"):
        raise Strange(bytes(answer[:500]))
    length = answer.find(b"content-length: ", 0, head) + 16
    if len(answer) < head + 4 + int(answer[length : answer.find(b"\r", length)]):
        return False
    answer.clear()
    return True


def _percentile(ordered: list[float], percent: int) -> float:
    """In milliseconds."""
    return 1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0


def main() -> None:
    job = json.load(sys.stdin)
    found = run(
        (job["host"], job["port"]),
        [base64.b64decode(request) for request in job["requests"]],
        connections=job["connections"],
        seconds=job["seconds"],
    )
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()

"""The baseline: an ASGI application that answers one constant, served exactly as ``kf2v serve`` serves.

``python -m bench.bare`` writes ``ready http://…`` to stderr like the real server, and leaves on SIGTERM.
"""

import asyncio
import signal
import socket
import sys
from typing import Any

from kf2v.server.front_door import FrontDoor

#: as long as the answer to a create
BODY = (
    b'{"request_id":"4909100c-7b5a-4f92-bfe5-000000000000","output":'
    b'{"task_status":"PENDING","task_id":"0385dc79-5ff8-4d82-bcb6-000000000000"}}'
)
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}
REST = {"type": "http.response.body", "body": BODY}


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """One constant, whatever was asked."""
    del scope, receive
    await send(START)
    await send(REST)


async def answering(app: Any) -> None:
    """Let ``app`` answer behind the real server's own front door, so that no option can differ, until SIGTERM."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.setblocking(False)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    door = FrontDoor(app)
    await door.open(listener)
    print(f"ready http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    await stopped.wait()
    await door.slam()


if __name__ == "__main__":
    asyncio.run(answering(bare))

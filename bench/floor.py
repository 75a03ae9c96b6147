"""What the promise alone costs: the least ASGI application that keeps tasks in the same store and answers from it.

``python -m bench.floor FILE``. It hashes the key, reads the JSON, writes one row with a group-committed flush before
it answers, and reads rows by id; it checks nothing and knows no error. The rest, up to the real server, is the API.
"""

import asyncio
import hashlib
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec

from bench.bare import answering
from kf2v.store.sqlite import SqliteStore
from kf2v.tasks import FrameSource, Job, Task

encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode


def job(members: Any) -> Job:
    """The job of a create body, unchecked."""
    given, parameters = members["input"], members["parameters"]
    return Job(
        model=members["model"],
        engine="still",
        first=FrameSource(kind="url", place=given["first_frame_url"]),
        last=FrameSource(kind="url", place=given["last_frame_url"]),
        prompt=given["prompt"],
        negative_prompt=given["negative_prompt"],
        resolution=parameters["resolution"],
        area=832 * 480,
        seed=parameters["seed"],
        prompt_extend=parameters["prompt_extend"],
        watermark=parameters["watermark"],
    )


async def main(file: Path) -> None:
    store = await SqliteStore.open(file)

    async def floor(scope: Any, receive: Any, send: Any) -> None:
        key = next(value for name, value in scope["headers"] if name == b"authorization")
        account, request_id = hashlib.sha256(key).hexdigest(), str(uuid.uuid4())
        if scope["method"] == "POST":
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message["body"], message["more_body"]
            task = Task(
                id=str(uuid.uuid4()),
                account=account,
                key_id="1",
                request_id=request_id,
                region="local",
                submitted_at=time.time_ns() // 1_000_000,
                job=job(decode(body)),
            )
            await store.insert(task)
        else:
            found = await store.get(scope["path"].rpartition("/")[2])
            assert found is not None
            task = found
        answer = encode({"output": {"task_status": task.state.shown, "task_id": task.id}, "request_id": request_id})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    try:
        await answering(floor)
    finally:
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

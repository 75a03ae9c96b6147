"""The asyncio class: call with local files, then order, fetch, wait: `aio.py FIRST LAST FIRST_URL LAST_URL`."""

import asyncio
import json
import sys

from dashscope.aigc.video_synthesis import AioVideoSynthesis

first, last, first_url, last_url = sys.argv[1:]
seen = {}


async def main() -> None:
    rsp = await AioVideoSynthesis.call(
        model="wan2.2-kf2v-flash",
        prompt="a cat",
        first_frame_url=f"file://{first}",
        last_frame_url=f"file://{last}",
        resolution="480P",
        prompt_extend=True,
    )
    seen["called"] = json.loads(str(rsp))
    task = await AioVideoSynthesis.async_call(
        model="wan2.2-kf2v-flash", first_frame_url=first_url, last_frame_url=last_url, resolution="480P"
    )
    seen["created"] = json.loads(str(task))
    seen["fetched"] = json.loads(str(await AioVideoSynthesis.fetch(task)))
    seen["waited"] = json.loads(str(await AioVideoSynthesis.wait(task)))
    seen["list"] = json.loads(str(await AioVideoSynthesis.list(status="SUCCEEDED")))
    seen["wrong_key"] = json.loads(str(await AioVideoSynthesis.fetch(task, api_key="sk-not-a-key")))


asyncio.run(main())
print(json.dumps(seen))

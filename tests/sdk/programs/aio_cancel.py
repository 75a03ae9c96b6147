"""The asyncio class cancels and lists: `aio_cancel.py FIRST_URL LAST_URL`, against a server that makes nothing."""

import asyncio
import json
import sys

from dashscope.aigc.video_synthesis import AioVideoSynthesis

first, last = sys.argv[1:]
seen = {}


async def main() -> None:
    task = await AioVideoSynthesis.async_call(model="wan2.2-kf2v-flash", first_frame_url=first, last_frame_url=last)
    seen["created"] = json.loads(str(task))
    seen["canceled"] = json.loads(str(await AioVideoSynthesis.cancel(task)))
    seen["after"] = json.loads(str(await AioVideoSynthesis.fetch(task)))
    seen["refused"] = json.loads(str(await AioVideoSynthesis.cancel(task)))
    seen["list"] = json.loads(str(await AioVideoSynthesis.list(page_no=1, page_size=5)))


asyncio.run(main())
print(json.dumps(seen))

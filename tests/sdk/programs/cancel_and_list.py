"""Order, cancel, cancel again, list: `cancel_and_list.py FIRST_URL LAST_URL`, against a server that makes nothing."""

import json
import sys

from dashscope import VideoSynthesis

first, last = sys.argv[1:]
seen = {}


def order(**more):
    return VideoSynthesis.async_call(
        model="wan2.2-kf2v-flash", prompt="a cat", first_frame_url=first, last_frame_url=last, **more
    )


task, other = order(), order(resolution="480P", workspace="ws-1", headers={"X-Custom": "1"}, my_param=1)
seen["created"] = json.loads(str(task))
seen["other"] = json.loads(str(other))
seen["pending"] = json.loads(str(VideoSynthesis.fetch(task)))
seen["canceled"] = json.loads(str(VideoSynthesis.cancel(task)))
seen["refused"] = json.loads(str(VideoSynthesis.cancel(task)))
seen["after"] = json.loads(str(VideoSynthesis.wait(task)))
seen["list"] = json.loads(str(VideoSynthesis.list()))
seen["list_canceled"] = json.loads(str(VideoSynthesis.list(status="CANCELED", model_name="wan2.2-kf2v-flash")))
seen["list_page"] = json.loads(str(VideoSynthesis.list(page_no=1, page_size=1)))
seen["list_old"] = json.loads(str(VideoSynthesis.list(start_time="20260101000000", end_time="20260101120000")))
seen["unknown"] = json.loads(str(VideoSynthesis.fetch("00000000-0000-4000-8000-000000000000")))
print(json.dumps(seen))

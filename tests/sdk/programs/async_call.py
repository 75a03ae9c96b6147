"""Order, look, wait: `async_call.py FIRST_URL LAST_URL`."""

import json
import sys

from dashscope import VideoSynthesis

first, last = sys.argv[1:]
seen = {}
task = VideoSynthesis.async_call(
    model="wan2.1-kf2v-plus",
    prompt="a cat looks up",
    first_frame_url=first,
    last_frame_url=last,
    prompt_extend=False,
    seed=0,
)
seen["created"] = json.loads(str(task))
seen["fetched"] = json.loads(str(VideoSynthesis.fetch(task)))
seen["fetched_by_id"] = json.loads(str(VideoSynthesis.fetch(task.output.task_id)))
seen["waited"] = json.loads(str(VideoSynthesis.wait(task)))
seen["waited_by_id"] = json.loads(str(VideoSynthesis.wait(task.output.task_id)))
print(json.dumps(seen))

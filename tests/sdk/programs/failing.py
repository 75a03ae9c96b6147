"""A frame that is not there fails the task, not the call: `failing.py MISSING_URL LAST_URL`."""

import json
import sys

from dashscope import VideoSynthesis

first, last = sys.argv[1:]
rsp = VideoSynthesis.call(
    model="wan2.2-kf2v-flash", first_frame_url=first, last_frame_url=last, resolution="480P", prompt_extend=False
)
print(json.dumps({"result": json.loads(str(rsp))}))

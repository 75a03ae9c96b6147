"""Two local files, one blocking call, one download: `call_files.py FIRST LAST SAVE_AS`."""

import json
import sys
import urllib.request

from dashscope import VideoSynthesis

first, last, save_as = sys.argv[1:]
rsp = VideoSynthesis.call(
    model="wan2.2-kf2v-flash",
    prompt="写实风格，一只黑色小猫好奇地看向天空",
    negative_prompt="people",
    first_frame_url=f"file://{first}",
    last_frame_url=f"file://{last}",
    resolution="480P",
    duration=5,
    seed=12345,
    prompt_extend=True,
    watermark=False,
)
print(json.dumps({"result": json.loads(str(rsp))}))
if rsp.output.task_status == "SUCCEEDED":
    urllib.request.urlretrieve(rsp.output.video_url, save_as)

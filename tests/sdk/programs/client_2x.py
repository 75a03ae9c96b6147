"""The 2.x client: `client_2x.py FIRST LAST`, two local files of different names."""

import json
import sys

import dashscope

first, last = sys.argv[1:]
seen = {}


def plain(job):
    return {
        "task_id": job.task_id,
        "status": job.status,
        "submitted_at": job.submitted_at,
        "finished_at": job.finished_at,
        "output": job.output,
        "usage": job.usage and dict(job.usage),
        "video_url": job.video_url,
    }


client = dashscope.Client()
frames = {"first_frame_url": f"file://{first}", "last_frame_url": f"file://{last}"}
done = client.videos.generate(
    model="wan2.2-kf2v-flash", prompt="a cat", extra_input=frames, resolution="480P", prompt_extend=True, seed=1
)
seen["generated"] = plain(done)
seen["fetched"] = plain(client.videos.jobs.fetch(done.task_id))
listed = client.videos.jobs.list()
seen["list"] = {"total": listed.total, "tasks": [plain(job) for job in listed.tasks]}
print(json.dumps(seen))

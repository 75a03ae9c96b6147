"""What the 2.x client raises and cancels: `client_2x_refusals.py FIRST_URL LAST_URL`, a server that makes nothing."""

import json
import sys

import dashscope

first, last = sys.argv[1:]
frames = {"first_frame_url": first, "last_frame_url": last}
seen = {}
client = dashscope.Client()
job = client.videos.jobs.create(model="wan2.2-kf2v-flash", extra_input=frames)
seen["created"] = {"task_id": job.task_id, "status": job.status}
client.videos.jobs.cancel(job.task_id)
seen["after"] = client.videos.jobs.fetch(job.task_id).status


def raised(action):
    try:
        action()
    except Exception as error:  # noqa: BLE001  what it is, is the fact that is reported
        return {"type": type(error).__name__, "text": str(error), "status_code": getattr(error, "status_code", None)}
    return None


seen["cancel_again"] = raised(lambda: client.videos.jobs.cancel(job.task_id))
seen["wrong_key"] = raised(lambda: dashscope.Client(api_key="sk-not-a-key").videos.jobs.fetch(job.task_id))
seen["unknown_model"] = raised(lambda: client.videos.jobs.create(model="wan9.9-kf2v-none", extra_input=frames))
seen["no_frames"] = raised(lambda: client.videos.jobs.create(model="wan2.2-kf2v-flash", prompt="a cat"))
print(json.dumps(seen))

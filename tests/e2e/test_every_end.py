"""Every way in which a task can end, on one real server: told once to each receiver at once, and billed only if it
succeeded."""

import base64
import json
import time
from io import BytesIO
from pathlib import Path
from typing import Any

from clientele import order
from deployment import Deployment, deployed, needs_proc, until
from PIL import Image

from kf2v.moderation.lists.pictures import hash_of
from receiver import Receiver, receiving
from service import Service
from stage import texture

HOOKS = "/kf2v/v1/webhooks"
#: forbidden by the lists of this deployment
WORD, PICTURE = "unspeakable", texture(1, (360, 480))


def ordered(service: Service, prompt: str = "a ball rolls", **changes: Any) -> str:
    body = order(prompt)
    body["parameters"] |= changes
    reply = service.create(body)
    assert reply.status == 200, reply.body
    return reply.json["output"]["task_id"]


def running(service: Service, task_id: str) -> None:
    until("it runs", lambda: service.task(task_id)["output"]["task_status"] == "RUNNING")


def ways(deployment: Deployment, service: Service, tmp_path: Path) -> dict[str, str]:
    """Tasks that ended, each in another way, and how."""
    ends: dict[str, str] = {}

    def ended(task_id: str, status: str) -> str:
        assert service.finish(task_id)["output"]["task_status"] == status
        ends[task_id] = status
        return task_id

    ended(ordered(service), "SUCCEEDED")
    ended(ordered(service, resolution="9000P"), "FAILED")  # a flaw, in cloud validation
    broken = order()
    broken["input"]["last_frame_url"] = "data:image/png;base64,bm8gcGljdHVyZQ=="
    ended(service.create(broken).json["output"]["task_id"], "FAILED")
    file = BytesIO()
    Image.fromarray(PICTURE).save(file, "PNG")
    broken["input"]["last_frame_url"] = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    blocked = ended(service.create(broken).json["output"]["task_id"], "FAILED")
    assert service.task(blocked)["output"]["code"] == "DataInspectionFailed"
    ended(ordered(service, "crash"), "FAILED")  # each attempt kills its worker
    ended(ordered(service, "hang"), "FAILED")  # falls silent, attempt by attempt
    stopped = ordered(service, f"wait {tmp_path / 'never'}")
    running(service, stopped)
    waiting = ordered(service)
    assert service.request("POST", f"/api/v1/tasks/{waiting}/cancel").status == 200
    ended(waiting, "CANCELED")
    waiting = ordered(service)
    assert service.request("POST", f"/kf2v/v1/tasks/{waiting}/cancel").status == 200
    ended(waiting, "CANCELED")
    assert service.request("POST", f"/kf2v/v1/tasks/{stopped}/cancel").status == 200
    ended(stopped, "CANCELED")
    ended(ordered(service, f"wait {tmp_path / 'never'}"), "FAILED")  # takes too long
    deleted = ended(ordered(service), "SUCCEEDED")
    assert service.request("DELETE", f"/kf2v/v1/tasks/{deleted}").status == 200
    assert service.create(order(WORD)).status == 400  # no task, so no end
    return ends


@needs_proc
def test_every_end_is_told_once_and_success_alone_is_billed(tmp_path: Path) -> None:
    settings = {
        "webhook_allow_hosts": "127.0.0.1",
        "validation": "cloud",
        "max_attempts": "2",
        "lease_seconds": "1",
        "task_timeout": "7",
    }
    with receiving() as first, receiving() as second, deployed(tmp_path, workers=1, **settings) as deployment:
        deployment.sabotage()
        service = deployment.start()
        for file, entry in (("words.txt", WORD), ("pictures.txt", f"{hash_of(PICTURE):016x}")):
            with (deployment.data_dir / "moderation" / file).open("a") as list_:
                list_.write(f"{entry}\n")
        made = [service.request("POST", HOOKS, body=json.dumps({"url": one.url}).encode()) for one in (first, second)]
        ends = ways(deployment, service, tmp_path)
        for receiver, hook in zip((first, second), made, strict=True):
            receiver.wait(lambda got: len(got) >= len(ends))
            assert told(receiver, hook.json["webhook"]["secret"]) == sorted(ends.items())
        time.sleep(1.5)  # for what must not come
        assert len(first.got) == len(second.got) == len(ends)
        totals = service.get("/kf2v/v1/usage").json["totals"]
        assert totals["videos"] == sum(status == "SUCCEEDED" for status in ends.values())


def told(receiver: Receiver, secret: str) -> list[tuple[str, str]]:
    events = [got.verified(secret)["data"] for got in receiver.got]
    return sorted((event["task_id"], event["task_status"]) for event in events)

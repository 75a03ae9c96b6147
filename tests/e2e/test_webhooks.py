"""Events from a real server: every end is told to everybody who asked, once, whatever happens in between."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from receiver import Receiver, receiving
from service import PATIENCE, Service, serving

HOOKS = "/kf2v/v1/webhooks"
LOCAL = {"webhook_allow_hosts": "127.0.0.1", "webhook_first_retry": "0.2"}


def hook(service: Service, url: str) -> dict[str, Any]:
    reply = service.request("POST", HOOKS, body=json.dumps({"url": url}).encode())
    assert reply.status == 200, reply.body
    return reply.json["webhook"]


def order(service: Service, gallery: str, *, first: str = "first_frame.png", callback: str = "") -> str:
    frames = {"first_frame_url": f"{gallery}/{first}", "last_frame_url": f"{gallery}/last_frame.png"}
    headers = {"X-Kf2v-Callback": callback} if callback else {}
    smallest = {"resolution": "480P", "prompt_extend": False}
    body = {"model": "wan2.2-kf2v-flash", "input": frames, "parameters": smallest}
    reply = service.create(body, headers=headers)
    assert reply.status == 200, reply.body
    return reply.json["output"]["task_id"]


def deliveries(service: Service, task_id: str) -> list[dict[str, Any]]:
    return service.get(f"/kf2v/v1/deliveries?task_id={task_id}").json["deliveries"]


def ended(service: Service, task_id: str) -> list[dict[str, Any]]:
    """What became of a task's events, once none is on its way."""
    deadline = time.monotonic() + PATIENCE
    while "PENDING" in {row["state"] for row in deliveries(service, task_id)}:
        assert time.monotonic() < deadline, deliveries(service, task_id)
        time.sleep(0.05)
    return deliveries(service, task_id)


def told(receiver: Receiver) -> dict[str, str]:
    """Task ids and their states as told so far; each once."""
    data = [got.json["data"] for got in receiver.got]
    assert len(data) == len({one["task_id"] for one in data})
    return {one["task_id"]: one["task_status"] for one in data}


def test_success_failure_and_cancel_are_each_told_once_to_every_webhook(tmp_path: Path, gallery: str) -> None:
    with receiving() as first, receiving() as second, serving(tmp_path, workers=1, **LOCAL) as service:
        hooks = [(receiver, hook(service, receiver.url)) for receiver in (first, second)]
        made = order(service, gallery)
        failed = order(service, gallery, first="missing.png")
        waiting = [order(service, gallery) for _ in range(3)]
        assert service.request("POST", f"/api/v1/tasks/{waiting[-1]}/cancel").status == 200
        expected = {made: "SUCCEEDED", failed: "FAILED", **dict.fromkeys(waiting[:2], "SUCCEEDED")}
        expected[waiting[-1]] = "CANCELED"
        for task_id in expected:
            service.finish(task_id)
            assert {row["state"] for row in ended(service, task_id)} == {"DELIVERED"}
        for receiver, made_hook in hooks:
            assert told(receiver) == expected
            for got in receiver.got:
                event = got.verified(made_hook["secret"])
                assert event["type"] == "dashscope:System:AsyncTaskFinish"
                assert event["data"]["request_id"]


def test_a_callback_hears_of_its_own_task_alone(tmp_path: Path, gallery: str) -> None:
    with receiving() as receiver, serving(tmp_path, workers=1, **LOCAL) as service:
        task_id = order(service, gallery, callback=f"{receiver.url}/here")
        service.finish(order(service, gallery))
        service.finish(task_id)
        ended(service, task_id)
        secret = service.get(f"{HOOKS}/secret").json["secret"]
        assert told(receiver) == {task_id: "SUCCEEDED"}
        assert receiver.got[0].path == "/here"
        assert receiver.got[0].verified(secret)["data"]["task_id"] == task_id


def test_a_receiver_that_was_down_hears_of_it_later(tmp_path: Path, gallery: str) -> None:
    with receiving() as gone:
        port = gone.port
    with serving(tmp_path, workers=1, **LOCAL) as service:
        made_hook = hook(service, f"http://127.0.0.1:{port}/")
        task_id = order(service, gallery)
        service.finish(task_id)
        deadline = time.monotonic() + PATIENCE
        while not deliveries(service, task_id)[0]["attempts"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "cannot be connected to" in deliveries(service, task_id)[0]["error"]
        with receiving(port) as receiver:
            receiver.next = [(503, {})]
            (row,) = ended(service, task_id)
            assert (row["state"], row["attempts"] >= 3) == ("DELIVERED", True)
            assert [got.verified(made_hook["secret"])["data"]["task_id"] for got in receiver.got] == [task_id] * 2
            assert receiver.got[0].body == receiver.got[1].body


def test_what_was_not_told_when_the_server_was_killed_is_told_by_the_next_one(tmp_path: Path, gallery: str) -> None:
    with receiving() as gone:
        port = gone.port
    slow = LOCAL | {"webhook_first_retry": "1"}
    with serving(tmp_path, workers=1, **slow) as service:
        hook(service, f"http://127.0.0.1:{port}/")
        tasks = [order(service, gallery) for _ in range(2)]
        for task_id in tasks:
            service.finish(task_id)
        service.process.kill()
        service.process.wait(PATIENCE)
    with receiving(port) as receiver, serving(tmp_path, workers=0, **LOCAL) as service:
        for task_id in tasks:
            assert [row["state"] for row in ended(service, task_id)] == ["DELIVERED"]
        assert told(receiver) == dict.fromkeys(tasks, "SUCCEEDED")


def test_a_receiver_that_hangs_delays_neither_others_nor_the_end_of_the_server(tmp_path: Path, gallery: str) -> None:
    with receiving() as hanging, receiving() as receiver:
        hanging.awake.clear()
        settings = LOCAL | {"webhook_timeout": "60", "drain_seconds": "1"}
        with serving(tmp_path, workers=1, **settings) as service:
            hook(service, hanging.url)
            hook(service, receiver.url)
            tasks = [order(service, gallery) for _ in range(5)]
            receiver.wait(lambda got: len(got) == len(tasks))
            hanging.wait(lambda got: len(got) == 1)
            assert set(told(receiver)) == set(tasks)
            assert service.get("/healthz").status == 200


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://localhost/", "http://169.254.169.254/", "http://[::1]/"])
def test_nothing_inside_is_told_anything_unless_the_owner_says_so(idle_service: Service, url: str) -> None:
    for reply in (
        idle_service.request("POST", HOOKS, body=json.dumps({"url": url}).encode()),
        idle_service.create({"model": "wan2.2-kf2v-flash", "input": {}}, headers={"X-Kf2v-Callback": url}),
    ):
        assert (reply.status, reply.json["code"]) == (400, "InvalidParameter")
        assert "KF2V_WEBHOOK_ALLOW_HOSTS" in reply.json["message"]

"""Two real servers: the near one has its videos made by the far one, and either may die in the middle."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from clientele import order
from deployment import KEY, Deployment, deployed, needs_proc, until

from censor import KEY as CENSORS_KEY
from censor import Act, Censor, Heard, judging, says
from service import Service

pytestmark = needs_proc

SPOKEN_OF = {"PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED"}


@contextmanager
def pair(home: Path, **settings: str) -> Iterator[tuple[Deployment, Deployment]]:
    """A near server, not yet started, that forwards to a far one, which runs. Words in prompts steer the far one."""
    with deployed(home / "far", workers=1) as far:
        far.sabotage()
        far.start()
        forwards = {
            "engine": "remote",
            "fallback_engine": "",
            "remote_base_url": f"{far.url}/api/v1",
            "remote_api_key": KEY,
            "drain_seconds": "5",
        }
        with deployed(home / "near", workers=1, **{**forwards, **settings}) as near:
            yield near, far


def submitted(service: Service, prompt: str = "a ball rolls", **parameters: Any) -> str:
    body = order(prompt)
    body["parameters"] |= parameters
    reply = service.create(body)
    assert reply.status == 200, reply.body
    return reply.json["output"]["task_id"]


def listed(service: Service) -> list[dict[str, Any]]:
    """Every task the server has, newest first."""
    return service.get("/api/v1/tasks?page_size=100").json["data"]


def statuses(deployment: Deployment) -> list[str]:
    """Of every task the server has, newest first."""
    return [row["status"] for row in listed(deployment.service())]


def forwarded(near: Deployment) -> dict[str, str]:
    """The far side's id of every task that was forwarded, by the id here."""
    notes = near.data_dir.glob("blobs/remote/*/task")
    return {note.parent.name: note.read_text() for note in notes}


def stop(service: Service, task_id: str) -> None:
    """Cancel a task, running or not."""
    reply = service.request("POST", f"/kf2v/v1/tasks/{task_id}/cancel")
    assert (reply.status, reply.json["task"]["task_status"]) == (200, "CANCELED")


def is_running(service: Service, task_id: str) -> bool:
    return service.task(task_id)["output"]["task_status"] == "RUNNING"


def log_of(service: Service, task_id: str) -> list[str]:
    """What its owner is told of the task."""
    return [line["text"] for line in service.get(f"/kf2v/v1/tasks/{task_id}").json["task"]["log"]]


def breakers(service: Service) -> dict[str, str]:
    return {row["engine"]: row["breaker"] for row in service.get("/kf2v/v1/engines").json["engines"]}


def booked(service: Service) -> dict[str, int]:
    """How many videos of which engine it has counted."""
    rows = service.get("/kf2v/v1/usage?group_by=engine").json["rows"]
    return {row["engine"]: row["videos"] for row in rows}


def held(home: Path) -> tuple[str, Path]:
    """A prompt that keeps the far worker at work until the file is there."""
    file = home / "go"
    return f"wait {file}", file


def test_a_forwarded_task_is_the_far_ones_video_byte_for_byte(tmp_path: Path) -> None:
    with pair(tmp_path) as (near, far):
        service = near.start()
        task_id = submitted(service, prompt_extend=True, watermark=True)
        told = service.finish(task_id)
        assert told["output"]["task_status"] == "SUCCEEDED", told
        assert told["usage"] == {"video_duration": 5, "video_count": 1, "SR": 480}
        (row,) = listed(far.service())
        assert f"Forwarded as {row['task_id']}." in log_of(service, task_id)
        there = far.service().task(row["task_id"])["output"]
        assert told["output"]["actual_prompt"] == there["actual_prompt"]
        assert told["output"]["orig_prompt"] == there["orig_prompt"] == "a ball rolls"
        video = service.get(told["output"]["video_url"], key=None).body
        assert video == far.service().get(there["video_url"], key=None).body
        assert not near.complaints() + far.complaints()
        assert KEY not in "\n".join(near.log)


def test_what_the_far_side_refuses_or_fails_at_is_told_in_its_words(tmp_path: Path) -> None:
    with pair(tmp_path, max_attempts="1") as (near, far):
        service = near.start()
        told = service.finish(submitted(service, "crash"))["output"]
        (row,) = listed(far.service())
        there = far.service().task(row["task_id"])["output"]
        assert (told["task_status"], told["code"], told["message"]) == ("FAILED", there["code"], there["message"])


def test_a_far_server_that_restarts_in_the_middle_is_waited_for(tmp_path: Path) -> None:
    with pair(tmp_path) as (near, far):
        service = near.start()
        prompt, go = held(tmp_path)
        task_id = submitted(service, prompt)
        until("the far side works on it", lambda: [r for r in listed(far.service()) if r["status"] == "RUNNING"])
        far.kill()
        time.sleep(1.0)
        go.touch()
        far.start()
        assert service.finish(task_id)["output"]["task_status"] == "SUCCEEDED"
        assert len(listed(far.service())) == 1
        assert not near.complaints()


def test_a_near_server_that_is_killed_in_the_middle_goes_on_with_the_same_far_task(tmp_path: Path) -> None:
    with pair(tmp_path) as (near, far):
        prompt, go = held(tmp_path)
        service = near.start()
        task_ids = [submitted(service, prompt) for _ in range(3)]
        for _ in range(3):  # at whatever moment of submitting they are
            time.sleep(0.4)
            near.kill()
            near.start()
        until("two are there, which is what may be there at once", lambda: len(listed(far.service())) == 2)
        near.kill()
        go.touch()
        service = near.start()
        for task_id in task_ids:
            assert service.finish(task_id)["output"]["task_status"] == "SUCCEEDED"
        assert len(listed(far.service())) == 3
        assert (booked(service), booked(far.service())) == ({"remote": 3}, {"actor": 3})


def test_what_is_canceled_here_is_canceled_there_while_it_waits_there_and_frees_its_worker(tmp_path: Path) -> None:
    with pair(tmp_path) as (near, far):
        prompt, go = held(tmp_path)
        service = near.start()
        for _ in range(2):
            submitted(service, prompt)
        until("one of two is worked on", lambda: statuses(far) == ["PENDING", "RUNNING"])
        until("both are known here", lambda: len(forwarded(near)) == 2)
        here = {far_id: task_id for task_id, far_id in forwarded(near).items()}
        there = {row["status"]: row["task_id"] for row in listed(far.service())}
        (relay,) = near.workers()
        stop(service, here[there["PENDING"]])
        until("it is canceled there", lambda: statuses(far) == ["CANCELED", "RUNNING"])
        stop(service, here[there["RUNNING"]])
        others = [submitted(service, prompt) for _ in range(2)]
        until("both workers are free for others", lambda: len(forwarded(near)) == 4)
        assert statuses(far).count("RUNNING") == 1
        go.touch()
        for task_id in others:
            assert service.finish(task_id)["output"]["task_status"] == "SUCCEEDED"
        assert sorted(statuses(far)) == ["CANCELED", *["SUCCEEDED"] * 3]
        assert service.get("/kf2v/v1/usage").json["totals"]["videos"] == 2
        assert len(list(near.data_dir.glob("blobs/videos/*/*"))) == 2
        assert near.workers() == [relay]


def test_a_far_server_that_hangs_keeps_no_worker_whose_task_is_canceled(tmp_path: Path) -> None:
    with pair(tmp_path, cancel_grace_seconds="0.3") as (near, far):
        prompt, go = held(tmp_path)
        service = near.start()
        task_ids = [submitted(service, prompt) for _ in range(2)]
        until("both are known here", lambda: len(forwarded(near)) == 2)
        (relay,) = near.workers()
        far.process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(3.0)  # so that both are waiting for an answer
            for task_id in task_ids:
                stop(service, task_id)
                other = submitted(service, prompt)
                until(
                    "another gets its worker",
                    partial(is_running, service, other),
                )
                time.sleep(1.0)  # longer than a worker is given
        finally:
            far.process.send_signal(signal.SIGCONT)
        assert near.workers() == [relay]
        go.touch()
        assert service.finish(other)["output"]["task_status"] == "SUCCEEDED"
        assert len(listed(far.service())) == 4


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_a_relay_that_is_killed_or_frozen_is_replaced_and_its_tasks_go_on(tmp_path: Path, blow: signal.Signals) -> None:
    with pair(tmp_path, lease_seconds="2") as (near, far):
        prompt, go = held(tmp_path)
        service = near.start()
        task_id = submitted(service, prompt)
        until("the far side works on it", lambda: [r for r in listed(far.service()) if r["status"] == "RUNNING"])
        (relay,) = near.workers()
        relay.send(blow)
        until("another one is there", lambda: near.workers() and relay not in near.workers())
        go.touch()
        assert service.finish(task_id)["output"]["task_status"] == "SUCCEEDED"
        assert len(listed(far.service())) == 1


def test_a_drain_hands_back_at_once_and_leaves_the_far_task_alone(tmp_path: Path) -> None:
    with pair(tmp_path) as (near, far):
        prompt, go = held(tmp_path)
        service = near.start()
        task_id = submitted(service, prompt)
        until("the far side works on it", lambda: [r for r in listed(far.service()) if r["status"] == "RUNNING"])
        assert near.end() == 0
        go.touch()
        assert near.start().finish(task_id)["output"]["task_status"] == "SUCCEEDED"
        assert [row["status"] for row in listed(far.service())] == ["SUCCEEDED"]


def test_without_the_far_side_another_engine_makes_it_and_it_is_left_out_for_a_while(tmp_path: Path) -> None:
    outage = {"fallback_engine": "still", "remote_patience": "0", "breaker_failures": "1", "breaker_cooldown": "5"}
    with pair(tmp_path, **outage) as (near, far):
        service = near.start()
        assert breakers(service) == {"remote": "closed", "still": "closed"}
        far.kill()
        task_id = submitted(service)
        assert service.finish(task_id)["output"]["task_status"] == "SUCCEEDED"
        assert "remote cannot make this, still does." in log_of(service, task_id)
        assert far.url not in service.get(f"/kf2v/v1/tasks/{task_id}").body.decode()
        closes = time.monotonic() + 5.0
        until("the log says so", lambda: any('"event": "task rerouted"' in line for line in near.log))
        assert breakers(service) == {"remote": "open", "still": "closed"}
        assert service.finish(submitted(service))["output"]["task_status"] == "SUCCEEDED"
        assert sum('"event": "task rerouted"' in line for line in near.log) == 1, "the second went past it"
        far.start()
        time.sleep(max(0.0, closes - time.monotonic()))
        prompt, go = held(tmp_path)
        task_id = submitted(service, prompt)
        assert breakers(service)["remote"] == "half-open"
        go.touch()
        assert service.finish(task_id)["output"]["task_status"] == "SUCCEEDED"
        until("the log says so", lambda: any('"event": "engine is back"' in line for line in near.log))
        assert breakers(service)["remote"] == "closed"
        assert len(listed(far.service())) == 1
        assert booked(service) == {"still": 2, "remote": 1}


@pytest.mark.parametrize(("stage", "there"), [("input", 0), ("output", 1)])
def test_a_picture_that_may_not_pass_never_leaves_and_a_film_is_not_kept(
    tmp_path: Path, stage: str, there: int
) -> None:
    def strict(heard: Heard) -> Act:
        return says("inappropriate" if heard.picture and heard.body["stage"] == stage else "pass")

    with judging(Censor(strict)) as censor:
        asks = {"moderation": "http", "moderation_url": f"{censor.url}/judge", "moderation_api_key": CENSORS_KEY}
        with pair(tmp_path, **asks) as (near, far):
            service = near.start()
            told = service.finish(submitted(service))["output"]
            assert (told["task_status"], told["code"]) == ("FAILED", "DataInspectionFailed")
            assert len(listed(far.service())) == there
            assert not list(near.data_dir.glob("blobs/videos/*/*"))
            assert service.get("/kf2v/v1/usage").json["totals"]["videos"] == 0


@pytest.mark.parametrize("right", [True, False])
def test_doctor_says_whether_the_far_side_takes_the_key(tmp_path: Path, right: bool) -> None:
    with pair(tmp_path, **({} if right else {"remote_api_key": "sk-wrong"})) as (near, _):
        seen = near.command("doctor").stdout
        (line,) = (line for line in seen.splitlines() if "  remote  " in line)
        assert line.startswith("ok" if right else "fail")
        assert right or "Invalid API-key provided." in line
        assert "sk-wrong" not in seen


def test_an_order_whose_answer_was_lost_is_one_task_over_there(tmp_path: Path) -> None:
    """The far one is a kf2v, which counts an ``Idempotency-Key`` once."""
    with pair(tmp_path) as (near, far):
        prompt, go = held(tmp_path)
        service = near.start()
        task_id = submitted(service, prompt)
        until("the far side works on it", lambda: [r for r in listed(far.service()) if r["status"] == "RUNNING"])
        until("it is known here", lambda: task_id in forwarded(near))
        near.kill()
        (note,) = near.data_dir.glob(f"blobs/remote/{task_id}/task*")
        note.unlink()  # as if it had died before it could write down what the far side called it
        go.touch()
        assert near.start().finish(task_id)["output"]["task_status"] == "SUCCEEDED"
        assert len(listed(far.service())) == 1

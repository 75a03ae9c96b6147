"""Limits and fairness of a real server: what one account sends is bounded, and no other one pays for it."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from clientele import order
from deployment import Deployment, deployed, until

from service import CREATE, Reply, Service

#: seconds in which something that must not happen would have happened
A_WHILE = 1.0


@dataclass
class Crowd:
    """Accounts at one server whose engine works on a task until it is told to go on."""

    deployment: Deployment
    gates: Path

    def account(self, name: str) -> Service:
        """The server as seen with a new key of that account."""
        owner = self.deployment.service()
        made = owner.request("POST", "/kf2v/v1/keys", body=json.dumps({"account": name}).encode())
        return replace(owner, api_key=made.json["key"]["key"])

    def gate(self, name: str) -> Path:
        return self.gates / name

    def order(self, service: Service, name: str, **headers: str) -> str:
        """The id of a task that runs until the gate of that name is opened."""
        reply = create(service, f"wait {self.gate(name)}", **headers)
        assert reply.status == 200, reply.body
        return reply.json["output"]["task_id"]


@pytest.fixture
def crowd(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Crowd]:
    """A crowd before a server of the settings that the test names."""
    gates = tmp_path / "gates"
    gates.mkdir()
    with deployed(tmp_path / "home", **request.param) as deployment:
        deployment.sabotage()
        deployment.start()
        yield Crowd(deployment, gates)
        assert deployment.end() == 0
        assert not deployment.complaints()


def create(service: Service, prompt: str = "a ball rolls", **headers: str) -> Reply:
    usual = {"Content-Type": "application/json", "X-DashScope-Async": "enable"}
    return service.request("POST", CREATE, body=json.dumps(order(prompt)).encode(), headers={**usual, **headers})


def status(service: Service, task_id: str) -> str:
    return service.task(task_id)["output"]["task_status"]


def running(service: Service, task_ids: list[str]) -> set[str]:
    return {task_id for task_id in task_ids if status(service, task_id) == "RUNNING"}


@pytest.mark.parametrize("crowd", [{"workers": 3, "limits": "cloud"}], indirect=True)
def test_the_third_submission_of_a_second_is_refused_and_polls_never_are(crowd: Crowd) -> None:
    mine = crowd.account("mine")
    replies = [create(mine) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    refusal: Any = replies[2].json
    assert set(refusal) == {"code", "message", "request_id"}
    assert refusal["code"] == "Throttling.RateQuota"
    assert int(replies[2].headers["retry-after"]) == 1
    assert create(crowd.account("other")).status == 200
    task_id = replies[0].json["output"]["task_id"]
    assert {mine.get(f"/api/v1/tasks/{task_id}").status for _ in range(200)} == {200}
    assert mine.finish(task_id)["output"]["task_status"] == "SUCCEEDED"


@pytest.mark.parametrize("crowd", [{"workers": 3, "limits": "cloud"}], indirect=True)
def test_no_more_of_an_account_run_at_once_than_may_while_workers_are_idle(crowd: Crowd) -> None:
    mine = crowd.account("mine")
    tasks = [crowd.order(mine, f"{number}", **{"X-DashScope-Wait-Timeout": "30"}) for number in range(4)]
    until("two run", lambda: len(running(mine, tasks)) == 2)
    time.sleep(A_WHILE)
    assert running(mine, tasks) == set(tasks[:2])
    other = crowd.account("other")
    theirs = crowd.order(other, "theirs")
    until("another account's runs", lambda: status(other, theirs) == "RUNNING")
    crowd.gate("0").touch()
    until("its end makes room", lambda: running(mine, tasks) == set(tasks[1:3]), within=4.0)
    for name in ("1", "2", "3", "theirs"):
        crowd.gate(name).touch()
    assert [mine.finish(task_id)["output"]["task_status"] for task_id in tasks] == ["SUCCEEDED"] * 4
    assert other.finish(theirs)["output"]["task_status"] == "SUCCEEDED"


@pytest.mark.parametrize("crowd", [{"workers": 2}], indirect=True)
def test_a_crowd_in_the_queue_delays_another_account_by_what_runs_already(crowd: Crowd) -> None:
    many, single = crowd.account("many"), crowd.account("single")
    theirs = [crowd.order(many, f"{number}") for number in range(40)]
    until("every worker is busy", lambda: len(running(many, theirs)) == 2)
    mine = crowd.order(single, "mine")
    crowd.gate("0").touch()
    until("the single one runs", lambda: status(single, mine) == "RUNNING")
    assert status(many, theirs[0]) == "SUCCEEDED"
    assert {status(many, task_id) for task_id in theirs[2:]} == {"PENDING"}
    for name in ("mine", *map(str, range(40))):
        crowd.gate(name).touch()
    assert single.finish(mine)["output"]["task_status"] == "SUCCEEDED"


@pytest.mark.parametrize("crowd", [{"workers": 0}], indirect=True)
def test_a_create_may_be_sent_again_whatever_became_of_the_server(crowd: Crowd) -> None:
    mine = crowd.account("mine")
    word = {"Idempotency-Key": "order-1"}
    first = create(mine, **word)
    crowd.deployment.kill()
    crowd.deployment.start()
    assert create(mine, **word).json["output"] == first.json["output"]
    conflict = create(mine, "something else", **word)
    assert (conflict.status, conflict.json["code"]) == (409, "IdempotencyConflict")
    assert mine.get("/api/v1/tasks").json["total"] == 1

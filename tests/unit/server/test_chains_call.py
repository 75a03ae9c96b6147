"""POST /kf2v/v1/chains: tasks that share frames, each like any other."""

from itertools import pairwise
from typing import Any

import httpx2
import pytest

from house import House, Open
from kf2v.tasks import Job, TaskQuery

CHAINS = "/kf2v/v1/chains"
FRAMES = [f"https://example.com/{number}.png" for number in range(4)]


def chain(**given: Any) -> dict[str, Any]:
    return {"model": "wan2.2-kf2v-flash", "input": {"frames": FRAMES, **given}, "parameters": {"resolution": "480P"}}


def ask(house: House, body: Any = None, **headers: str) -> httpx2.Response:
    return house.call("POST", CHAINS, json=chain() if body is None else body, headers=headers)


def ids(answer: httpx2.Response) -> list[str]:
    return [task["task_id"] for task in answer.json()["tasks"]]


def jobs_of(house: House, answer: httpx2.Response) -> list[Job]:
    tasks = [house.run(house.store.get(task_id)) for task_id in ids(answer)]
    return [task.job for task in tasks if task is not None]


def total(house: House) -> int:
    return house.run(house.store.find(TaskQuery(account="mine", forgotten_before=0))).total


def test_a_chain_is_one_task_from_each_frame_to_the_next(house: House) -> None:
    answer = ask(house, chain(prompts=["one", "", "three"], negative_prompt="rain"))
    assert answer.status_code == 200, answer.text
    assert {task["task_status"] for task in answer.json()["tasks"]} == {"PENDING"}
    jobs = jobs_of(house, answer)
    assert [(job.first.place, job.last.place) for job in jobs] == list(pairwise(FRAMES))
    assert [job.prompt for job in jobs] == ["one", "", "three"]
    assert {(job.negative_prompt, job.resolution) for job in jobs} == {("rain", "480P")}


def test_one_prompt_is_that_of_every_step(house: House) -> None:
    jobs = jobs_of(house, ask(house, chain(prompt="up")))
    assert [job.prompt for job in jobs] == ["up"] * 3


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"[]", "JSON object"),
        (b"", "body"),
        ({"input": {"frames": FRAMES}}, "model"),
        (chain() | {"model": "wan3"}, "model"),
        (chain() | {"input": None}, "input"),
        (chain() | {"input": []}, "input"),
        (chain(frames=None), "input.frames"),
        (chain(frames=FRAMES[:2]), "input.frames"),
        (chain(frames=[*FRAMES, 7]), "input.frames"),
        (chain(frames=FRAMES * 7), "input.frames"),
        (chain(frames="https://example.com/0.png"), "input.frames"),
        (chain(frames=[*FRAMES[:3], "ftp://example.com/3.png"]), "input.frames[3]"),
        (chain(frames=[*FRAMES[:3], ""]), "input.frames[3]"),
        (chain(frames=[*FRAMES[:3], "oss://nobody/has.png"]), "input.frames[3]"),
        (chain(frames=[*FRAMES[:3], "data:image/png;base64,~~~~"]), "input.frames[3]"),
        (chain(prompts=["too few"]), "input.prompts"),
        (chain(prompts=[1, 2, 3]), "input.prompts"),
        (chain(prompt=7), "input.prompt"),
        (chain(prompt="a", prompts=["b", "c", "d"]), "input.prompts"),
        (chain() | {"parameters": {"resolution": "4K"}}, "parameters.resolution"),
        (chain() | {"parameters": {"seed": -1}}, "parameters.seed"),
    ],
)
@pytest.mark.parametrize("validation", ["strict", "cloud"])
def test_what_can_be_seen_to_be_wrong_is_refused_before_anything_is_made(
    open_house: Open, validation: str, body: Any, field: str
) -> None:
    house = open_house(validation=validation)
    answer = house.call("POST", CHAINS, **({"content": body} if isinstance(body, bytes) else {"json": body}))
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
    assert field in answer.json()["message"]
    assert set(answer.json()) == {"code", "message", "request_id"}
    assert total(house) == 0


def test_a_chain_that_meets_a_limit_says_what_was_made_and_goes_on_when_it_is_sent_again(open_house: Open) -> None:
    house = open_house(account_limits={"mine": {"waiting": 2}})
    first = ask(house, **{"Idempotency-Key": "k"})
    assert (first.status_code, first.json()["code"]) == (429, "Throttling.AllocationQuota")
    assert len(ids(first)) == total(house) == 2
    house.finish(ids(first)[0])
    again = ask(house, **{"Idempotency-Key": "k"})
    assert again.status_code == 200
    assert ids(again)[:2] == ids(first)
    assert len(set(ids(again))) == total(house) == 3


def test_the_same_chain_under_the_same_key_is_the_same_tasks(house: House) -> None:
    answers = [ask(house, **{"Idempotency-Key": "k" * 255}) for _ in range(3)]
    assert ids(answers[0]) == ids(answers[1]) == ids(answers[2])
    assert total(house) == 3
    other = ask(house, chain(prompt="else"), **{"Idempotency-Key": "k" * 255})
    assert (other.status_code, other.json()["code"]) == (409, "IdempotencyConflict")
    assert house.create(headers={"Idempotency-Key": "k" * 255}).status_code == 200
    assert ask(house, **{"Idempotency-Key": "k" * 256}).status_code == 400
    assert ask(house, **{"Idempotency-Key": " "}).status_code == 400
    assert total(house) == 4


def test_nobody_else_sees_a_chain(house: House) -> None:
    for task_id in ids(ask(house)):
        assert house.call("GET", f"/kf2v/v1/tasks/{task_id}", key=house.other_key).status_code == 404
    assert house.call("POST", CHAINS, json=chain(), key=None).status_code == 401

"""Limits, words that count once, and priorities, seen from outside."""

import asyncio
import base64
import time
from typing import Any

import httpx2
import pytest

from house import House, Open, picture, submission
from kf2v.errors import Unavailable
from kf2v.store import Rights
from kf2v.tasks import State

RATE = "Requests rate limit exceeded, please try again later."
QUOTA = "Allocated quota exceeded, please increase your quota limit."
PLUS = "wan2.1-kf2v-plus"


def refused(answer: httpx2.Response, code: str, sentence: str) -> None:
    assert answer.status_code == 429, answer.text
    body = answer.json()
    assert set(body) == {"code", "message", "request_id"}
    assert body["code"] == code
    assert body["message"].startswith(sentence)
    assert body["request_id"] == answer.headers["x-request-id"]


def all_tasks(house: House) -> int:
    return sum(house.run(house.store.counts()).values())


def with_pictures(**changes: Any) -> dict[str, Any]:
    uri = "data:image/png;base64," + base64.b64encode(picture()).decode()
    return submission(input__first_frame_url=uri, input__last_frame_url=uri, **changes)


def kept_frames(house: House) -> list[str]:
    return [blob.key for blob in house.blobs.walk("inputs/")]


# --- how much


def test_too_many_in_a_second_are_refused_with_a_time_to_come_again(open_house: Open) -> None:
    house = open_house(limits="cloud")
    answers = [house.create() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    refused(answers[2], "Throttling.RateQuota", RATE)
    assert answers[2].headers["retry-after"] == "1"
    assert all_tasks(house) == 2
    time.sleep(1.1)
    assert house.create().status_code == 200


def test_what_is_refused_for_another_reason_counts_for_nothing(open_house: Open) -> None:
    house = open_house(limits="cloud")
    for _ in range(4):
        assert house.create(submission(parameters__seed=-1)).status_code == 400
        assert house.create(submission(model="no-such-model")).status_code == 400
    assert [house.create().status_code for _ in range(3)] == [200, 200, 429]


def test_keys_of_one_account_share_its_limits_and_other_accounts_have_their_own(open_house: Open) -> None:
    house = open_house(limits="cloud")
    _, second = house.run(house.front.keys.create("mine"))
    assert [house.create(key=key).status_code for key in ("mine", second, "mine")] == [200, 200, 429]
    assert house.create(key=house.other_key).status_code == 200


def test_a_full_queue_takes_nothing_more_until_something_starts(open_house: Open) -> None:
    house = open_house(account_limits={"mine": {"waiting": 2}})
    first = house.created()
    house.created()
    answer = house.create()
    refused(answer, "Throttling.AllocationQuota", QUOTA)
    assert "2 tasks of wan2.2-kf2v-flash may wait" in answer.json()["message"]
    assert house.create(submission(model=PLUS, parameters__resolution="720P")).status_code == 200
    assert house.create(key=house.other_key).status_code == 200
    house.start(first)
    assert house.create().status_code == 200


def test_a_refused_submission_leaves_no_frames_behind(open_house: Open) -> None:
    house = open_house(account_limits={"mine": {"waiting": 1}})
    house.created(with_pictures())
    kept = kept_frames(house)
    assert len(kept) == 2
    assert house.create(with_pictures()).status_code == 429
    assert kept_frames(house) == kept


@pytest.mark.parametrize("last", ["data:image/png;base64,A", "oss://nobody/ever/uploaded.png"])
def test_a_submission_with_one_bad_frame_leaves_the_good_one_nowhere(house: House, last: str) -> None:
    body = with_pictures()
    body["input"]["last_frame_url"] = last
    assert house.create(body).status_code == 400
    assert kept_frames(house) == []


def test_a_spent_budget_ends_with_the_day(open_house: Open) -> None:
    """Five seconds of 480P cost 0.50 CNY in Beijing, by which a deployment of all regions goes."""
    house = open_house(account_limits={"mine": {"spend_per_day": "0.99"}})
    house.finish(house.created(with_pictures()))
    kept = kept_frames(house)
    answer = house.create(with_pictures())
    refused(answer, "Throttling.AllocationQuota", QUOTA)
    assert kept_frames(house) == kept
    house.clock.advance(int(answer.headers["retry-after"]) * 1_000 - 1_000)
    assert house.create().status_code == 429
    house.clock.advance(1_000)
    assert house.create().status_code == 200


def test_no_more_run_at_once_than_may_and_an_end_makes_room(open_house: Open) -> None:
    house = open_house(account_limits={"mine": {"running": 1}})
    first, second = house.created(), house.created()
    attempt = house.start(first)

    async def wait_for_work() -> Any:
        waiting = asyncio.create_task(house.front.desk.claim("other", engines=frozenset({"still"})))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        from orders import FAILED

        await house.front.desk.settle(first, attempt, FAILED)
        async with asyncio.timeout(2):  # less than an idle claim's patience
            return await waiting

    assert house.run(wait_for_work()).task_id == second


def test_other_calls_are_never_throttled(open_house: Open) -> None:
    house = open_house(limits="cloud")
    task_id = house.created()
    house.created()
    assert house.create().status_code == 429
    calls = [("GET", f"/api/v1/tasks/{task_id}"), ("GET", "/api/v1/tasks"), ("GET", "/api/v1/models/limits")]
    for method, path in calls * 100:
        assert house.call(method, path).status_code == 200
    assert house.call("POST", f"/api/v1/tasks/{task_id}/cancel").status_code == 200


def test_who_would_rather_wait_is_kept_waiting(open_house: Open) -> None:
    house = open_house(limits="cloud")
    assert [house.create(headers={"X-DashScope-Wait-Timeout": "3"}).status_code for _ in range(5)] == [200] * 5


@pytest.mark.parametrize("seconds", ["", "2", "121", "3.5", "-3", "soon", "9" * 30, "３"])
def test_a_wait_that_cannot_be_had_is_told(house: House, seconds: str) -> None:
    answer = house.create(headers={"X-DashScope-Wait-Timeout": seconds.encode()})
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
    assert "a whole number of seconds from 3 to 120: X-DashScope-Wait-Timeout" in answer.json()["message"]


# --- limits to read


def test_limits_read_in_the_vendors_shape(open_house: Open) -> None:
    house = open_house(limits="cloud", account_limits={"mine": {"running": 5, "spend_per_day": "12.50"}})
    output = house.call("GET", f"/api/v1/models/limits?model={PLUS}").json()["output"]
    assert output == {
        "total": 1,
        "page_no": 1,
        "page_size": 10,
        "quotas": [
            {
                "model": PLUS,
                "workspace_id": None,
                "model_limit": {
                    "request_limit": 1,
                    "request_limit_period": 1,
                    "async_user_queue_limit": 500,
                    "async_user_concurrency_limit": 5,
                    "spend_limit_per_day": None,
                    "spend_limit_per_month": None,
                    "currency": "CNY",
                },
                "workspace_limit": None,
            }
        ],
        "account_limit": {"spend_limit_per_day": "12.50", "spend_limit_per_month": None, "currency": "CNY"},
    }


def test_limits_are_the_callers_own_of_every_model_in_pages(open_house: Open) -> None:
    house = open_house(account_limits={"mine": {"waiting": 3}})
    mine, theirs = (house.call("GET", "/api/v1/models/limits", key=key).json() for key in ("mine", house.other_key))
    assert [row["model_limit"]["async_user_queue_limit"] for row in mine["output"]["quotas"]] == [3, 3, 3]
    assert [row["model_limit"]["async_user_queue_limit"] for row in theirs["output"]["quotas"]] == [100_000] * 3
    page = house.call("GET", "/api/v1/models/limits?page_no=2&page_size=2").json()["output"]
    assert (page["total"], [row["model"] for row in page["quotas"]]) == (3, ["wanx2.1-kf2v-plus"])


def test_limits_of_a_model_that_is_not_there_are_refused(house: House) -> None:
    answer = house.call("GET", "/api/v1/models/limits?model=wan9")
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
    assert answer.json()["message"].startswith("Model not exist.")
    assert house.call("GET", "/api/v1/models/limits", key=None).status_code == 401


# --- words that count once


def once(word: str = "order-1", **headers: str) -> dict[str, str]:
    return {"Idempotency-Key": word, **headers}


def test_the_same_words_are_the_same_task(house: House) -> None:
    first, second = (house.create(headers=once()) for _ in range(2))
    assert first.json()["output"] == second.json()["output"]
    assert first.json()["request_id"] != second.json()["request_id"]
    assert all_tasks(house) == 1


def test_a_body_that_says_the_same_in_other_words_is_the_same(house: House) -> None:
    spaced = b"""{ "parameters": {"prompt_extend": true, "resolution": "480P"}, "ignored": 1, "input": {"prompt":
    "the camera r\\u0069ses", "last_frame_url": "https://example.com/last.png",
    "first_frame_url": "https://example.com/first.png"}, "model": "wan2.2-kf2v-flash"}"""
    assert house.created(headers=once()) == house.created(content=spaced, headers=once())
    other_path = "/api/v1/services/aigc/video-generation/video-synthesis"
    assert house.created(headers=once()) == house.created(path=other_path, headers=once())


@pytest.mark.parametrize(
    "changed",
    [
        {"body": submission(parameters__seed=1)},
        {"body": submission(input__prompt="the camera falls")},
        {"body": submission(input__prompt="x" * 800 + "beyond what is read")},
        {"headers": {"X-DashScope-WorkSpace": "ws-1"}},
    ],
)
def test_another_request_under_the_same_word_is_a_conflict(house: House, changed: dict[str, Any]) -> None:
    body = submission(input__prompt="x" * 800) if "x" in str(changed) else None
    task_id = house.created(body, headers=once())
    answer = house.create(changed.get("body", body), headers=once() | changed.get("headers", {}))
    assert answer.status_code == 409
    assert answer.json()["code"] == "IdempotencyConflict"
    assert set(answer.json()) == {"code", "message", "request_id"}
    assert all_tasks(house) == 1
    assert house.created(body, headers=once()) == task_id


def test_words_belong_to_accounts(house: House) -> None:
    assert house.created(headers=once()) != house.created(headers=once(), key=house.other_key)


def test_a_word_counts_for_24_hours_whatever_became_of_its_task(open_house: Open) -> None:
    house = open_house(retention_hours=1)
    task_id = house.created(headers=once())
    house.finish(task_id)
    house.clock.advance(24 * 3_600_000)
    house.run(house.store.forget(ended_before=house.clock.now(), limit=9))
    assert house.created(headers=once()) == task_id
    assert house.query(task_id)["output"]["task_status"] == "UNKNOWN"
    house.clock.advance(1)
    assert house.created(headers=once()) != task_id


def test_a_repetition_counts_for_nothing_and_passes_every_limit(open_house: Open) -> None:
    house = open_house(limits="cloud", account_limits={"mine": {"waiting": 1}})
    task_id = house.created(with_pictures(), headers=once())
    kept = kept_frames(house)
    for _ in range(5):
        assert house.created(with_pictures(), headers=once()) == task_id
    assert kept_frames(house) == kept
    assert house.create().json()["code"] == "Throttling.AllocationQuota"
    assert house.create().json()["code"] == "Throttling.AllocationQuota"


def test_a_refused_submission_may_be_mended_under_the_same_word(house: House) -> None:
    assert house.create(submission(parameters__seed=-1), headers=once()).status_code == 400
    assert house.create(headers=once()).status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"limits": "own"},
        {"limits": "cloud"},
        {"account_limits": {"mine": {"waiting": 1}}},
        {"account_limits": {"mine": {"per_second": 1, "waiting": 1}}},
        {"account_limits": {"mine": {"spend_per_day": "0.99"}}},
    ],
)
def test_many_at_once_under_one_word_are_one_task(open_house: Open, settings: dict[str, Any]) -> None:
    house = open_house(**settings)
    headers = {
        "Authorization": f"Bearer {house.key}",
        "X-DashScope-Async": "enable",
        **once(),
    }

    async def at_once() -> list[httpx2.Response]:
        path = "/api/v1/services/aigc/image2video/video-synthesis"
        body = with_pictures()
        return await asyncio.gather(*(house.client.post(path, json=body, headers=headers) for _ in range(20)))

    answers = house.run(at_once())
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert len({answer.json()["output"]["task_id"] for answer in answers}) == 1
    assert all_tasks(house) == 1
    assert len(kept_frames(house)) == 2


def test_words_that_differ_in_their_last_byte_are_two_whatever_that_is(house: House) -> None:
    words = [
        "caf\u00e0",
        "caf\u00c5",
        "caf",
    ]  # as UTF-8, the first ends in what Latin-1 calls a blank, the second in a line end
    assert len({house.created(headers={b"Idempotency-Key": word.encode()}) for word in words}) == 3


@pytest.mark.parametrize("word", ["", "  ", "x" * 256])
def test_a_word_that_is_none_is_refused(house: House, word: str) -> None:
    answer = house.create(headers=once(word))
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
    assert "1 to 255 characters: Idempotency-Key" in answer.json()["message"]
    assert all_tasks(house) == 0


def test_the_longest_word_is_one(house: House) -> None:
    assert house.created(headers=once("x" * 255)) == house.created(headers=once("x" * 255))


def test_old_words_are_swept(house: House) -> None:
    from kf2v.server.sweeper import Sweeper
    from kf2v.tasks.retention import Retention

    task_id = house.created(headers=once())
    sweeper = Sweeper(store=house.store, blobs=house.blobs, clock=house.clock, retention=Retention(task=1, upload=1))
    house.run(sweeper.sweep())
    assert house.run(house.store.once("mine", "order-1", since=0)) is not None
    house.clock.advance(24 * 3_600_000)
    house.run(sweeper.sweep())
    assert house.run(house.store.once("mine", "order-1", since=0)) is None
    assert house.query(task_id)["output"]["task_status"] == "PENDING"


# --- priorities


def test_a_task_has_the_priority_of_its_key(house: House) -> None:
    house.run(house.front.keys.ensure("sk-urgent", "mine", Rights(priority=5)))
    slow = house.created()
    urgent = house.created(key="sk-urgent")
    stored = house.run(house.store.get(urgent))
    assert stored is not None
    assert stored.priority == 5
    house.start(urgent)
    assert house.run(house.store.counts()) == {State.PENDING: 1, State.RUNNING: 1}
    assert house.query(slow)["output"]["task_status"] == "PENDING"


# --- not now


def test_whatever_says_not_now_says_when_to_ask_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Java SDK asks again at once after a bare 503, thousands of times a second."""

    async def ailing(*_: object, **__: object) -> None:
        raise Unavailable

    for method in ("get", "find", "cancel", "insert"):
        monkeypatch.setattr(house.store, method, ailing)
    for answer in (
        house.create(),
        house.call("GET", "/api/v1/tasks/some-id"),
        house.call("GET", "/api/v1/tasks"),
        house.call("POST", "/api/v1/tasks/some-id/cancel"),
    ):
        assert answer.status_code == 503
        assert set(answer.json()) == {"code", "message", "request_id"}
        assert int(answer.headers["retry-after"]) >= 1

"""GET /tasks/{id}, GET /tasks and POST /tasks/{id}/cancel, seen from outside."""

import re
from typing import Any

import pytest

from house import House, Open, submission
from kf2v.clock import HOUR, MINUTE, SECOND
from kf2v.wire.v1 import times

TIME = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d{3}")


def output(house: House, task_id: str) -> dict[str, Any]:
    return house.query(task_id)["output"]


def test_each_state_shows_its_own_members(house: House) -> None:
    waiting, working, done, broken, called_off = (house.created() for _ in range(5))
    house.call("POST", f"/api/v1/tasks/{called_off}/cancel")
    assert set(output(house, waiting)) == {"task_id", "task_status", "submit_time"}
    assert set(output(house, called_off)) == {"task_id", "task_status", "submit_time", "end_time"}
    house.start(waiting)
    house.start(working)
    house.finish(done, actual_prompt="the camera rises, slowly")
    house.fail(broken)
    assert set(output(house, working)) == {"task_id", "task_status", "submit_time", "scheduled_time"}
    assert list(output(house, done)) == [
        "task_id",
        "task_status",
        "submit_time",
        "scheduled_time",
        "end_time",
        "video_url",
        "orig_prompt",
        "actual_prompt",
    ]
    shown = output(house, broken)
    assert set(shown) == {"task_id", "task_status", "submit_time", "scheduled_time", "end_time", "code", "message"}
    assert (shown["code"], shown["message"]) == ("InvalidURL", "no such picture")
    statuses = [output(house, task)["task_status"] for task in (waiting, working, done, broken, called_off)]
    assert statuses == ["RUNNING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED"]


def test_actual_prompt_is_absent_without_rewriting(house: House) -> None:
    task_id = house.created()
    house.finish(task_id, actual_prompt=None)
    assert "actual_prompt" not in output(house, task_id)
    assert output(house, task_id)["orig_prompt"] == "the camera rises"


def test_usage_is_there_on_success_only_and_not_in_output(house: House) -> None:
    task_id = house.created()
    assert "usage" not in house.query(task_id)
    house.finish(task_id)
    assert house.query(task_id)["usage"] == {"video_duration": 5, "video_count": 1, "SR": 720}


def test_times_are_utc_plus_8_with_milliseconds(house: House) -> None:
    task_id = house.created()
    house.clock.advance(1234)
    house.finish(task_id)
    shown = output(house, task_id)
    for name in ("submit_time", "scheduled_time", "end_time"):
        assert TIME.fullmatch(shown[name])
    assert shown["submit_time"] == times.render(1_760_000_000_000) == "2025-10-09 16:53:20.000"
    assert shown["end_time"].endswith(".234")


def test_a_requeued_task_still_shows_running(house: House) -> None:
    task_id = house.created()
    house.start(task_id)
    house.lose_worker()
    assert output(house, task_id)["task_status"] == "RUNNING"


@pytest.mark.parametrize(
    "task_id", ["0385dc79-5ff8-4d82-bcb6-abcdefabcdef", "1111", "a.b", "%00", "'; drop table task", "猫", "a" * 500]
)
def test_an_unknown_or_malformed_id_is_unknown_and_200(house: House, task_id: str) -> None:
    shown = house.query(task_id)["output"]
    assert shown["task_status"] == "UNKNOWN"
    assert set(shown) == {"task_id", "task_status"}


def test_the_unknown_id_is_echoed(house: House) -> None:
    assert house.query("502a00b1")["output"]["task_id"] == "502a00b1"


def test_a_foreign_task_is_unknown_and_a_second_key_of_the_account_sees_it(house: House) -> None:
    task_id = house.created()
    assert house.query(task_id, key=house.other_key)["output"] == {"task_id": task_id, "task_status": "UNKNOWN"}
    _, second = house.run(house.front.keys.create("mine"))
    assert house.query(task_id, key=second)["output"]["task_status"] == "PENDING"


def test_a_task_is_forgotten_24_hours_after_its_end_to_the_millisecond(house: House) -> None:
    task_id = house.created()
    house.clock.advance(30 * HOUR)
    assert output(house, task_id)["task_status"] == "PENDING"
    house.finish(task_id)
    house.clock.advance(24 * HOUR - 1)
    assert output(house, task_id)["task_status"] == "SUCCEEDED"
    house.clock.advance(1)
    assert output(house, task_id) == {"task_id": task_id, "task_status": "UNKNOWN"}


def test_retention_is_a_setting(open_house: Open) -> None:
    house = open_house(retention_hours=1)
    task_id = house.created()
    house.finish(task_id)
    house.clock.advance(HOUR)
    assert output(house, task_id)["task_status"] == "UNKNOWN"


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_pending_task_can_be_cancelled(house: House, slash: str, method: str) -> None:
    task_id = house.created()
    answer = house.call(method, f"/api/v1/tasks/{task_id}/cancel{slash}")
    assert answer.status_code == 200
    assert set(answer.json()) == {"request_id"}
    assert output(house, task_id)["task_status"] == "CANCELED"


@pytest.mark.parametrize("state", ["RUNNING", "SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN", "FOREIGN", "REQUEUED"])
def test_anything_else_can_not_be_cancelled(house: House, state: str) -> None:
    task_id = "nobody" if state == "UNKNOWN" else house.created()
    if state in ("RUNNING", "REQUEUED"):
        house.start(task_id)
    if state == "REQUEUED":
        house.lose_worker()
    if state == "SUCCEEDED":
        house.finish(task_id)
    if state == "FAILED":
        house.fail(task_id)
    if state == "CANCELED":
        house.call("POST", f"/api/v1/tasks/{task_id}/cancel")
    key = house.other_key if state == "FOREIGN" else "mine"
    before = house.query(task_id)["output"]
    answer = house.call("POST", f"/api/v1/tasks/{task_id}/cancel", key=key)
    assert answer.status_code == 400
    body = answer.json()
    assert body["code"] == "UnsupportedOperation"
    assert body["message"] == "Failed to cancel the task, please confirm if the task is in PENDING status."
    assert house.query(task_id)["output"] == before


def test_a_cancel_may_carry_a_body(house: House) -> None:
    body = {"model": "", "parameters": {}, "input": ""}
    assert house.call("POST", f"/api/v1/tasks/{house.created()}/cancel/", json=body).status_code == 200


def listed(house: House, query: str = "", **request: Any) -> dict[str, Any]:
    answer = house.call("GET", f"/api/v1/tasks{query}", **request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_list_has_rows_in_epoch_milliseconds_newest_first(house: House) -> None:
    first = house.created()
    house.clock.advance(SECOND)
    second = house.created()
    house.finish(first)
    page = listed(house)
    assert {name: page[name] for name in ("total", "total_page", "page_no", "page_size")} == {
        "total": 2,
        "total_page": 1,
        "page_no": 1,
        "page_size": 10,
    }
    assert [row["task_id"] for row in page["data"]] == [second, first]
    waiting, done = page["data"]
    assert "start_time" not in waiting
    assert "end_time" not in waiting
    assert all(isinstance(done[name], int) for name in ("gmt_create", "start_time", "end_time"))
    assert done["user_api_unique_key"] == "apikey:v1:aigc:image2video:video-synthesis:wan2.2-kf2v-flash"
    assert done["status"] == "SUCCEEDED"
    assert "output" not in page


@pytest.mark.parametrize("path", ["?page_no=1&page_size=2", "/?page_no=1&page_size=2"])
def test_both_slash_forms_list(house: House, path: str) -> None:
    for _ in range(3):
        house.created()
    page = listed(house, path)
    assert (page["total"], page["total_page"], len(page["data"])) == (3, 2, 2)


def test_pages_follow_each_other_without_gap_or_repeat(house: House) -> None:
    made = {house.created() for _ in range(7)}
    seen = [row["task_id"] for no in (1, 2, 3, 4) for row in listed(house, f"?page_no={no}&page_size=2")["data"]]
    assert len(seen) == 7
    assert set(seen) == made


def test_the_list_can_be_filtered(house: House) -> None:
    flash, plus = house.created(), house.created(submission(model="wan2.1-kf2v-plus", parameters={}))
    house.start(flash)
    assert [row["task_id"] for row in listed(house, "?model_name=wan2.1-kf2v-plus")["data"]] == [plus]
    assert [row["task_id"] for row in listed(house, "?status=RUNNING")["data"]] == [flash]
    assert [row["task_id"] for row in listed(house, f"?task_id={plus}")["data"]] == [plus]
    assert listed(house, "?model_name=no-such-kf2v-model")["data"] == []
    key_id = listed(house)["data"][0]["api_key_id"]
    assert listed(house, f"?api_key_id={key_id}")["total"] == 2
    assert listed(house, "?api_key_id=other")["total"] == 0
    assert listed(house, "?region=local")["total"] == 2
    assert listed(house, "?region=cn-beijing")["total"] == 0
    assert listed(house, "?surprise=1")["total"] == 2


def test_a_requeued_task_lists_under_running(house: House) -> None:
    task_id = house.created()
    house.start(task_id)
    house.lose_worker()
    assert [row["status"] for row in listed(house, "?status=RUNNING")["data"]] == ["RUNNING"]
    assert listed(house, "?status=PENDING")["data"] == []


def test_nobody_lists_what_is_somebody_elses(house: House) -> None:
    task_id = house.created()
    assert listed(house, key=house.other_key)["total"] == 0
    assert listed(house, f"?task_id={task_id}", key=house.other_key)["total"] == 0


def test_without_bounds_the_last_24_hours_are_listed(house: House) -> None:
    old = house.created()
    house.clock.advance(25 * HOUR)
    new = house.created()
    assert [row["task_id"] for row in listed(house)["data"]] == [new]
    assert [row["task_id"] for row in listed(house, f"?task_id={old}")["data"]] == [old]


@pytest.mark.parametrize("render", [times.render_compact, str])
def test_bounds_come_in_two_spellings_and_one_alone_means_24_hours(house: House, render: Any) -> None:
    start = house.clock.now()
    old = house.created()
    house.clock.advance(23 * HOUR)
    new = house.created()
    noon = start + 12 * HOUR
    both = {row["task_id"] for row in listed(house, f"?start_time={render(start)}")["data"]}
    assert both == {old, new}
    assert [row["task_id"] for row in listed(house, f"?end_time={render(noon)}")["data"]] == [old]
    span = f"?start_time={render(noon)}&end_time={render(noon + 12 * HOUR)}"
    assert [row["task_id"] for row in listed(house, span)["data"]] == [new]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?page_no=0", ["page_no", "0"]),
        ("?page_no=x", ["page_no"]),
        ("?page_size=-1", ["page_size"]),
        ("?page_size=100000", ["page_size"]),
        ("?status=DONE", ["status", "DONE", "SUCCEEDED"]),
        ("?start_time=yesterday", ["start_time", "yesterday"]),
        ("?start_time=20261399000000", ["start_time"]),
        ("?end_time=99999999999999999999", ["end_time"]),
        ("?start_time=20260101000000&end_time=20270101000000", ["24 hours"]),
        ("?start_time=20260102000000&end_time=20260101000000", ["end_time", "start_time"]),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(house: House, query: str, words: list[str]) -> None:
    answer = house.call("GET", f"/api/v1/tasks{query}")
    assert answer.status_code == 400
    assert answer.json()["code"] == "InvalidParameter"
    for word in words:
        assert word in answer.json()["message"]


def test_a_list_says_nothing_with_null(house: House) -> None:
    house.finish(house.created())
    house.created()
    assert "null" not in house.call("GET", "/api/v1/tasks").text


def test_an_end_given_to_the_second_means_all_of_that_second(house: House) -> None:
    house.clock.advance(700)
    task_id = house.created()
    end = times.render_compact(house.clock.now())
    assert [row["task_id"] for row in listed(house, f"?end_time={end}")["data"]] == [task_id]


def test_head_cancels_nothing(house: House) -> None:
    task_id = house.created()
    assert house.call("HEAD", f"/api/v1/tasks/{task_id}/cancel").status_code == 405
    assert output(house, task_id)["task_status"] == "PENDING"


def test_forgotten_tasks_are_not_listed(house: House) -> None:
    task_id = house.created()
    house.finish(task_id)
    house.clock.advance(24 * HOUR)
    assert listed(house, f"?task_id={task_id}")["data"] == []


def test_a_poll_changes_nothing(house: House) -> None:
    task_id = house.created()
    house.clock.advance(5 * MINUTE)
    assert output(house, task_id) == output(house, task_id)


@pytest.mark.parametrize("path", ["/api/v1/tasks", "/api/v1/tasks/some-id"])
def test_a_poll_asks_for_a_key(house: House, path: str) -> None:
    assert house.call("GET", path, key=None).json()["message"] == "No API-key provided."
    assert house.call("GET", path, key="sk-nobody").json()["message"] == "Invalid API-key provided."

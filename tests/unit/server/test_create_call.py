"""POST …/video-synthesis, seen from outside."""

import base64
import errno
import json
import re
from typing import Any

import pytest

from house import CREATE, House, Open, picture, submission

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OTHER_PATH = "/api/v1/services/aigc/video-generation/video-synthesis"


def refused(answer: Any, status: int, code: str, *words: str) -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"code", "message", "request_id"}
    assert body["code"] == code
    assert body["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["content-type"].startswith("application/json")
    for word in words:
        assert word in body["message"]


def test_a_submission_is_answered_with_a_pending_task_and_nothing_else(house: House) -> None:
    answer = house.create()
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"output", "request_id"}
    assert set(body["output"]) == {"task_id", "task_status"}
    assert body["output"]["task_status"] == "PENDING"
    assert UUID.fullmatch(body["output"]["task_id"])
    assert body["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("path", [CREATE, CREATE + "/", OTHER_PATH, OTHER_PATH + "/"])
def test_both_paths_and_both_slash_forms_are_the_same_call(house: House, path: str) -> None:
    assert house.create(path=path).status_code == 200


def test_a_task_is_readable_the_moment_its_creation_is_answered(house: House) -> None:
    assert house.query(house.created())["output"]["task_status"] == "PENDING"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "   "])
def test_no_key_is_told_apart_from_a_wrong_one(house: House, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    refused(house.create(key=None, headers=headers), 401, "InvalidApiKey", "No API-key provided.")


@pytest.mark.parametrize("key", ["sk-nobody", "sk-" + "0" * 32, "ключ".encode().decode("latin-1")])
def test_a_wrong_key_is_refused(house: House, key: str) -> None:
    refused(house.create(key=key), 401, "InvalidApiKey", "Invalid API-key provided.")


def test_a_revoked_key_is_a_wrong_key(house: House) -> None:
    key = next(key for key in house.run(house.front.keys.list()) if key.account == "mine")
    assert house.run(house.front.keys.revoke(key.id))
    refused(house.create(), 401, "InvalidApiKey", "Invalid API-key provided.")


def test_the_key_is_asked_for_before_anything_else(house: House) -> None:
    refused(house.call("POST", CREATE, key="sk-nobody", content=b"{"), 401, "InvalidApiKey")


@pytest.mark.parametrize("headers", [{}, {"X-DashScope-Async": "disable"}])
def test_a_synchronous_call_is_refused_in_the_vendors_words(house: House, headers: dict[str, str]) -> None:
    answer = house.call("POST", CREATE, headers=headers, json=submission())
    refused(answer, 403, "AccessDenied")
    assert answer.json()["message"] == "current user api does not support synchronous calls."


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"model": "\xd6\xd0"}', b"[" * 100_000, b'{"a":NaN}']
)
def test_what_is_no_json_object_is_refused(house: House, body: bytes) -> None:
    refused(
        house.create(content=body),
        400,
        "InvalidParameter",
        "Required body invalid, please check the request body format.",
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "wan9"}, ["Model not exist.", "wan9", "wan2.2-kf2v-flash"]),
        ({"model": ...}, ["model"]),
        ({"model": 7}, ["model", "7", "string"]),
        ({"input": ...}, ["input"]),
        ({"input": []}, ["input", "object"]),
        ({"parameters": "480P"}, ["parameters", "object", "480P"]),
        ({"input__first_frame_url": ...}, ["first_frame_url", "missing"]),
        ({"input__last_frame_url": ...}, ["last_frame_url", "missing"]),
        ({"input__last_frame_url": ""}, ["last_frame_url", "missing"]),
        ({"input__last_frame_url": None}, ["last_frame_url", "missing"]),
        ({"input__last_frame_url": 5}, ["last_frame_url", "5"]),
        ({"input__first_frame_url": "ftp://example.com/a.png"}, ["first_frame_url", "ftp://example.com/a.png"]),
        ({"input__first_frame_url": "./first.png"}, ["first_frame_url", "./first.png"]),
        ({"input__first_frame_url": "http://"}, ["first_frame_url"]),
        ({"input__first_frame_url": "http://exa mple.com/a"}, ["first_frame_url"]),
        ({"input__first_frame_url": "file:///etc/passwd"}, ["first_frame_url"]),
        ({"input__first_frame_url": "data:image/png,notbase64"}, ["first_frame_url", "base64"]),
        ({"input__first_frame_url": "data:text/plain;base64,aGFsbG8="}, ["first_frame_url", "text/plain"]),
        ({"input__first_frame_url": "data:image/png;base64,@@@@"}, ["first_frame_url", "base64"]),
        ({"input__first_frame_url": "data:image/png;base64,"}, ["first_frame_url"]),
        ({"input__first_frame_url": "oss://"}, ["first_frame_url"]),
        ({"input__first_frame_url": "oss://nobody/knows.png"}, ["first_frame_url", "oss://nobody/knows.png"]),
        ({"input__prompt": 5}, ["input.prompt", "5", "string"]),
        ({"input__negative_prompt": ["people"]}, ["input.negative_prompt", "people"]),
        ({"parameters__resolution": "4K"}, ["parameters.resolution", "4K", "480P", "720P", "1080P"]),
        ({"parameters__resolution": 720}, ["parameters.resolution", "720"]),
        ({"model": "wan2.1-kf2v-plus", "parameters__resolution": "480P"}, ["parameters.resolution", "480P", "720P"]),
        ({"parameters__duration": 10}, ["parameters.duration", "10", "5"]),
        ({"parameters__duration": "5"}, ["parameters.duration", '"5"']),
        ({"parameters__seed": -1}, ["parameters.seed", "-1", "0", "2147483647"]),
        ({"parameters__seed": 2**31}, ["parameters.seed", "2147483648"]),
        ({"parameters__seed": "12"}, ["parameters.seed"]),
        ({"parameters__seed": True}, ["parameters.seed", "true"]),
        ({"parameters__seed": 1.5}, ["parameters.seed", "1.5"]),
        ({"parameters__seed": 1e300}, ["parameters.seed"]),
        ({"parameters__prompt_extend": "true"}, ["parameters.prompt_extend", '"true"', "true or false"]),
        ({"parameters__watermark": 1}, ["parameters.watermark", "1"]),
    ],
)
def test_a_cheap_mistake_is_told_at_once_with_field_value_and_choice(
    house: House, changes: dict[str, Any], words: list[str]
) -> None:
    refused(house.create(submission(**changes)), 400, "InvalidParameter", *words)
    assert house.run(house.store.counts()) == {} or not any(house.run(house.store.counts()).values())


@pytest.mark.parametrize(
    "changes",
    [
        {"input__prompt": ...},
        {"input__prompt": None},
        {"input__prompt": ""},
        {"parameters": ...},
        {"parameters": None},
        {"parameters": {}},
        {"parameters__seed": None},
        {"parameters__seed": 0},
        {"parameters__seed": 2**31 - 1},
        {"parameters__duration": 5},
        {"parameters__duration": 5.0},
        {"parameters__with_audio": False},
        {"parameters__size": "1280*720"},
        {"parameters__wait_timeout": 60},
        {"input__extend_prompt": True},
        {"input__function": "video-synthesis"},
        {"input__template": "flying", "input__img_url": "x"},
        {"surprise": {"nested": [1, 2]}},
        {"model": "wan2.1-kf2v-plus", "parameters": {}},
        {"model": "wanx2.1-kf2v-plus", "parameters": {"resolution": "720P"}},
        {"parameters__resolution": "1080P"},
        {"input__first_frame_url": "HTTP://EXAMPLE.com:8080/a.png?x=1#y"},
    ],
)
def test_what_the_sdks_send_is_taken(house: House, changes: dict[str, Any]) -> None:
    assert house.create(submission(**changes)).status_code == 200


def job_of(house: House, task_id: str) -> Any:
    task = house.run(house.store.get(task_id))
    assert task is not None
    return task.job


def test_only_parameters_prompt_extend_counts(house: House) -> None:
    body = submission(input__extend_prompt=True, input__prompt_extend=True, parameters__prompt_extend=False)
    assert job_of(house, house.created(body)).prompt_extend is False
    assert job_of(house, house.created(submission(input__extend_prompt=False, parameters=...))).prompt_extend is True


def test_the_legacy_names_stand_in_for_the_frames(house: House) -> None:
    frames = {"head_frame": "https://example.com/head.png", "tail_frame": "https://example.com/tail.png"}
    job = job_of(house, house.created(submission(input=frames)))
    assert (job.first.place, job.last.place) == tuple(frames.values())


def test_the_present_names_win_over_the_legacy_ones(house: House) -> None:
    job = job_of(house, house.created(submission(input__head_frame="https://example.com/old.png")))
    assert job.first.place == "https://example.com/first.png"


def test_prompts_are_cut_not_refused(house: House) -> None:
    body = submission(input__prompt="猫" * 801, input__negative_prompt="😀" * 501)
    job = job_of(house, house.created(body))
    assert job.prompt == "猫" * 800
    assert job.negative_prompt == "😀" * 500


def test_the_default_resolution_is_720p(house: House) -> None:
    job = job_of(house, house.created(submission(parameters={})))
    assert (job.resolution, job.area) == ("720P", 1280 * 720)


def test_a_seed_is_drawn_when_none_is_given_and_kept_when_one_is(house: House) -> None:
    drawn = {job_of(house, house.created(submission(parameters={}))).seed for _ in range(4)}
    assert len(drawn) > 1
    assert all(0 <= seed <= 2_147_483_647 for seed in drawn)
    assert job_of(house, house.created(submission(parameters__seed=12345))).seed == 12345


@pytest.mark.parametrize("spelled", ["data:image/png;base64,", "DATA:image/PNG;charset=utf-8;base64,", "data:;base64,"])
def test_a_data_uri_becomes_a_kept_frame(house: House, spelled: str) -> None:
    data = picture()
    uri = spelled + base64.b64encode(data).decode()
    job = job_of(house, house.created(submission(input__first_frame_url=uri)))
    assert job.first.kind == "blob"
    assert house.blobs.read(job.first.place) == data


def test_a_data_uri_over_ten_megabytes_is_refused(house: House) -> None:
    uri = "data:image/png;base64," + base64.b64encode(b"x" * (10 * 1024 * 1024 + 1)).decode()
    refused(house.create(submission(input__first_frame_url=uri)), 400, "InvalidParameter", "Exceeded limit")


def test_a_body_beyond_all_measure_is_413(house: House) -> None:
    body = json.dumps(submission(input__prompt="x" * (31 * 1024 * 1024))).encode()
    refused(house.create(content=body), 413, "BadRequest.TooLarge", "Payload Too Large.")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/json;charset=UTF-8", "text/plain"])
def test_any_suffix_of_the_content_type_will_do(house: House, kind: str) -> None:
    body = json.dumps(submission(), ensure_ascii=False).encode()
    assert house.create(content=body, headers={"Content-Type": kind}).status_code == 200


def test_a_byte_order_mark_before_the_body_is_no_mistake(house: House) -> None:
    assert house.create(content=b"\xef\xbb\xbf" + json.dumps(submission()).encode()).status_code == 200


def test_cloud_validation_takes_mistakes_and_fails_the_task(open_house: Open) -> None:
    house = open_house(validation="cloud")
    task_id = house.created(submission(parameters__seed=-1))
    task = house.run(house.store.get(task_id))
    assert task is not None
    assert task.flaw is not None
    assert task.flaw.code == "InvalidParameter"
    assert "parameters.seed" in task.flaw.message
    refused(house.create(submission(model="wan9")), 400, "InvalidParameter", "Model not exist.")


def test_a_region_serves_only_its_own_names(open_house: Open) -> None:
    singapore, beijing = open_house(region="singapore"), open_house(region="beijing")
    assert singapore.create(submission(model="wan2.1-kf2v-plus", parameters={})).status_code == 200
    refused(singapore.create(submission(model="wanx2.1-kf2v-plus")), 400, "InvalidParameter", "Model not exist.")
    assert beijing.create(submission(model="wanx2.1-kf2v-plus", parameters={})).status_code == 200
    refused(beijing.create(submission(model="wan2.1-kf2v-plus")), 400, "InvalidParameter", "Model not exist.")


def test_a_full_disk_refuses_new_tasks_but_not_polls(open_house: Open) -> None:
    house = open_house(min_free_mb=10**12)
    refused(house.create(), 503, "ModelUnavailable", "disk")
    assert house.query("anything")["output"]["task_status"] == "UNKNOWN"


@pytest.mark.parametrize("writes", [0, 1])
def test_frames_that_cannot_be_written_are_refused_until_later(
    house: House, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    put, written = house.blobs.put, list[str]()

    def full(key: str, data: bytes) -> None:
        if len(written) >= writes:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(key)
        put(key, data)

    monkeypatch.setattr(house.blobs, "put", full)
    uri = "data:image/png;base64," + base64.b64encode(picture()).decode()
    answer = house.create(submission(input__first_frame_url=uri, input__last_frame_url=uri))
    refused(answer, 503, "ModelUnavailable", "could not keep")
    assert int(answer.headers["retry-after"]) > 0
    assert list(house.blobs.walk("")) == []

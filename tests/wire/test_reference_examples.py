"""The documents' own examples: requests sent as they stand, answers held against the printed ones, member by member."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from formats import is_link, is_time, is_uuid
from service import CREATE, CREATE_2X, Reply, Service

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
REQUESTS = ("reference-480p", "reference-negative-prompt", "guide-monster", "guide-cat")
#: a query's ``output`` has them in every state where they are known (the reference's list of its properties); the
#: printed example of a failed task leaves them out
TIMES = {"submit_time", "scheduled_time", "end_time"}


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.response.json").read_text(encoding="utf-8"))


def request(name: str, gallery: str) -> str:
    """A printed request body with only the pictures' host replaced."""
    text = (GOLDEN / f"{name}.request.json").read_text(encoding="utf-8")
    for host in ("https://wanx.alicdn.com", "https://help-static-aliyun-doc.aliyuncs.com"):
        text = text.replace(host, gallery)
    return text


def assert_like(came: Any, printed: Any, *, name: str = "", free: Mapping[str, Any] | None = None) -> None:
    """``came`` has the members of ``printed``, no other ones, and values of the same form.

    Ids, times and links are held to their format; every other value has to be the printed one unless ``free`` has
    another for its name (or None for any text).
    """
    free = free or {}
    if isinstance(printed, dict):
        assert isinstance(came, dict), name
        assert set(came) == set(printed), name
        for member, value in printed.items():
            assert_like(came[member], value, name=member, free=free)
    elif name in {"task_id", "request_id"}:
        assert is_uuid(came), (name, came)
    elif name.endswith("_time"):
        assert is_time(came), (name, came)
    elif name == "video_url":
        assert is_link(came), (name, came)
    else:
        wanted = free.get(name, printed)
        assert type(came) is type(printed), (name, came)
        assert came if wanted is None else came == wanted, (name, came)


def assert_told(reply: Reply, status: int) -> None:
    """What is true of every JSON answer."""
    assert reply.status == status, reply.body
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.headers["x-request-id"] == reply.json["request_id"]


def test_golden_files_are_what_was_extracted() -> None:
    listed = dict(reversed(line.split("  ")) for line in (HERE / "SHA256SUMS").read_text().splitlines())
    there = {
        str(path.relative_to(HERE)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("golden", "java")
        for path in sorted((HERE / folder).iterdir())
    }
    assert there == listed


@pytest.mark.parametrize("path", [CREATE, CREATE_2X, CREATE + "/", CREATE_2X + "/"])
@pytest.mark.parametrize("name", REQUESTS)
def test_a_printed_request_is_accepted_on_every_path_as_printed(
    idle_service: Service, gallery: str, name: str, path: str
) -> None:
    reply = idle_service.create(request(name, gallery), path=path)
    assert_told(reply, 200)
    assert_like(reply.json, golden("created"))


def test_a_printed_request_becomes_the_printed_result(service: Service, gallery: str) -> None:
    task_id = service.create(request("reference-480p", gallery)).json["output"]["task_id"]
    ended = service.finish(task_id)
    assert_like(ended, golden("succeeded-2.2"), free={"actual_prompt": None})
    assert ended["output"]["task_id"] == task_id
    assert ended["output"]["submit_time"] <= ended["output"]["scheduled_time"] <= ended["output"]["end_time"]


def test_the_2_1_model_is_counted_by_its_video_ratio(service: Service, gallery: str) -> None:
    task_id = service.create(request("reference-negative-prompt", gallery)).json["output"]["task_id"]
    printed = golden("python-wait")
    for the_sdks_own in ("status_code", "code", "message"):
        del printed[the_sdks_own]
    assert_like(service.finish(task_id), printed, free={"actual_prompt": None})


@pytest.mark.parametrize("name", ["guide-monster", "guide-cat"])
def test_the_guides_requests_end_with_a_720p_video(service: Service, gallery: str, name: str) -> None:
    body = request(name, gallery)
    ended = service.finish(service.create(body).json["output"]["task_id"])
    prompt = json.loads(body)["input"]["prompt"]
    assert_like(ended, golden("succeeded-2.2"), free={"orig_prompt": prompt, "actual_prompt": None, "SR": 720})


def test_actual_prompt_is_absent_where_rewriting_is_off(service: Service, gallery: str) -> None:
    body = json.loads(request("reference-480p", gallery))
    body["parameters"]["prompt_extend"] = False
    printed = golden("succeeded-2.2")
    del printed["output"]["actual_prompt"]
    assert_like(service.finish(service.create(body).json["output"]["task_id"]), printed)


def test_a_waiting_task_shows_when_it_was_submitted_and_no_more(idle_service: Service, gallery: str) -> None:
    task_id = idle_service.create(request("guide-cat", gallery)).json["output"]["task_id"]
    for path in (f"/api/v1/tasks/{task_id}", f"/api/v1/tasks/{task_id}/", f"/api/v1/tasks/{task_id}?resolution=480P"):
        reply = idle_service.get(path)
        assert_told(reply, 200)
        printed = {"request_id": "", "output": {"task_id": "", "task_status": "PENDING", "submit_time": ""}}
        assert_like(reply.json, printed)
        assert reply.json["output"]["task_id"] == task_id


def test_a_failed_task_reads_as_printed(service: Service, gallery: str) -> None:
    body = json.loads(request("reference-480p", gallery))
    body["input"]["last_frame_url"] = f"{gallery}/nothing-here.png"
    ended = service.finish(service.create(body).json["output"]["task_id"])
    assert set(ended["output"]) >= TIMES
    assert all(is_time(ended["output"].pop(name)) for name in TIMES)
    assert_like(ended, golden("failed"), free={"code": None, "message": None})
    assert ended["output"]["code"].startswith("Invalid")


def test_a_task_nobody_knows_reads_as_printed(idle_service: Service) -> None:
    for asked in ("502a00b1-19d9-4839-a82f-000000000000", "1111", "x" * 300, "%E9%A6%96%20%E5%B8%A7", "..%2F..", "%00"):
        reply = idle_service.get(f"/api/v1/tasks/{asked}")
        assert_told(reply, 200)
        assert set(reply.json) == {"request_id", "output"}, asked
        assert set(reply.json["output"]) == {"task_id", "task_status"}
        assert reply.json["output"]["task_status"] == "UNKNOWN"
        if "%" not in asked:
            assert reply.json["output"]["task_id"] == asked


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "bearer  "])
def test_a_call_without_a_key_is_answered_as_printed(
    idle_service: Service, gallery: str, authorization: str | None
) -> None:
    headers = {"Content-Type": "application/json", "X-DashScope-Async": "enable"}
    if authorization is not None:
        headers["Authorization"] = authorization
    body = request("reference-480p", gallery).encode()
    reply = idle_service.request("POST", CREATE, body=body, headers=headers, key=None)
    assert_told(reply, 401)
    assert_like(reply.json, golden("error"))


def test_the_key_is_asked_for_before_the_body_is_looked_at(idle_service: Service) -> None:
    headers = {"Authorization": "Bearer sk-not-a-key"}
    reply = idle_service.request("POST", CREATE, body=b"{", headers=headers, key=None)
    assert_told(reply, 401)
    assert_like(reply.json, golden("error"), free={"message": "Invalid API-key provided."})


def test_a_synchronous_call_is_refused_in_the_references_words(idle_service: Service, gallery: str) -> None:
    reply = idle_service.create(request("reference-480p", gallery), headers={"X-DashScope-Async": "disable"})
    assert_told(reply, 403)
    sentence = "current user api does not support synchronous calls."
    assert_like(reply.json, golden("error"), free={"code": "AccessDenied", "message": sentence})


def test_a_body_that_is_no_json_is_refused_in_the_vendors_words(idle_service: Service) -> None:
    for body in (b"", b"{", b"nonsense", b"[]", b'"text"', b"null", '{"model": "首"}'.encode("gbk"), b"\xff\xfe{}"):
        reply = idle_service.create(body)
        assert_told(reply, 400)
        assert reply.json["code"] == "InvalidParameter"
        assert reply.json["message"].startswith("Required body invalid, please check the request body format."), body
        assert set(reply.json) == {"code", "message", "request_id"}


def test_what_the_sdks_add_is_ignored(idle_service: Service, gallery: str) -> None:
    body = json.loads(request("guide-cat", gallery))
    body["input"] |= {"extend_prompt": True, "function": "video-synthesis", "template": "flying", "prompt": None}
    body["parameters"] |= {"size": "832*480", "with_audio": False, "wait_timeout": None, "my_param": {"deep": [1]}}
    body["unheard_of"] = [{}]
    reply = idle_service.create(
        body,
        headers={
            "Content-Type": "application/json; charset=utf-8",
            "X-DashScope-WorkSpace": "ws-1",
            "X-DashScope-DataInspection": '{"input":"cip","output":"cip"}',
            "X-DashScope-OssResourceResolve": "enable",
            "X-Custom": "1",
        },
    )
    assert_told(reply, 200)
    assert_like(reply.json, golden("created"))


def test_the_older_names_of_the_frames_are_taken_too(idle_service: Service, gallery: str) -> None:
    frames = {"head_frame": f"{gallery}/first_frame.png", "tail_frame": f"{gallery}/last_frame.png"}
    assert_told(idle_service.create({"model": "wanx2.1-kf2v-plus", "input": frames}), 200)
    assert_told(idle_service.create({"model": "wanx2.1-kf2v-plus", "input": {**frames, "tail_frame": ""}}), 400)

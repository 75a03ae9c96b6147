"""What the Java SDK can read: Gson's rules and the SDK's own, for the tests to hold answers against.

Every rule was measured with the real SDK by those who recorded its exchanges; each stands here with what happens to
a Java program where it is broken.
"""

from typing import Any

from formats import is_milliseconds, is_time, is_uuid

STATUSES = {"PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN"}
TEXTS = {
    *("task_id", "task_status", "code", "message", "video_url", "check_audio", "orig_prompt", "actual_prompt"),
    *("submit_time", "scheduled_time", "end_time"),
}
ROW_TEXTS = {
    *("api_key_id", "caller_parent_id", "caller_uid", "model_name", "region", "request_id", "status", "task_id"),
    "user_api_unique_key",
}


def read_envelope(answer: Any) -> None:
    """Any 200."""
    assert isinstance(answer, dict), "a JSON object is expected"
    assert is_uuid(answer.get("request_id")), "request_id null or absent: ApiException(-1)"


def read_task(answer: Any) -> Any:
    """``output`` of a create or fetch answer."""
    read_envelope(answer)
    assert "data" not in answer, "data beside output: output is lost before 2.22.27"
    assert "status_code" not in answer, "overrides the HTTP status in the result"
    assert not {"code", "message"} & set(answer), "a success has no code and no message"
    output = answer.get("output")
    assert isinstance(output, dict), "null: NullPointerException in call and wait; []: ClassCastException"
    assert output.get("task_status") in STATUSES, "absent: wait polls for ever; null: UnsupportedOperationException"
    assert isinstance(output.get("task_id"), str)
    for name in TEXTS & set(output):
        assert isinstance(output[name], str | int | float), f"{name}: JsonSyntaxException for an object or array"
    for name in ("submit_time", "scheduled_time", "end_time"):
        assert name not in output or is_time(output[name])
    if "usage" in answer:
        usage = answer["usage"]
        assert isinstance(usage, dict), "ApiException(-1)"
        assert type(usage["video_count"]) is int
        assert type(usage["video_duration"]) is int
        assert isinstance(usage.get("SR", 0), int)
        assert isinstance(usage.get("video_ratio", ""), str)
    return output


def read_list(answer: Any) -> list[Any]:
    """The rows of a list answer."""
    read_envelope(answer)
    assert "output" not in answer
    for name in ("total", "total_page", "page_no", "page_size"):
        assert type(answer[name]) is int, name
    rows = answer["data"]
    assert isinstance(rows, list)
    for row in rows:
        assert set(row) >= ROW_TEXTS
        assert all(isinstance(row[name], str) for name in ROW_TEXTS)
        assert row["status"] in STATUSES
        assert is_milliseconds(row["gmt_create"])
        for name in ("start_time", "end_time"):
            assert name not in row or is_milliseconds(row[name]), "formatted strings: JsonSyntaxException"
    return rows


def read_policy(answer: Any) -> Any:
    """``data`` of a getPolicy answer."""
    read_envelope(answer)
    assert answer.get("output") is None
    data = answer["data"]
    needed = (
        *("oss_access_key_id", "signature", "policy", "upload_dir", "upload_host"),
        *("x_oss_object_acl", "x_oss_forbid_overwrite"),
    )
    assert all(isinstance(data[name], str) and data[name] for name in needed)
    return data


def read_error(status: int, content_type: str, answer: Any) -> tuple[int, str, str]:
    """``status``, code and message as ``ApiException`` shows them."""
    assert status >= 400
    assert content_type.startswith("application/json"), "response_error, and a leaked connection"
    assert isinstance(answer["code"], str), "null: code response_error"
    assert isinstance(answer["message"], str), "null: code response_error"
    assert is_uuid(answer["request_id"])
    assert "msg" not in answer
    return status, answer["code"], answer["message"]

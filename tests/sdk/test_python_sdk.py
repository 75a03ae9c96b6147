"""Programs written for Model Studio, unchanged, on the real SDK in three versions."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from formats import is_link, is_milliseconds, is_time, is_uuid
from gallery import COLD, WARM
from sdk import PROGRAMS, Sdk
from service import Service

pytestmark = pytest.mark.sdk

REFUSED = "Failed to cancel the task, please confirm if the task is in PENDING status."


def corner(video: Path, *, last: bool) -> tuple[float, float, float]:
    """The colour of the top left corner of the first or last picture of ``video``."""
    with av.open(str(video)) as container:
        frames = list(container.decode(video=0))
        pixels = frames[-1 if last else 0].to_ndarray(format="rgb24")
    return tuple(np.asarray(pixels[:8, :8]).reshape(-1, 3).mean(axis=0))


def near(colour: tuple[float, float, float], wanted: tuple[int, int, int]) -> bool:
    return bool(np.abs(np.subtract(colour, wanted)).max() < 30)


def test_call_with_two_local_files_gives_a_video_that_downloads(
    sdk: Sdk, service: Service, files: tuple[str, str], tmp_path: Path
) -> None:
    saved = tmp_path / "out.mp4"
    result = sdk.report("call_files.py", *files, str(saved), service=service)["result"]
    assert result["status_code"] == 200
    assert is_uuid(result["request_id"])
    output = result["output"]
    assert output["task_status"] == "SUCCEEDED", output
    assert is_link(output["video_url"])
    assert output["orig_prompt"] == "写实风格，一只黑色小猫好奇地看向天空"
    assert output["actual_prompt"]
    assert all(is_time(output[name]) for name in ("submit_time", "scheduled_time", "end_time"))
    assert output["submit_time"] <= output["scheduled_time"] <= output["end_time"]
    assert (result["usage"]["SR"], result["usage"]["video_duration"], result["usage"]["video_count"]) == (480, 5, 1)
    assert saved.read_bytes()[4:8] == b"ftyp"
    assert near(corner(saved, last=False), WARM)
    assert near(corner(saved, last=True), COLD)


def test_two_files_of_one_name_never_become_one_picture(
    sdk: Sdk, service: Service, namesakes: tuple[str, str], tmp_path: Path
) -> None:
    saved = tmp_path / "out.mp4"
    if sdk.version == "1.25.8":  # posts both under one policy and one key: being told is the right end
        done = sdk.try_run(
            [str(sdk.python), str(PROGRAMS / "call_files.py"), *namesakes, str(saved)],
            service=service,
        )
        assert done.returncode != 0
        assert "UploadFileException" in done.stderr
        assert "FileAlreadyExists" in done.stderr
        return
    result = sdk.report("call_files.py", *namesakes, str(saved), service=service)["result"]
    assert result["output"]["task_status"] == "SUCCEEDED", result
    assert near(corner(saved, last=False), WARM)
    assert near(corner(saved, last=True), COLD)


def test_async_call_fetch_and_wait_follow_one_task_to_its_end(
    sdk: Sdk, service: Service, frame_urls: tuple[str, str]
) -> None:
    seen = sdk.report("async_call.py", *frame_urls, service=service)
    task_id = seen["created"]["output"]["task_id"]
    assert is_uuid(task_id)
    assert seen["created"]["output"]["task_status"] == "PENDING"
    assert {seen[name]["output"]["task_id"] for name in seen} == {task_id}
    assert seen["fetched"]["output"]["task_status"] in {"PENDING", "RUNNING", "SUCCEEDED"}
    for name in ("waited", "waited_by_id"):
        output = seen[name]["output"]
        assert output["task_status"] == "SUCCEEDED", output
        assert is_link(output["video_url"])
        assert "actual_prompt" not in output
        usage = seen[name]["usage"]
        assert (usage["video_ratio"], usage["video_duration"], usage["video_count"]) == ("standard", 5, 1)
        assert "SR" not in usage


def test_a_pending_task_is_cancelled_once_and_listed(
    sdk: Sdk, idle_service: Service, frame_urls: tuple[str, str]
) -> None:
    seen = sdk.report("cancel_and_list.py", *frame_urls, service=idle_service)
    task_id = seen["created"]["output"]["task_id"]
    assert seen["pending"]["output"]["task_status"] == "PENDING"
    assert seen["canceled"]["status_code"] == 200
    assert not seen["canceled"]["code"]
    assert not seen["canceled"]["output"]
    assert seen["refused"]["status_code"] == 400
    assert (seen["refused"]["code"], seen["refused"]["message"]) == ("UnsupportedOperation", REFUSED)
    assert seen["after"]["output"]["task_status"] == "CANCELED"
    assert seen["unknown"]["status_code"] == 200
    assert seen["unknown"]["output"]["task_status"] == "UNKNOWN"
    assert seen["unknown"]["output"]["task_id"] == "00000000-0000-4000-8000-000000000000"

    rows = seen["list"]["output"]["data"]
    assert [row["task_id"] for row in rows[:2]] == [seen["other"]["output"]["task_id"], task_id]
    assert rows[1]["status"] == "CANCELED"
    assert is_milliseconds(rows[0]["gmt_create"])
    assert rows[0]["model_name"] == "wan2.2-kf2v-flash"
    canceled = seen["list_canceled"]["output"]["data"]
    assert canceled[0]["task_id"] == task_id
    assert {row["status"] for row in canceled} == {"CANCELED"}
    page = seen["list_page"]["output"]
    assert (len(page["data"]), page["page_no"], page["page_size"]) == (1, 1, 1)
    assert page["total"] == page["total_page"] >= 2
    assert seen["list_old"]["output"]["total"] == 0
    assert seen["list_old"]["output"]["data"] == []


@pytest.fixture(scope="module")
def mistakes(sdk: Sdk, idle_service: Service, frame_urls: tuple[str, str]) -> Any:
    """The SDK's answers to everything that ``errors.py`` does wrong."""
    return sdk.report("errors.py", *frame_urls, service=idle_service)


@pytest.mark.parametrize("name", ["wrong_key", "fetch_with_wrong_key", "list_with_wrong_key"])
def test_a_wrong_key_is_told_as_such(mistakes: Any, name: str) -> None:
    answer = mistakes[name]
    assert (answer["status_code"], answer["code"]) == (401, "InvalidApiKey")
    assert answer["message"] == "Invalid API-key provided."
    assert is_uuid(answer["request_id"])
    assert not answer["output"]


def test_a_wrong_key_stops_an_upload_with_its_code(mistakes: Any) -> None:
    assert "UploadFileException" in mistakes["upload_with_wrong_key"]
    assert "InvalidApiKey" in mistakes["upload_with_wrong_key"]


@pytest.mark.parametrize("name", ["unknown_model", "unknown_model_elsewhere"])
def test_an_unknown_model_is_refused_on_either_path(mistakes: Any, name: str) -> None:
    answer = mistakes[name]
    assert (answer["status_code"], answer["code"]) == (400, "InvalidParameter")
    assert answer["message"].startswith("Model not exist.")


def test_a_refused_call_shows_status_code_and_message_in_what_it_raises(mistakes: Any) -> None:
    raised = mistakes["call_with_unknown_model"]
    assert raised.startswith("InvalidTask: ")
    assert '"status_code": 400' in raised
    assert '"code": "InvalidParameter"' in raised
    assert '"message": "Model not exist.' in raised


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("no_last_frame", "last_frame_url"),
        ("empty_last_frame", "last_frame_url"),
        ("not_a_url", "first_frame_url"),
        ("wrong_resolution", "resolution"),
        ("wrong_duration", "duration"),
        ("seed_too_big", "seed"),
        ("seed_as_text", "seed"),
    ],
)
def test_a_mistake_is_refused_at_once_and_the_field_is_named(mistakes: Any, name: str, field: str) -> None:
    answer = mistakes[name]
    assert (answer["status_code"], answer["code"]) == (400, "InvalidParameter")
    assert field in answer["message"]
    assert is_uuid(answer["request_id"])


def test_a_frame_that_is_not_there_fails_the_task_and_not_the_call(
    sdk: Sdk, service: Service, gallery: str, frame_urls: tuple[str, str]
) -> None:
    result = sdk.report("failing.py", f"{gallery}/nothing-here.png", frame_urls[1], service=service)["result"]
    assert result["status_code"] == 200
    assert result["output"]["task_status"] == "FAILED"
    assert result["output"]["code"].startswith("Invalid")
    assert result["output"]["message"]
    assert not result["output"].get("video_url")


def test_the_asyncio_class_calls_orders_and_lists(
    aio_sdk: Sdk, service: Service, files: tuple[str, str], frame_urls: tuple[str, str]
) -> None:
    seen = aio_sdk.report("aio.py", *files, *frame_urls, service=service)
    assert seen["called"]["output"]["task_status"] == "SUCCEEDED", seen["called"]
    assert is_link(seen["called"]["output"]["video_url"])
    assert seen["created"]["output"]["task_status"] == "PENDING"
    assert seen["waited"]["output"]["task_status"] == "SUCCEEDED", seen["waited"]
    assert seen["waited"]["output"]["task_id"] == seen["created"]["output"]["task_id"]
    assert seen["list"]["output"]["data"][0]["task_id"] == seen["created"]["output"]["task_id"]
    assert (seen["wrong_key"]["status_code"], seen["wrong_key"]["code"]) == (401, "InvalidApiKey")


def test_the_asyncio_class_cancels(aio_sdk: Sdk, idle_service: Service, frame_urls: tuple[str, str]) -> None:
    seen = aio_sdk.report("aio_cancel.py", *frame_urls, service=idle_service)
    if aio_sdk.version == "1.25.8":  # asks with GET, the vendor's slip; a JSON refusal is enough
        assert seen["canceled"]["status_code"] in {200, 400, 404, 405}
    else:
        assert seen["canceled"]["status_code"] == 200
        assert seen["after"]["output"]["task_status"] == "CANCELED"
        assert (seen["refused"]["status_code"], seen["refused"]["code"]) == (400, "UnsupportedOperation")
    assert seen["list"]["output"]["data"][0]["task_id"] == seen["created"]["output"]["task_id"]


def test_the_2x_client_generates_and_lists(newest: Sdk, service: Service, files: tuple[str, str]) -> None:
    seen = newest.report("client_2x.py", *files, service=service)
    generated = seen["generated"]
    assert generated["status"] == "SUCCEEDED", generated
    assert is_link(generated["video_url"])
    assert is_time(generated["submitted_at"])
    assert is_time(generated["finished_at"])
    assert generated["usage"]["SR"] == 480
    assert seen["fetched"]["task_id"] == generated["task_id"]
    assert seen["list"]["total"] >= 1
    assert seen["list"]["tasks"][0]["task_id"] == generated["task_id"]
    assert seen["list"]["tasks"][0]["status"] == "SUCCEEDED"


def test_the_2x_client_raises_what_its_users_expect(
    newest: Sdk, idle_service: Service, frame_urls: tuple[str, str]
) -> None:
    seen = newest.report("client_2x_refusals.py", *frame_urls, service=idle_service)
    assert seen["created"]["status"] == "PENDING"
    assert seen["after"] == "CANCELED"
    assert seen["cancel_again"]["status_code"] == 400
    assert REFUSED in seen["cancel_again"]["text"]
    assert (seen["wrong_key"]["type"], seen["wrong_key"]["status_code"]) == ("AuthenticationError", 401)
    assert (seen["unknown_model"]["type"], seen["unknown_model"]["status_code"]) == ("BadRequestError", 400)
    assert (seen["no_frames"]["type"], seen["no_frames"]["status_code"]) == ("BadRequestError", 400)
    assert "first_frame_url" in seen["no_frames"]["text"]


def test_the_2x_client_is_told_when_two_files_of_one_name_collide(
    newest: Sdk, service: Service, namesakes: tuple[str, str]
) -> None:
    """It posts both under one policy and one key; taking the second would make one picture of two."""
    done = newest.try_run([str(newest.python), str(PROGRAMS / "client_2x.py"), *namesakes], service=service)
    assert done.returncode != 0
    assert "FileAlreadyExists" in done.stderr

"""The vendor's own command, pointed here by one environment variable."""

import json

import pytest

from formats import is_link
from sdk import Sdk
from service import Service

pytestmark = pytest.mark.sdk


def test_create_takes_local_files_and_ends_with_a_video(newest: Sdk, service: Service, files: tuple[str, str]) -> None:
    first, last = files
    done = newest.cli(
        *("video-synthesis", "create", "-m", "wan2.2-kf2v-flash", "-p", "a cat", "--resolution", "480P"),
        *("--first-frame-url", f"file://{first}", "--last-frame-url", last),
        *("--duration", "5", "--seed", "7", "--no-prompt-extend", "--watermark"),
        service=service,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    output, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("{") :])
    assert output["task_status"] == "SUCCEEDED", output
    assert is_link(output["video_url"])

    fetched = newest.cli("video-synthesis", "fetch", output["task_id"], service=service)
    assert fetched.returncode == 0, fetched.stderr
    assert json.loads(fetched.stdout)["video_url"] == output["video_url"]

    waited = newest.cli("video-synthesis", "wait", output["task_id"], service=service)
    assert waited.returncode == 0, waited.stderr
    assert json.loads(waited.stdout)["task_status"] == "SUCCEEDED"


def test_cancel_says_success_once_and_list_shows_it(
    newest: Sdk, idle_service: Service, frame_urls: tuple[str, str]
) -> None:
    first, last = frame_urls
    frames = {"first_frame_url": first, "last_frame_url": last}
    task_id = idle_service.create({"model": "wan2.2-kf2v-flash", "input": frames}).json["output"]["task_id"]

    canceled = newest.cli("video-synthesis", "cancel", task_id, service=idle_service)
    assert canceled.returncode == 0, canceled.stdout + canceled.stderr
    assert "success" in canceled.stdout

    again = newest.cli("video-synthesis", "cancel", task_id, service=idle_service)
    assert again.returncode != 0
    assert "UnsupportedOperation" in again.stdout + again.stderr

    listed = newest.cli("video-synthesis", "list", "--status", "CANCELED", "--size", "50", service=idle_service)
    assert listed.returncode == 0, listed.stderr
    assert task_id in [row["task_id"] for row in json.loads(listed.stdout)["data"]]


def test_whoami_knows_a_right_key_from_a_wrong_one(newest: Sdk, idle_service: Service) -> None:
    right = newest.cli("auth", "whoami", service=idle_service)
    assert right.returncode == 0, right.stderr
    assert "Authenticated" in right.stdout

    wrong = newest.cli("auth", "whoami", service=idle_service, DASHSCOPE_API_KEY="sk-not-a-key")
    assert wrong.returncode == 2
    assert "Invalid API key" in wrong.stderr


def test_oss_upload_prints_a_url_that_can_be_used_as_a_frame(
    newest: Sdk, service: Service, files: tuple[str, str]
) -> None:
    urls: list[str] = []
    for file in files:
        done = newest.cli("oss", "upload", "-f", file, "-m", "wan2.2-kf2v-flash", service=service)
        assert done.returncode == 0, done.stdout + done.stderr
        urls.append("oss://" + done.stdout.partition("oss://")[2].splitlines()[0].strip())
    created = service.create(
        {
            "model": "wan2.2-kf2v-flash",
            "input": {"first_frame_url": urls[0], "last_frame_url": urls[1]},
            "parameters": {"resolution": "480P"},
        },
        headers={"X-DashScope-OssResourceResolve": "enable"},
    )
    assert created.status == 200, created.body
    ended = service.finish(created.json["output"]["task_id"])
    assert ended["output"]["task_status"] == "SUCCEEDED", ended

"""Moderation in a real server with real workers: what is refused, what fails, and what is left of it."""

import base64
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from clientele import order
from deployment import Deployment, deployed, until
from PIL import Image

from censor import KEY, Act, Answers, Censor, Hangs, Heard, judging, says
from kf2v.moderation.lists.pictures import hash_of
from service import Service
from stage import texture

OUTWARD = "Output data may contain inappropriate content."
INWARD = "Input data may contain inappropriate content."


def data_url(seed: int) -> str:
    file = BytesIO()
    Image.fromarray(texture(seed, (360, 480))).save(file, "JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


@contextmanager
def supervised(home: Path, *acts: Any, **settings: str) -> Iterator[tuple[Deployment, Censor]]:
    """A server, nothing running yet, that asks its lists and a classifier."""
    with judging(Censor(*acts)) as censor:
        asks = {"moderation": "lists,http", "moderation_url": f"{censor.url}/judge", "moderation_api_key": KEY}
        with deployed(home, workers=1, **{**asks, **settings}) as deployment:
            yield deployment, censor
            assert not deployment.complaints()
            assert KEY not in "\n".join(deployment.log)


def ended(service: Service, **headers: str) -> dict[str, Any]:
    reply = service.create(order(), headers=headers)
    assert reply.status == 200, reply.body
    return service.finish(reply.json["output"]["task_id"])


def files(deployment: Deployment) -> set[str]:
    """The folders of everything that is kept, and unfinished files."""
    blobs = [path.relative_to(deployment.data_dir / "blobs") for path in (deployment.data_dir / "blobs").rglob("*")]
    scratch = deployment.data_dir / "scratch"
    unfinished = {path.name for path in scratch.rglob("*")} if scratch.exists() else set[str]()
    return {path.parts[0] for path in blobs if (deployment.data_dir / "blobs" / path).is_file()} | unfinished


def notes(service: Service, task_id: str) -> list[str]:
    """The log of a task, as its owner reads it."""
    return [entry["text"] for entry in service.get(f"/kf2v/v1/tasks/{task_id}").json["task"]["log"]]


def test_the_owners_lists_work_from_the_first_start_and_while_it_runs(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=1) as deployment:
        service = deployment.start()
        lists = deployment.data_dir / "moderation"
        assert service.create(order("a beheading")).status == 200
        (lists / "words.txt").write_text((lists / "words.txt").read_text("utf-8").replace("# beheading", "beheading"))
        refused = service.create(order("A Beheading"))
        assert refused.status == 400
        assert (refused.json["code"], refused.json["message"]) == ("DataInspectionFailed", INWARD)
        assert set(refused.json) == {"code", "message", "request_id"}

        hash_ = f"{hash_of(texture(1, (360, 480))):016x}"
        with (lists / "pictures.txt").open("a") as file:
            file.write(f"ip: {hash_} a famous texture\n")
        body = order()
        body["input"]["last_frame_url"] = data_url(1)
        task = service.finish(service.create(body).json["output"]["task_id"])
        assert task["output"]["task_status"] == "FAILED"
        assert task["output"]["code"] == "IPInfringementSuspect"
        assert task["output"]["message"] == "Input data is suspected of being involved in IP infringement."
        body["input"]["last_frame_url"] = data_url(2)
        task = service.finish(service.create(body).json["output"]["task_id"])
        assert task["output"]["task_status"] == "SUCCEEDED"
        until("the log says which line it was", lambda: any("a famous texture" in line for line in deployment.log))


def only_output(heard: Heard) -> Act:
    return (
        says("inappropriate") if heard.body["stage"] == "output" and heard.body.get("frame", 0) >= 60 else says("pass")
    )


def test_a_blocked_film_is_never_reachable_and_never_billed(tmp_path: Path) -> None:
    with supervised(tmp_path, only_output, moderation_output_every="30") as (deployment, censor):
        service = deployment.start()
        task = ended(service)
        output = task["output"]
        assert (output["task_status"], output["code"], output["message"]) == (
            "FAILED",
            "DataInspectionFailed",
            OUTWARD,
        )
        assert "video_url" not in output
        assert "usage" not in task
        assert files(deployment) == {"inputs"}
        assert service.get(f"/results/{output['task_id']}.mp4").status in (403, 404)
        stages = [(heard.body["stage"], heard.body["part"], heard.body.get("frame")) for heard in censor.heard]
        assert stages == [
            ("input", "prompt", None),
            ("input", "first_frame", None),
            ("input", "last_frame", None),
            ("output", "frame", 0),
            ("output", "frame", 30),
            ("output", "frame", 60),
        ]
        assert deployment.end() == 0
        assert charges(deployment) == 0


def charges(deployment: Deployment) -> int:
    """How many films were ever counted, by the rows of a server that has left."""
    with closing(sqlite3.connect(deployment.data_dir / "kf2v.db")) as rows:
        return rows.execute("SELECT count(*) FROM charge").fetchone()[0]


@pytest.mark.parametrize(("header", "status"), [("", "SUCCEEDED"), ('{"output":"cip"}', "FAILED")])
def test_a_caller_may_wish_for_inspection_of_the_film(tmp_path: Path, header: str, status: str) -> None:
    with supervised(tmp_path, only_output, moderation_inspects="request") as (deployment, _):
        told = ended(deployment.start(), **({"X-DashScope-DataInspection": header} if header else {}))
        assert told["output"]["task_status"] == status
        assert deployment.end() == 0
        assert charges(deployment) == (status == "SUCCEEDED")


@pytest.mark.parametrize("act", [Answers(status=500), Answers(body=b"<html>")])
def test_a_classifier_in_trouble_lets_pass_and_the_log_says_so(tmp_path: Path, act: Act) -> None:
    settings = {"moderation_timeout": "60", "moderation_output_every": "149"}
    with supervised(tmp_path, act, **settings) as (deployment, _):
        service = deployment.start()
        output = ended(service)["output"]
        assert output["task_status"] == "SUCCEEDED"
        until("it is told", lambda: any("moderation did not decide" in line for line in deployment.log))
        parts = ("the prompt", "the first frame", "the last frame", "a frame of the video")
        undecided = [f"Moderation (http) could not decide on {part}, so it passed." for part in parts]
        assert [text for text in notes(service, output["task_id"]) if text.startswith("Moderation")] == undecided


def test_a_classifier_that_hangs_is_waited_for_once_at_submission_and_once_in_the_task(tmp_path: Path) -> None:
    with supervised(tmp_path, Hangs(), moderation_timeout="0.6") as (deployment, censor):
        service = deployment.start()
        output = ended(service)["output"]
        assert output["task_status"] == "SUCCEEDED"
        assert [heard.body["part"] for heard in censor.heard] == ["prompt", "first_frame"]
        assert [text for text in notes(service, output["task_id"]) if text.startswith("Moderation")] == [
            "Moderation (http) could not decide on the prompt, so it passed.",
            "Moderation (http) could not decide on the first frame, so it passed.",
            "Moderation (http) was silent just before and not asked about the last frame, so it passed.",
            "Moderation (http) was silent just before and not asked about a frame of the video, so it passed.",
        ]


def test_where_silence_refuses_the_first_one_ends_the_task(tmp_path: Path) -> None:
    def only_words(heard: Heard) -> Act:
        return Hangs() if heard.picture else says("pass")

    with supervised(tmp_path, only_words, moderation_timeout="0.6", moderation_on_failure="fail") as (
        deployment,
        censor,
    ):
        output = ended(deployment.start())["output"]
        assert (output["task_status"], output["code"]) == ("FAILED", "InternalError")
        assert [heard.body["part"] for heard in censor.heard] == ["prompt", "first_frame"]


def test_a_classifier_in_trouble_fails_what_it_was_asked_about_where_the_owner_wants_that(tmp_path: Path) -> None:
    def no_pictures(heard: Heard) -> Act:
        return Answers(status=500) if heard.picture or "secret" in heard.text else says("pass")

    with supervised(tmp_path, no_pictures, moderation_on_failure="fail") as (deployment, _):
        service = deployment.start()
        refused = service.create(order("a secret"))
        assert (refused.status, refused.json["code"]) == (500, "InternalError")
        output = ended(service)["output"]
        assert (output["task_status"], output["code"]) == ("FAILED", "InternalError")
        undecided = "Moderation (http) could not decide on the first frame, so it did not pass."
        assert undecided in notes(service, output["task_id"])


def test_a_drain_does_not_wait_for_a_classifier_that_hangs(tmp_path: Path) -> None:
    settings = {"moderation_timeout": "600", "drain_seconds": "0.5", "moderation_inspects": "output"}
    with supervised(tmp_path, Hangs(), **settings) as (deployment, censor):
        service = deployment.start()
        reply = service.create(order())
        until("it is asked", lambda: censor.heard)
        assert deployment.end() == 0
        assert not any("did not stop in time" in line for line in deployment.log)
        censor.closing.set()
        again = deployment.start()
        assert again.task(reply.json["output"]["task_id"])["output"]["task_status"] in ("PENDING", "RUNNING")

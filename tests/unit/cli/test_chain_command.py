"""``kf2v chain``: several videos at once, what is refused in the middle, and how it goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from endpoint import VIDEO, Answer, Endpoint
from kf2v.cli import chain
from kf2v.cli.exits import Exit
from kf2v.cli.terminal import CommandFailed
from kf2v.net.dashscope import DashScope
from kf2v.net.remote_error import Refused

Kf2v = Callable[..., Any]

CHAINS = "/kf2v/v1/chains"
TASKS = [{"task_id": "task-1", "task_status": "PENDING"}, {"task_id": "task-2", "task_status": "PENDING"}]
URLS = ("https://h.example/a.png", "https://h.example/b.png", "https://h.example/c.png")


def says(endpoint: Endpoint, status: int, told: dict[str, Any], **headers: str) -> None:
    body = json.dumps({"request_id": "r-1", **told}).encode()
    endpoint.instead.setdefault(("POST", CHAINS), []).append(Answer(status, body, headers=headers))


def refused(endpoint: Endpoint, status: int, code: str, made: list[dict[str, str]], **headers: str) -> None:
    beside = {"tasks": made} if made else {}
    says(endpoint, status, {"code": code, "message": "Not now." if status == 429 else "No.", **beside}, **headers)


def stands(endpoint: Endpoint, task_id: str, status: str, **more: str) -> None:
    output = {"task_id": task_id, "task_status": status, "video_url": f"{endpoint.origin}/files/video.mp4", **more}
    body = json.dumps({"request_id": "r-2", "output": output}).encode()
    endpoint.instead.setdefault(("GET", f"/api/v1/tasks/{task_id}"), []).append(Answer(200, body))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "PAUSE", 0.01)


def test_the_parts_arrive_in_the_order_of_the_film(kf2v: Kf2v, pointed: Endpoint, home: Path) -> None:
    says(pointed, 200, {"tasks": TASKS})
    for task in TASKS:
        stands(pointed, task["task_id"], "SUCCEEDED")
    (home / "film").mkdir()
    ran = kf2v("chain", *URLS, "-p", "dawn", "-p", "dusk", "-r", "480P", "--seed", 7, "-o", "film")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == ["film/01-task-1.mp4", "film/02-task-2.mp4"]
    assert (home / "film" / "02-task-2.mp4").read_bytes() == VIDEO
    [asked] = pointed.of("POST", CHAINS)
    assert asked.headers["idempotency-key"]
    assert asked.json() == {
        "model": "wan2.2-kf2v-flash",
        "input": {"frames": list(URLS), "prompts": ["dawn", "dusk"]},
        "parameters": {"resolution": "480P", "seed": 7},
    }


def test_a_loop_goes_back_to_the_first_frame_which_is_uploaded_once(
    kf2v: Kf2v, pointed: Endpoint, frames: tuple[Path, Path]
) -> None:
    says(pointed, 200, {"tasks": TASKS})
    ran = kf2v("chain", *frames, "--loop", "-p", "one for all", "--async")
    assert (ran.code, ran.out) == (0, "task-1\ntask-2\n")
    told = pointed.of("POST", CHAINS)[0].json()["input"]
    assert told["prompt"] == "one for all"
    first, _, last = told["frames"]
    assert first == last
    assert first.startswith("oss://")
    assert len(pointed.of("POST", "/bucket")) == 2


def test_what_is_refused_for_now_in_the_middle_goes_on_under_the_same_key(kf2v: Kf2v, pointed: Endpoint) -> None:
    refused(pointed, 429, "Throttling.AllocationQuota", TASKS[:1])
    refused(pointed, 503, "ModelUnavailable", TASKS[:1], **{"Retry-After": "0"})
    says(pointed, 200, {"tasks": TASKS})
    ran = kf2v("chain", *URLS, "--async", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["tasks"] == TASKS
    assert "part 2 of 2 is refused for now, Throttling.AllocationQuota" in ran.err
    asked = pointed.of("POST", CHAINS)
    assert len(asked) == 3
    assert len({(request.headers["idempotency-key"], request.body) for request in asked}) == 1


@pytest.mark.parametrize(
    ("status", "code", "headers", "exit"),
    [
        (400, "Arrearage", {}, 4),
        (429, "Throttling.AllocationQuota", {"Retry-After": "80000"}, 4),
    ],
)
def test_what_is_refused_for_good_in_the_middle_names_what_is_ordered_and_how_to_go_on(
    kf2v: Kf2v, pointed: Endpoint, status: int, code: str, headers: dict[str, str], exit: int
) -> None:
    refused(pointed, status, code, TASKS[:1], **headers)
    ran = kf2v("chain", *URLS, "--idempotency-key", "my film")
    assert (ran.code, ran.out) == (exit, "")
    assert "1 of 2 parts are ordered and continue: task-1" in ran.err
    assert f"kf2v chain --idempotency-key 'my film' {' '.join(URLS)}" in ran.err
    refused(pointed, status, code, TASKS[:1], **headers)
    told = json.loads(kf2v("chain", *URLS, "--idempotency-key", "my film", "--json").err)
    assert (told["code"], told["tasks"], told["idempotency_key"]) == (code, ["task-1"], "my film")


@pytest.mark.parametrize(("parts", "order"), [(2, "create"), (3, "chain")])
def test_what_moderation_refuses_in_the_middle_is_ordered_in_other_words(
    kf2v: Kf2v, pointed: Endpoint, parts: int, order: str
) -> None:
    frames = [f"https://h.example/{number}.png" for number in range(parts + 1)]
    refused(pointed, 400, "DataInspectionFailed", TASKS[:1])
    ran = kf2v("chain", *frames)
    assert ran.code == 10
    assert f"1 of {parts} parts are ordered and continue: task-1" in ran.err
    assert f"with another prompt: kf2v {order} {' '.join(frames[1:])}\n" in ran.err


def test_what_is_refused_at_once_is_refused_as_anywhere(kf2v: Kf2v, pointed: Endpoint) -> None:
    refused(pointed, 429, "Throttling.RateQuota", [])
    ran = kf2v("chain", *URLS)
    assert ran.code == 4
    assert "ordered" not in ran.err
    assert len(pointed.of("POST", CHAINS)) == 1


def test_who_heard_no_answer_is_told_that_parts_may_be_ordered(kf2v: Kf2v, pointed: Endpoint) -> None:
    pointed.instead["POST", CHAINS] = [Answer(0, b"")]
    ran = kf2v("chain", *URLS)
    assert ran.code == 6
    assert "some parts may be ordered: kf2v tasks list" in ran.err
    key = pointed.of("POST", CHAINS)[0].headers["idempotency-key"]
    assert f"--idempotency-key {key}" in ran.err


def test_one_part_that_fails_keeps_no_other_from_being_fetched(kf2v: Kf2v, pointed: Endpoint, home: Path) -> None:
    says(pointed, 200, {"tasks": TASKS})
    stands(pointed, "task-1", "FAILED", code="InternalError", message="It broke.")
    stands(pointed, "task-2", "SUCCEEDED")
    ran = kf2v("chain", *URLS)
    assert (ran.code, ran.out) == (8, "02-task-2.mp4\n")
    assert "part 1 of 2: InternalError: It broke." in ran.err
    assert (home / "02-task-2.mp4").exists()


def test_what_was_fetched_is_told_as_json_although_a_part_failed(kf2v: Kf2v, pointed: Endpoint, home: Path) -> None:
    says(pointed, 200, {"tasks": TASKS})
    stands(pointed, "task-1", "FAILED", code="InternalError", message="It broke.")
    stands(pointed, "task-2", "SUCCEEDED")
    ran = kf2v("chain", *URLS, "--json", "--quiet")
    assert (ran.code, json.loads(ran.err.splitlines()[-1])["task_id"]) == (8, "task-1")
    assert [task["output"]["video_path"] for task in json.loads(ran.out)["tasks"]] == ["02-task-2.mp4"]


def test_a_server_that_is_lost_in_the_middle_leaves_no_part_unnamed(kf2v: Kf2v, pointed: Endpoint, home: Path) -> None:
    says(pointed, 200, {"tasks": TASKS})
    stands(pointed, "task-1", "SUCCEEDED")
    pointed.fail_once("GET", "/api/v1/tasks/task-2", 401, "InvalidApiKey", "Invalid API-key provided.")
    ran = kf2v("chain", *URLS)
    assert (ran.code, ran.out) == (3, "01-task-1.mp4\n")
    assert "InvalidApiKey: Invalid API-key provided; tasks task-2 continue" in ran.err
    says(pointed, 200, {"tasks": TASKS})
    pointed.fail_once("GET", "/api/v1/tasks/task-1", 401, "InvalidApiKey", "Invalid API-key provided.")
    told = json.loads(kf2v("chain", *URLS, "--json", "--quiet").err)
    assert (told["code"], told["tasks"]) == ("InvalidApiKey", ["task-1", "task-2"])


def test_patience_that_ends_names_all_parts_that_go_on(kf2v: Kf2v, pointed: Endpoint) -> None:
    says(pointed, 200, {"tasks": TASKS})
    stands(pointed, "task-1", "RUNNING")
    ran = kf2v("chain", *URLS, "--timeout", 0)
    assert ran.code == 5
    assert "tasks task-1 task-2 continue" in ran.err


@pytest.mark.parametrize(
    "words",
    [URLS[:2], URLS * 9, (*URLS, "-p", "a", "-p", "b", "-p", "c"), (*URLS, "-o", "no-such"), ("no-such", *URLS)],
)
def test_a_chain_that_cannot_be_is_not_asked_for(kf2v: Kf2v, pointed: Endpoint, words: tuple[str, ...]) -> None:
    assert kf2v("chain", *words).code == 2
    assert not pointed.asked


@pytest.mark.parametrize(("made", "told"), [([], "some parts may be ordered"), (TASKS[:1], "task-1")])
def test_an_interruption_while_ordering_says_what_may_be_ordered(made: list[dict[str, str]], told: str) -> None:
    class Interrupted(DashScope):
        """Ctrl-C comes while the first answer, or the one after a refusal, is waited for."""

        refusals = bool(made)

        def own_object(self, method: str, path: str, **options: Any) -> dict[str, Any]:
            if self.refusals:
                self.refusals = False
                raise Refused("ModelUnavailable", "Not now.", status=503, retry_after=0.0, answer={"tasks": made})
            raise KeyboardInterrupt

    with Interrupted("http://127.0.0.1:9/api/v1", "sk-x") as client, pytest.raises(CommandFailed) as failed:
        chain.order(client, {"input": {"frames": list(URLS)}}, key="my-film", parts=2)
    assert failed.value.exit is Exit.INTERRUPTED
    assert told in failed.value.message
    assert "--idempotency-key my-film" in failed.value.fix

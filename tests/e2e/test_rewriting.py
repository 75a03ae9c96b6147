"""Prompts of real tasks, rewritten by the rules and by a language model, in real worker processes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clientele import order
from deployment import Deployment, deployed, until

from language_model import KEY, Hangs, LanguageModel, Refuses, Says, listening
from service import Service

ANSWER = "A ball rolls. It gathers speed across the blue floor while the camera holds still."


@contextmanager
def staffed(home: Path, model: LanguageModel, **settings: str) -> Iterator[Deployment]:
    """A server, nothing running yet, whose worker asks ``model``."""
    with listening(model):
        asks = {
            "rewriter": "openai",
            "rewrite_base_url": model.base_url,
            "rewrite_model": "tiny",
            "rewrite_api_key": KEY,
            "rewrite_timeout": "30",
        }
        with deployed(home, workers=1, **{**asks, **settings}) as deployment:
            yield deployment
            assert not deployment.complaints()
            assert KEY not in "\n".join(deployment.log)


def submitted(service: Service, prompt: str | None = "A ball rolls.", **parameters: Any) -> str:
    body = order(prompt or "")
    body["parameters"] = {"resolution": "480P", "seed": 7, **parameters}
    if prompt is None:
        del body["input"]["prompt"]
    reply = service.create(body)
    assert reply.status == 200, reply.body
    return reply.json["output"]["task_id"]


def output(service: Service, prompt: str | None = "A ball rolls.", **parameters: Any) -> Any:
    return service.finish(submitted(service, prompt, **parameters))["output"]


def test_a_task_tells_what_the_model_made_of_its_prompt(tmp_path: Path) -> None:
    model = LanguageModel(Says(text=f"<think>hm</think>{ANSWER}"))
    with staffed(tmp_path, model) as deployment:
        service = deployment.start()
        told = output(service)
        assert (told["orig_prompt"], told["actual_prompt"]) == ("A ball rolls.", ANSWER)
        assert len(model.heard[0].pictures) == 2
        assert output(service, None)["actual_prompt"] == ANSWER
        heard = len(model.heard)
        assert "actual_prompt" not in output(service, prompt_extend=False)
        assert len(model.heard) == heard
        shown = deployment.command("config", "show")
        assert shown.returncode == 0
        assert KEY not in shown.stdout + shown.stderr
        checked = json.loads(deployment.command("doctor", "--json").stdout)["checks"]
        (finding,) = (check for check in checks_named(checked, "rewriter"))
        assert finding["state"] == "ok"
        assert model.base_url in finding["detail"]


def checks_named(checks: list[dict[str, str]], name: str) -> list[dict[str, str]]:
    return [check for check in checks if check["name"] == name]


def test_a_task_keeps_its_prompt_when_the_model_fails_and_the_log_says_so(tmp_path: Path) -> None:
    with staffed(tmp_path, LanguageModel(Refuses(status=500, message="out of memory"))) as deployment:
        service = deployment.start()
        task_id = submitted(service)
        told = service.finish(task_id)["output"]
        assert (told["task_status"], told["actual_prompt"]) == ("SUCCEEDED", "A ball rolls.")
        until("the reason is in the log", lambda: any("out of memory" in line for line in deployment.log))
        (noted,) = (json.loads(line) for line in deployment.log if "prompt was kept as it is" in line)
        assert noted["task_id"] == task_id


def test_a_task_fails_when_the_model_does_and_the_owner_wants_that(tmp_path: Path) -> None:
    with staffed(tmp_path, LanguageModel(Refuses(status=500)), rewrite_on_failure="fail") as deployment:
        told = output(deployment.start())
        assert (told["task_status"], told["code"]) == ("FAILED", "RewriteFailed")
        assert told["message"] == "Failed to rewrite content for prompt."


def test_a_drain_does_not_wait_for_a_model_that_hangs(tmp_path: Path) -> None:
    model = LanguageModel(Hangs())
    with staffed(tmp_path, model, rewrite_timeout="600", drain_seconds="0.5") as deployment:
        service = deployment.start()
        task_id = submitted(service)
        until("the model is asked", lambda: model.heard)
        assert deployment.end() == 0
        assert model.left.wait(10), "the connection was left open"
        model.closing.set()
        assert not any("did not stop in time" in line for line in deployment.log)
        # It was handed back, not failed: the next server takes it up.
        again = deployment.start()
        assert again.task(task_id)["output"]["task_status"] in ("PENDING", "RUNNING")


def test_the_rules_need_nothing(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=1) as deployment:
        told = output(deployment.start(), "一个球在滚动")
        assert told["actual_prompt"].startswith("一个球在滚动。")
        assert "主色调由" in told["actual_prompt"]

"""``kf2v webhooks`` against a server that is real enough: what goes out, what is printed, how it ends."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from endpoint import Answer, Endpoint

HOOK = {
    "id": "hook-1",
    "account": "mine",
    "url": "https://receiver.example/",
    "label": "mine",
    "enabled": True,
    "secret_hint": "abcd",
    "created_at": 1_760_000_000_000,
}
DELIVERY = {
    "id": "event-1",
    "task_id": "task-1",
    "task_status": "FAILED",
    "url": "https://receiver.example/",
    "state": "PENDING",
    "attempts": 2,
    "created_at": 1_760_000_000_000,
    "next_attempt_at": 1_760_000_009_000,
    "status": 500,
    "error": "The receiver answered with status 500.",
}


def answers(endpoint: Endpoint, method: str, path: str, body: dict[str, Any], *, status: int = 200) -> None:
    told = json.dumps({"request_id": "r-1", **body}).encode()
    endpoint.instead.setdefault((method, f"/kf2v/v1{path}"), []).append(Answer(status, told))


def test_a_made_webhook_prints_its_secret_alone(kf2v: Callable[..., Any], pointed: Endpoint) -> None:
    answers(pointed, "POST", "/webhooks", {"webhook": HOOK | {"secret": "whsec_x"}})
    ran = kf2v("webhooks", "create", "https://receiver.example/", "--label", "mine")
    assert (ran.code, ran.out) == (0, "whsec_x\n")
    assert "hook-1" in ran.err
    assert pointed.asked[-1].json() == {"url": "https://receiver.example/", "label": "mine"}


def test_webhooks_are_listed(kf2v: Callable[..., Any], pointed: Endpoint) -> None:
    answers(pointed, "GET", "/webhooks", {"webhooks": [HOOK, HOOK | {"id": "hook-2", "enabled": False}]})
    lines = kf2v("webhooks", "list").out.splitlines()
    assert lines[1].startswith("hook-1  https://receiver.example/  mine   …abcd")
    assert lines[2].endswith("off")
    answers(pointed, "GET", "/webhooks", {"webhooks": [HOOK]})
    assert json.loads(kf2v("webhooks", "list", "--json").out)["webhooks"] == [HOOK]


def test_a_test_that_is_not_taken_is_a_failure(kf2v: Callable[..., Any], pointed: Endpoint) -> None:
    answers(pointed, "POST", "/webhooks/hook-1/test", {"delivered": True, "status": 204})
    assert kf2v("webhooks", "test", "hook-1").out == "taken with status 204\n"
    answers(pointed, "POST", "/webhooks/hook-1/test", {"delivered": False, "status": 500, "error": "It said 500."})
    ran = kf2v("webhooks", "test", "hook-1")
    assert (ran.code, ran.out) == (1, "")
    assert "It said 500." in ran.err


def test_a_deleted_webhook_is_confirmed(kf2v: Callable[..., Any], pointed: Endpoint) -> None:
    answers(pointed, "DELETE", "/webhooks/hook-1", {})
    assert kf2v("webhooks", "delete", "hook-1", "--yes").err == "deleted hook-1\n"


def test_an_id_is_one_segment_of_the_path(kf2v: Callable[..., Any], pointed: Endpoint) -> None:
    answers(pointed, "DELETE", "/webhooks/..%2Fkeys", {})
    assert kf2v("webhooks", "delete", "../keys", "--yes").code == 0


@pytest.mark.parametrize(
    ("words", "path", "query"),
    [
        ((), "/deliveries", {}),
        (("--task-id", "task-1"), "/deliveries", {"task_id": "task-1"}),
        (("hook-1",), "/webhooks/hook-1/deliveries", {}),
    ],
)
def test_deliveries_are_listed(
    kf2v: Callable[..., Any], pointed: Endpoint, words: tuple[str, ...], path: str, query: dict[str, str]
) -> None:
    answers(pointed, "GET", path, {"deliveries": [DELIVERY]})
    ran = kf2v("webhooks", "deliveries", *words)
    assert "event-1  task-1   FAILED  PENDING  2" in ran.out
    assert "status 500" in ran.out
    assert pointed.asked[-1].query == query


def test_one_cannot_ask_for_a_webhook_and_a_task_at_once(kf2v: Callable[..., Any], pointed: Endpoint) -> None:
    assert kf2v("webhooks", "deliveries", "hook-1", "--task-id", "task-1").code == 2
    assert not pointed.asked


def test_an_event_is_sent_once_more(kf2v: Callable[..., Any], pointed: Endpoint) -> None:
    answers(pointed, "POST", "/deliveries/event-1/retry", {"delivery": DELIVERY})
    assert "event-1" in kf2v("webhooks", "retry", "event-1").err


def test_the_accounts_own_secret_is_printed(kf2v: Callable[..., Any], pointed: Endpoint) -> None:
    answers(pointed, "GET", "/webhooks/secret", {"account": "mine", "secret": "whsec_y"})
    assert kf2v("webhooks", "secret").out == "whsec_y\n"


def test_what_the_server_refuses_is_told_with_its_words(kf2v: Callable[..., Any], pointed: Endpoint) -> None:
    answers(pointed, "GET", "/webhooks", {"code": "AccessDenied", "message": "Access denied. 'manage'"}, status=403)
    ran = kf2v("webhooks", "list")
    assert ran.code == 3
    assert "'manage'" in ran.err


def test_a_webhook_is_changed_as_far_as_it_is_said(kf2v: Callable[..., Any], pointed: Endpoint) -> None:
    answers(pointed, "PATCH", "/webhooks/hook-1", {"webhook": HOOK})
    ran = kf2v("webhooks", "change", "hook-1", "--disable", "--label", "")
    assert (ran.code, ran.out) == (0, "")
    assert pointed.asked[-1].json() == {"enabled": False, "label": ""}
    answers(pointed, "PATCH", "/webhooks/hook-1", {"webhook": HOOK | {"secret": "whsec_y"}})
    assert kf2v("webhooks", "change", "hook-1", "--rotate-secret").out == "whsec_y\n"
    assert pointed.asked[-1].json() == {"rotate_secret": True}
    count = len(pointed.asked)
    assert kf2v("webhooks", "change", "hook-1").code == 2
    assert len(pointed.asked) == count


def test_another_account_is_asked_for_by_name_and_all_by_a_word(kf2v: Callable[..., Any], pointed: Endpoint) -> None:
    for words, query in (
        ((), {}),
        (("--account", "shop"), {"account": "shop"}),
        (("--all-accounts",), {"account": "*"}),
    ):
        answers(pointed, "GET", "/webhooks", {"webhooks": []})
        answers(pointed, "GET", "/deliveries", {"deliveries": []})
        assert kf2v("webhooks", "list", *words).code == 0
        assert kf2v("webhooks", "deliveries", *words).code == 0
        assert [asked.query for asked in pointed.asked[-2:]] == [query, query]
    answers(pointed, "GET", "/webhooks/secret", {"secret": "s"})
    assert kf2v("webhooks", "secret", "--account", "shop").out == "s\n"
    assert pointed.asked[-1].query == {"account": "shop"}

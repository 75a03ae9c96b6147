import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backroom import Backroom, backroom
from kf2v.net.unix_client import UnixClient, Unreachable

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def room() -> Iterator[Backroom]:
    with backroom() as opened:
        yield opened


@pytest.fixture
def ask(room: Backroom, tmp_path: Path) -> Ask:
    room.open(tmp_path / "s")

    def asked(method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        status, answer = UnixClient(tmp_path / "s").ask(method, path, body)
        return status, json.loads(answer)

    return asked


def test_a_new_key_is_shown_once(ask: Ask) -> None:
    status, made = ask("POST", "/keys", b'{"account":"alice","label":"the shop"}')
    assert status == 200
    assert (made["account"], made["label"]) == ("alice", "the shop")
    assert made["key"].endswith(made["hint"])
    status, listed = ask("GET", "/keys")
    assert status == 200
    assert listed == [{**made, "key": None}]


def test_a_key_is_changed_rotated_switched_and_revoked_by_its_id(ask: Ask) -> None:
    made = ask("POST", "/keys", b'{"account":"alice"}')[1]
    path = f"/keys/{made['id']}"
    assert ask("POST", path, b'{"priority": 3, "models": ["wan2.2-kf2v-flash"]}')[1]["priority"] == 3
    status, renewed = ask("POST", f"{path}/rotate")
    assert (status, renewed["id"]) == (200, made["id"])
    assert renewed["key"] != made["key"]
    assert ask("POST", f"{path}/disable")[1]["disabled_at"]
    assert ask("POST", f"{path}/enable")[1]["disabled_at"] is None
    assert ask("POST", f"{path}/revoke")[1]["revoked_at"]
    for act in ("", "/rotate", "/disable", "/enable", "/revoke"):
        assert ask("POST", path + act)[0] == 404


def test_workspaces_are_made_listed_and_deleted(ask: Ask) -> None:
    status, made = ask("POST", "/workspaces", b'{"account":"alice","id":"llm-1","label":"trial"}')
    assert status == 200
    assert ask("GET", "/workspaces")[1] == [made]
    assert ask("POST", "/workspaces", b'{"account":"bob","id":"llm-1"}')[0] == 400, "ids are everybody's"
    assert ask("DELETE", "/workspaces/llm-1") == (200, True)
    assert ask("DELETE", "/workspaces/llm-1")[0] == 404


def test_revoking_what_is_not_there_says_so(ask: Ask) -> None:
    status, answer = ask("POST", "/keys/9/revoke")
    assert (status, answer["code"]) == (404, "NotFound")
    assert "9" in answer["message"]


@pytest.mark.parametrize("path", ["/keys", "/workspaces"])
@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"account":7}', b"\xff", b'{"account":" "}', b'{"account":"a","scope":"read"}']
)
def test_a_body_that_makes_no_sense_is_refused(ask: Ask, path: str, body: bytes) -> None:
    status, answer = ask("POST", path, body)
    assert (status, answer["code"]) == (400, "InvalidParameter")


def test_without_a_server_the_client_says_that_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        UnixClient(tmp_path / "nobody").ask("GET", "/keys")

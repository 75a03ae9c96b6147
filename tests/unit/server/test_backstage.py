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
    status, made = ask("POST", "/keys", b'{"account":"alice"}')
    assert status == 200
    assert made == {
        "id": "1",
        "account": "alice",
        "hint": "0001",
        "created_at": 1,
        "revoked_at": None,
        "key": "sk-1",
    }
    status, listed = ask("GET", "/keys")
    assert status == 200
    assert listed == [{**made, "key": None}]


def test_a_key_is_revoked_by_its_id(ask: Ask) -> None:
    ask("POST", "/keys", b'{"account":"alice"}')
    assert ask("POST", "/keys/1/revoke") == (200, True)


def test_revoking_what_is_not_there_says_so(ask: Ask) -> None:
    status, answer = ask("POST", "/keys/9/revoke")
    assert (status, answer["code"]) == (404, "NotFound")
    assert "9" in answer["message"]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"account":7}', b"\xff"])
def test_a_body_that_makes_no_sense_is_refused(ask: Ask, body: bytes) -> None:
    status, answer = ask("POST", "/keys", body)
    assert (status, answer["code"]) == (400, "InvalidParameter")


def test_without_a_server_the_client_says_that_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        UnixClient(tmp_path / "nobody").ask("GET", "/keys")

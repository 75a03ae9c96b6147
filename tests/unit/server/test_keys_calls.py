"""/kf2v/v1/keys and /kf2v/v1/workspaces: keys made by keys."""

from typing import Any

import pytest

from house import House
from kf2v.wire.keys import KeyWish

KEYS, SPACES = "/kf2v/v1/keys", "/kf2v/v1/workspaces"


@pytest.fixture
def manager(house: House) -> str:
    return key(house, "mine", scopes=("create", "read", "cancel", "manage"))


@pytest.fixture
def admin(house: House) -> str:
    return key(house, "owner", scopes=("create", "read", "cancel", "manage", "admin"))


def key(house: House, account: str, **wish: Any) -> str:
    return house.run(house.front.keys.create(account, KeyWish(**wish)))[1]


def make(house: House, by: str, **wish: Any) -> dict[str, Any]:
    answer = house.call("POST", KEYS, key=by, json=wish)
    assert answer.status_code == 200, answer.text
    return answer.json()["key"]


def works(house: House, secret: str) -> bool:
    return house.call("GET", "/api/v1/models", key=secret).status_code == 200


def test_an_ordinary_key_manages_nothing(house: House) -> None:
    for method, path in (("GET", KEYS), ("POST", KEYS), ("GET", f"{KEYS}/1"), ("GET", SPACES), ("POST", SPACES)):
        answer = house.call(method, path)
        assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")
        assert "scope 'manage'" in answer.json()["message"]


def test_a_key_is_made_shown_once_and_listed_without_its_secret(house: House, manager: str) -> None:
    made = make(house, manager, label="the shop", scopes=["read", "create"], priority=-2, expires_in=60)
    assert works(house, made["key"])
    assert made["scopes"] == ["create", "read"]
    assert made["expires_at"] == house.clock.now() + 60_000
    listed = house.call("GET", KEYS, key=manager)
    assert made["key"] not in listed.text
    [row] = [row for row in listed.json()["keys"] if row["id"] == made["id"]]
    assert row == {n: v for n, v in made.items() if n != "key"} | {"used_at": house.clock.now()}
    one = house.call("GET", f"{KEYS}/{made['id']}", key=manager).json()
    assert one["key"] == row


def test_a_manager_sees_and_makes_keys_of_its_account_alone(house: House, manager: str) -> None:
    accounts = {row["account"] for row in house.call("GET", KEYS, key=manager).json()["keys"]}
    assert accounts == {"mine"}
    for answer in (
        house.call("GET", f"{KEYS}?account=theirs", key=manager),
        house.call("POST", KEYS, key=manager, json={"account": "theirs"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")
        assert "scope 'admin'" in answer.json()["message"]
    assert make(house, manager, account="mine")["account"] == "mine"


def test_who_may_everything_sees_and_makes_keys_of_every_account(house: House, admin: str) -> None:
    accounts = {row["account"] for row in house.call("GET", f"{KEYS}?account=*", key=admin).json()["keys"]}
    assert accounts == {"mine", "theirs", "owner"}
    made = make(house, admin, account="new")
    listed = house.call("GET", f"{KEYS}?account=new", key=admin).json()["keys"]
    assert [row["id"] for row in listed] == [made["id"]]
    assert house.call("POST", f"{KEYS}/{made['id']}/revoke", key=admin).status_code == 200


@pytest.mark.parametrize("path", [KEYS, SPACES, "/kf2v/v1/webhooks", "/kf2v/v1/deliveries", "/kf2v/v1/usage"])
def test_account_means_the_same_wherever_it_is_asked(house: House, manager: str, admin: str, path: str) -> None:
    def told(query: str, key: str) -> Any:
        answer = house.call("GET", f"{path}{query}", key=key)
        return {n: v for n, v in answer.json().items() if n != "request_id"} if answer.status_code == 200 else None

    house.call("POST", SPACES, key=manager)
    for key, own in ((manager, "mine"), (admin, "owner")):
        assert told("", key) == told("?account=", key) == told(f"?account={own}", key) is not None
    for query in ("?account=*", "?account=theirs", "?account=nobody"):
        assert told(query, manager) is None
        assert told(query, admin) is not None
    assert house.call("GET", f"{path}?account={'x' * 65}", key=admin).status_code == 400


@pytest.mark.parametrize("path", [KEYS, SPACES, "/kf2v/v1/webhooks"])
def test_nothing_is_made_for_everybody(house: House, admin: str, path: str) -> None:
    url = {"url": "https://h.example/"} if path.endswith("webhooks") else {}
    answer = house.call("POST", path, key=admin, json={"account": "*"} | url)
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")


def test_a_key_is_changed_rotated_switched_and_revoked(house: House, manager: str) -> None:
    made = make(house, manager)
    path, secret = f"{KEYS}/{made['id']}", made["key"]
    changed = house.call("PATCH", path, key=manager, json={"models": ["wan2.2-kf2v-flash"], "label": "é"}).json()["key"]
    assert (changed["models"], changed["label"]) == (["wan2.2-kf2v-flash"], "é")
    assert "key" not in changed
    renewed = house.call("POST", f"{path}/rotate", key=manager).json()["key"]
    assert (renewed["id"], renewed["models"]) == (made["id"], ["wan2.2-kf2v-flash"])
    assert (works(house, secret), works(house, renewed["key"])) == (False, True)
    assert "disabled_at" in house.call("POST", f"{path}/disable", key=manager).json()["key"]
    assert not works(house, renewed["key"])
    assert "disabled_at" not in house.call("POST", f"{path}/enable", key=manager).json()["key"]
    assert works(house, renewed["key"])
    assert "revoked_at" in house.call("POST", f"{path}/revoke", key=manager).json()["key"]
    assert not works(house, renewed["key"])
    assert house.call("POST", f"{path}/enable", key=manager).status_code == 404


def test_no_more_is_given_than_there_is(house: House, manager: str) -> None:
    answer = house.call("POST", KEYS, key=manager, json={"scopes": ["admin"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")
    assert "scope 'admin'" in answer.json()["message"]


@pytest.mark.parametrize(
    "body", [b"[]", b"{", b"\xff", b'{"scopes": "read"}', b'{"priority": "high"}', b'{"network": []}', b"[" * 100_000]
)
@pytest.mark.parametrize(("method", "path"), [("POST", KEYS), ("PATCH", f"{KEYS}/1"), ("POST", SPACES)])
def test_a_wish_that_cannot_be_read_is_refused(house: House, manager: str, method: str, path: str, body: bytes) -> None:
    answer = house.call(method, path, key=manager, content=body)
    assert answer.status_code in (400, 413)
    assert answer.json()["code"] in ("InvalidParameter", "BadRequest.TooLarge")
    assert len(house.run(house.front.keys.list("mine"))) == 2


def test_a_misspelt_bound_makes_no_unbound_key(house: House, manager: str) -> None:
    answer = house.call("POST", KEYS, key=manager, json={"network": ["192.0.2.0/24"]})
    assert answer.status_code == 400
    assert "'network'" in answer.json()["message"]
    assert "networks" in answer.json()["message"]


def test_workspaces_are_made_listed_and_deleted(house: House, manager: str, admin: str) -> None:
    made = house.call("POST", SPACES, key=manager, json={"id": "llm-1", "models": ["wan2.1-kf2v-plus"]}).json()[
        "workspace"
    ]
    assert (made["id"], made["account"], made["models"]) == ("llm-1", "mine", ["wan2.1-kf2v-plus"])
    drawn = house.call("POST", SPACES, key=admin, json={"account": "theirs"}).json()["workspace"]["id"]
    assert drawn.startswith("llm-")
    own = house.call("GET", SPACES, key=manager).json()["workspaces"]
    assert [row["id"] for row in own] == ["llm-1"]
    assert {row["id"] for row in house.call("GET", f"{SPACES}?account=*", key=admin).json()["workspaces"]} == {
        "llm-1",
        drawn,
    }
    assert house.call("DELETE", f"{SPACES}/{drawn}", key=manager).status_code == 404
    assert house.call("DELETE", f"{SPACES}/llm-1", key=manager).status_code == 200
    assert house.call("DELETE", f"{SPACES}/llm-1", key=manager).status_code == 404


@pytest.mark.parametrize(
    "wish", [{"id": ""}, {"id": "a b"}, {"id": "x" * 65}, {"label": "\n"}, {"models": ["none"]}, {"id": "llm-taken"}]
)
def test_a_workspace_that_cannot_be_made_is_refused(house: House, manager: str, wish: dict[str, Any]) -> None:
    house.call("POST", SPACES, key=manager, json={"id": "llm-taken"})
    answer = house.call("POST", SPACES, key=manager, json=wish)
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
    assert next(iter(wish)) in answer.json()["message"]


def test_a_manager_of_one_workspace_manages_no_others(house: House, manager: str) -> None:
    house.call("POST", SPACES, key=manager, json={"id": "llm-1"})
    bound = key(house, "mine", scopes=("manage",), workspace="llm-1")
    for method, path in (("POST", SPACES), ("DELETE", f"{SPACES}/llm-1")):
        answer = house.call(method, path, key=bound)
        assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")
    assert make(house, bound, scopes=["manage"], workspace="llm-1")["workspace"] == "llm-1"

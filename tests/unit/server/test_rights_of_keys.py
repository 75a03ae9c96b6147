"""What a key may do, seen from outside: models, regions, workspaces, addresses, scopes, temporary keys."""

from typing import Any

import httpx2
import pytest

from house import House, Open, submission
from kf2v.wire.keys import KeyWish, NewWorkspace

POLICY = "/api/v1/uploads?action=getPolicy&model="
FLASH, PLUS, OLD_PLUS = "wan2.2-kf2v-flash", "wan2.1-kf2v-plus", "wanx2.1-kf2v-plus"


def key(house: House, account: str = "mine", **wish: Any) -> str:
    return house.run(house.front.keys.create(account, KeyWish(**wish)))[1]


def workspace(house: House, name: str, account: str = "mine", **wish: Any) -> None:
    house.run(house.front.workspaces.create(account, NewWorkspace(id=name, **wish)))


def order(house: House, secret: str, model: str = FLASH, space: str | None = None) -> httpx2.Response:
    headers = {} if space is None else {"X-DashScope-WorkSpace": space}
    body = submission(model=model, parameters={"resolution": "720P"})
    return house.create(body, key=secret, headers=headers)


def told(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


def listed(house: House, secret: str) -> list[str]:
    models = house.call("GET", "/api/v1/models", key=secret).json()["output"]["models"]
    return [model["model"] for model in models]


DENIED = (403, "Model.AccessDenied")


@pytest.mark.parametrize(("named", "asked"), [(PLUS, PLUS), (PLUS, OLD_PLUS), (OLD_PLUS, PLUS)])
def test_a_key_for_a_model_is_for_its_other_name_too_and_for_no_other(house: House, named: str, asked: str) -> None:
    secret = key(house, models=(named,))
    assert order(house, secret, asked).status_code == 200
    assert house.call("GET", POLICY + asked, key=secret).status_code == 200
    assert told(order(house, secret, FLASH)) == DENIED
    assert order(house, secret, FLASH).json()["message"] == "Model access denied."
    assert told(house.call("GET", POLICY + FLASH, key=secret)) == DENIED
    assert told(order(house, secret, "wan9.9-kf2v-none")) == (400, "InvalidParameter")
    assert listed(house, secret) == [PLUS, OLD_PLUS]


def test_a_model_that_is_not_the_keys_is_refused_at_once_where_mistakes_fail_the_task(open_house: Open) -> None:
    house = open_house(validation="cloud")
    assert told(order(house, key(house, models=(PLUS,)), FLASH)) == DENIED


def test_a_key_of_a_region_sees_that_regions_models_and_its_tasks_say_so(house: House) -> None:
    beijing = key(house, region="beijing")
    assert listed(house, beijing) == [FLASH, OLD_PLUS]
    assert told(order(house, beijing, PLUS)) == (400, "InvalidParameter")
    assert told(house.call("GET", POLICY + PLUS, key=beijing)) == (400, "InvalidParameter")
    assert order(house, beijing, OLD_PLUS).status_code == 200
    assert order(house, key(house)).status_code == 200
    rows = house.call("GET", "/api/v1/tasks").json()["data"]
    assert sorted(row["region"] for row in rows) == ["cn-beijing", "local"]
    assert house.call("GET", "/api/v1/tasks?region=cn-beijing", key=beijing).json()["total"] == 1


def test_a_key_of_another_region_is_unknown_here(open_house: Open) -> None:
    house = open_house(region="singapore")
    answer = house.call("GET", "/api/v1/models", key=key(house, region="beijing"))
    assert told(answer) == (401, "InvalidApiKey")
    assert answer.json()["message"] == "Invalid API-key provided."
    assert listed(house, key(house, region="singapore")) == [FLASH, PLUS]


def test_an_account_without_workspaces_takes_every_name_and_keeps_it(house: House) -> None:
    task_id = order(house, house.key, space="llm-from-the-cloud").json()["output"]["task_id"]
    task = house.run(house.store.get(task_id))
    assert task is not None
    assert task.workspace == "llm-from-the-cloud"
    assert order(house, house.key, space="l" * 128).status_code == 200
    assert told(order(house, house.key, space="l" * 129)) == (401, "NOT AUTHORIZED"), "within reason"


def test_an_account_with_workspaces_knows_no_others(house: House) -> None:
    workspace(house, "llm-a")
    assert order(house, house.key, space="llm-a").status_code == 200
    assert order(house, house.key).status_code == 200
    for method, path in (("GET", "/api/v1/tasks/x"), ("GET", "/api/v1/models"), ("POST", "/api/v1/tasks/x/cancel")):
        answer = house.call(method, path, headers={"X-DashScope-WorkSpace": "llm-b"})
        assert told(answer) == (401, "NOT AUTHORIZED")
        assert answer.json()["message"].startswith("Access denied: Either you are not authorized")
    assert order(house, house.other_key, space="llm-b").status_code == 200, "an account that keeps none"
    assert house.run(house.front.workspaces.remove("llm-a"))
    assert order(house, house.key, space="llm-b").status_code == 200, "none again"


def test_another_accounts_workspace_is_unknown(house: House) -> None:
    workspace(house, "llm-a")
    workspace(house, "llm-theirs", account="theirs")
    assert told(order(house, house.key, space="llm-theirs")) == (401, "NOT AUTHORIZED")


def test_a_key_of_a_workspace_works_there_and_nowhere_else(house: House) -> None:
    workspace(house, "llm-a")
    workspace(house, "llm-b")
    bound = key(house, workspace="llm-a")
    task_id = order(house, bound).json()["output"]["task_id"]
    task = house.run(house.store.get(task_id))
    assert task is not None
    assert task.workspace == "llm-a"
    assert order(house, bound, space="llm-a").status_code == 200
    assert told(order(house, bound, space="llm-b")) == (401, "NOT AUTHORIZED")
    for name in ("llm-a", "llm-b"):
        house.run(house.front.workspaces.remove(name))
    assert told(order(house, bound)) == (401, "NOT AUTHORIZED"), "its workspace is gone, and with it its bounds"


def test_a_workspace_has_models_of_its_own(house: House) -> None:
    workspace(house, "llm-a", models=(PLUS,))
    assert told(order(house, house.key, FLASH, space="llm-a")) == DENIED
    assert order(house, house.key, OLD_PLUS, space="llm-a").status_code == 200
    assert order(house, house.key, FLASH).status_code == 200
    both = key(house, models=(FLASH,), workspace="llm-a")
    assert told(order(house, both, FLASH)) == DENIED
    assert told(order(house, both, PLUS)) == DENIED
    assert listed(house, both) == []


def from_address(house: House, address: str | None, secret: str, **headers: str) -> httpx2.Response:
    client = (address, 5) if address else None
    transport = httpx2.ASGITransport(app=house.app, client=client)  # type: ignore[arg-type]

    async def ask() -> httpx2.Response:
        async with httpx2.AsyncClient(transport=transport, base_url="http://kf2v.test") as asking:
            return await asking.get("/api/v1/tasks/x", headers={"Authorization": f"Bearer {secret}", **headers})

    return house.run(ask())


@pytest.mark.parametrize("address", ["192.0.2.9", "::ffff:192.0.2.9", "2001:db8::7"])
def test_a_key_of_a_network_works_from_there(house: House, address: str) -> None:
    secret = key(house, networks=("192.0.2.0/24", "2001:db8::/64"))
    assert from_address(house, address, secret).status_code == 200


@pytest.mark.parametrize("address", ["192.0.3.9", "2001:db8:1::7", "127.0.0.1", "not an address", None])
def test_a_key_of_a_network_is_refused_from_elsewhere_and_told_where_that_is(house: House, address: str | None) -> None:
    secret = key(house, networks=("192.0.2.0/24", "2001:db8::/64"))
    answer = from_address(house, address, secret, **{"X-Forwarded-For": "192.0.2.9"})
    assert told(answer) == (403, "AccessDenied")
    assert (address or "nowhere") in answer.json()["message"]
    assert from_address(house, address, house.key).status_code == 200


@pytest.mark.parametrize(
    ("scope", "may"), [("create", "POST /create"), ("read", "GET /api/v1/tasks/x"), ("cancel", "cancel")]
)
def test_a_key_does_what_its_scopes_say(house: House, scope: str, may: str) -> None:
    secret = key(house, scopes=(scope,))
    answers = {
        "POST /create": order(house, secret),
        "GET /api/v1/tasks/x": house.call("GET", "/api/v1/tasks/x", key=secret),
        "cancel": house.call("POST", "/api/v1/tasks/x/cancel", key=secret),
    }
    assert [name for name, answer in answers.items() if answer.status_code != 403] == [may]
    refused = next(answer for name, answer in answers.items() if name != may)
    assert "a key with the scope" in refused.json()["message"]


def test_a_temporary_key_is_made_used_and_bound_to_its_parent(house: House) -> None:
    secret = key(house, models=(PLUS,))
    made = house.call("POST", "/api/v1/tokens?expire_in_seconds=1800", key=secret)
    assert made.status_code == 200
    assert set(made.json()) == {"request_id", "token", "expires_at"}
    token = made.json()["token"]
    assert 0 <= made.json()["expires_at"] - house.clock.now() // 1000 - 1800 <= 1
    task_id = order(house, token, PLUS).json()["output"]["task_id"]
    assert house.query(task_id, key=secret)["output"]["task_status"] == "PENDING"
    assert told(order(house, token, FLASH)) == DENIED
    again = house.call("POST", "/api/v1/tokens", key=token)
    assert told(again) == (403, "AccessDenied")


def test_a_temporary_key_lasts_a_minute_unless_told(house: House) -> None:
    made = house.call("POST", "/api/v1/tokens").json()
    assert 0 <= made["expires_at"] - house.clock.now() // 1000 - 60 <= 1
    house.clock.advance(61_000)
    assert told(house.call("GET", "/api/v1/models", key=made["token"])) == (401, "InvalidApiKey")


@pytest.mark.parametrize("asked", ["0", "1801", "-1", "1.5", "soon", "1" * 30, "٣"])
def test_a_temporary_keys_life_has_bounds(house: House, asked: str) -> None:
    answer = house.call("POST", "/api/v1/tokens", params={"expire_in_seconds": asked})
    assert told(answer) == (400, "InvalidParameter")
    assert "an integer between 1 and 1800: expire_in_seconds, but got" in answer.json()["message"]


def test_a_temporary_key_manages_no_keys(house: House) -> None:
    owner = key(house, scopes=("create", "read", "cancel", "manage", "admin"))
    token = house.call("POST", "/api/v1/tokens", key=owner).json()["token"]
    assert house.call("GET", "/kf2v/v1/keys", key=token).status_code == 200
    one = house.call("GET", "/kf2v/v1/keys", key=owner).json()["keys"][0]["id"]
    for path in ("keys", f"keys/{one}/rotate", f"keys/{one}/revoke", "workspaces"):
        assert told(house.call("POST", f"/kf2v/v1/{path}", key=token)) == (403, "AccessDenied"), path
    assert told(house.call("PATCH", f"/kf2v/v1/keys/{one}", key=token)) == (403, "AccessDenied")

"""Keys as their owner meets them: made, bounded and taken back by commands, and still so after a restart."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clientele import ordered
from deployment import KEY, Deployment, deployed, needs_proc

from service import CREATE, Reply, Service

pytestmark = needs_proc

FRAMES = {"first_frame_url": "http://127.0.0.1:9/a.png", "last_frame_url": "http://127.0.0.1:9/b.png"}
FLASH, PLUS = "wan2.2-kf2v-flash", "wan2.1-kf2v-plus"


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """Takes orders and makes nothing."""
    with deployed(tmp_path, workers=0) as made:
        yield made
        assert not made.complaints()


def told(deployment: Deployment, *arguments: str) -> str:
    ran = deployment.command(*arguments)
    assert ran.returncode == 0, ran
    return ran.stdout.strip()


def made(deployment: Deployment, *options: str) -> dict[str, Any]:
    return json.loads(told(deployment, "keys", "create", "--account", "shop", "--json", *options))


def shown(deployment: Deployment, key_id: str) -> dict[str, Any]:
    return json.loads(told(deployment, "keys", "show", key_id, "--json"))


def order(service: Service, key: str, model: str = FLASH, **headers: str) -> Reply:
    body = json.dumps({"model": model, "input": FRAMES}).encode()
    sent = {"Content-Type": "application/json", "X-DashScope-Async": "enable", **headers}
    return service.request("POST", CREATE, body=body, headers=sent, key=key)


def answer(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json.get("code", "")


def test_what_a_key_may_do_outlives_the_server_that_heard_of_it(deployment: Deployment) -> None:
    told(deployment, "workspaces", "create", "--account", "shop", "--id", "llm-1", "--model", PLUS)
    bounded = made(deployment, "--label", "the shop", "--model", PLUS, "--workspace", "llm-1", "--priority", "3")
    reader = made(deployment, "--scope", "read")
    elsewhere = made(deployment, "--network", "192.0.2.0/24")
    for end in (signal.SIGTERM, signal.SIGKILL, None):
        service = deployment.start()
        assert answer(order(service, bounded["key"], FLASH)) == (403, "Model.AccessDenied")
        assert order(service, bounded["key"], PLUS).status == 200
        assert answer(order(service, bounded["key"], PLUS, **{"X-DashScope-WorkSpace": "llm-2"})) == (
            401,
            "NOT AUTHORIZED",
        )
        assert answer(order(service, reader["key"])) == (403, "AccessDenied")
        assert service.get("/api/v1/tasks", key=reader["key"]).json["total"] > 0, "the account's, whichever key's"
        refused = service.get("/api/v1/tasks", key=elsewhere["key"], headers={"X-Forwarded-For": "192.0.2.1"})
        assert answer(refused) == (403, "AccessDenied")
        assert "127.0.0.1" in refused.json["message"]
        if end is not None:
            deployment.end(end)
    row = shown(deployment, bounded["id"])
    assert (row["label"], row["models"], row["workspace"], row["priority"]) == ("the shop", [PLUS], "llm-1", 3)


def test_changes_by_command_are_felt_by_the_running_server_at_once(deployment: Deployment) -> None:
    service = deployment.start()
    key = made(deployment)

    def works(secret: str) -> bool:
        return service.get("/api/v1/models", key=secret).status == 200

    assert works(key["key"])
    told(deployment, "keys", "disable", key["id"])
    assert not works(key["key"])
    told(deployment, "keys", "enable", key["id"])
    assert works(key["key"])
    told(deployment, "keys", "change", key["id"], "--model", PLUS)
    assert answer(order(service, key["key"], FLASH)) == (403, "Model.AccessDenied")
    told(deployment, "keys", "change", key["id"], "--model", "")
    assert order(service, key["key"], FLASH).status == 200
    fresh = told(deployment, "keys", "rotate", key["id"], "--yes")
    assert (works(key["key"]), works(fresh)) == (False, True)
    told(deployment, "keys", "revoke", key["id"], "--yes")
    assert not works(fresh)
    again = deployment.command("keys", "enable", key["id"])
    assert (again.returncode, again.stderr.partition(":")[0]) == (1, "NotFound")


def test_an_owners_key_that_was_rotated_stays_dead_after_a_restart(deployment: Deployment) -> None:
    service = deployment.start()
    [owner] = json.loads(told(deployment, "keys", "list", "--json"))["keys"]
    assert set(owner["scopes"]) == {"create", "read", "cancel", "manage", "admin"}
    fresh = told(deployment, "keys", "rotate", owner["id"], "--yes")
    assert deployment.end() == 0
    service = deployment.start()
    assert service.get("/api/v1/models", key=KEY).status == 401
    assert any("is revoked or was rotated" in line for line in deployment.log)
    assert service.get("/kf2v/v1/keys", key=fresh).status == 200


def test_a_temporary_key_survives_a_restart_and_not_its_parent(deployment: Deployment) -> None:
    service = deployment.start()
    key = made(deployment)
    task_id = order(service, key["key"]).json["output"]["task_id"]
    granted = service.request("POST", "/api/v1/tokens?expire_in_seconds=1800", key=key["key"]).json
    assert 1790 < granted["expires_at"] - time.time() <= 1801
    deployment.kill()
    service = deployment.start()
    found = service.get(f"/api/v1/tasks/{task_id}", key=granted["token"])
    assert found.json["output"]["task_status"] == "PENDING"
    told(deployment, "keys", "revoke", key["id"], "--yes")
    assert answer(service.get("/api/v1/tasks", key=granted["token"])) == (401, "InvalidApiKey")


def test_when_a_key_was_used_is_known_at_once_and_after_the_end(deployment: Deployment) -> None:
    before = int(time.time() * 1000)
    deployment.start()
    ordered(deployment.service())
    [owner] = json.loads(told(deployment, "keys", "list", "--json"))["keys"]
    assert owner["used_at"] >= before
    assert deployment.end() == 0
    assert shown(deployment, owner["id"])["used_at"] == owner["used_at"]


def test_a_wish_that_makes_no_sense_is_refused_with_the_servers_words(deployment: Deployment) -> None:
    for running in (False, True):
        if running:
            deployment.start()
        for wrong in (("--network", "here"), ("--scope", "all"), ("--priority", "1000"), ("--expires-in", "soon")):
            ran = deployment.command("keys", "create", "--account", "shop", *wrong)
            assert ran.returncode == 2, ran
            assert wrong[1] in ran.stderr
            assert ran.stdout == ""


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [("192.0.2.7", 200), ("198.51.100.9", 403), ("192.0.2.7, 198.51.100.9", 403), ("198.51.100.9, 192.0.2.7", 200)],
)
def test_behind_a_trusted_proxy_the_address_it_passes_on_counts(tmp_path: Path, forwarded: str, status: int) -> None:
    with deployed(tmp_path, workers=0, trusted_proxies="127.0.0.1,10.0.0.0/8") as deployment:
        key = made(deployment, "--network", "192.0.2.0/24")["key"]
        service = deployment.start()
        for chain in (forwarded, f"{forwarded}, 10.1.2.3"):
            assert service.get("/api/v1/models", key=key, headers={"X-Forwarded-For": chain}).status == status
        assert service.get("/api/v1/models", key=key).status == 403


def test_a_server_of_a_region_knows_no_keys_of_another(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=0, region="singapore") as deployment:
        ours, theirs = (made(deployment, "--region", place)["key"] for place in ("singapore", "beijing"))
        service = deployment.start()
        assert service.get("/api/v1/models", key=ours).status == 200
        refused = service.get("/api/v1/models", key=theirs)
        assert (refused.status, refused.json["message"]) == (401, "Invalid API-key provided.")

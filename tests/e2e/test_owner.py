"""What the owner of a service does on its machine: start it, be told clearly why not, make keys and take them back."""

import json
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from clientele import ordered
from deployment import KEY, Deployment, deployed, needs_proc, until

pytestmark = needs_proc


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """Takes orders and makes nothing."""
    with deployed(tmp_path, workers=0) as made:
        yield made
        assert not made.complaints()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(deployment: Deployment, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A ``kf2v serve`` that ends by itself, with status 1 and a sentence instead of a traceback."""
    ended = deployment.command("serve", "--workers", "0", *arguments)
    assert ended.returncode == 1, ended
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert "ready http" not in ended.stderr
    return ended


def accepts(deployment: Deployment, key: str) -> bool:
    """Whether the running server knows ``key``."""
    reply = deployment.service().get("/api/v1/models", key=key)
    assert reply.status in (200, 401), reply
    return reply.status == 200


def test_a_second_server_on_the_same_data_is_told_so_and_disturbs_nobody(deployment: Deployment) -> None:
    service = deployment.start()
    first, *rest = refused(deployment, "--port", "0").stderr.splitlines()
    assert "is in use by process" in first
    assert str(deployment.process.pid) in first
    assert [line[:5] for line in rest] == ["fix: "]
    assert service.get("/readyz").status == 200


def test_a_taken_port_is_named(deployment: Deployment) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        first, *rest = refused(deployment, "--port", port).stderr.splitlines()
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in first
    assert [line[:5] for line in rest] == ["fix: "]


def test_a_server_that_could_not_start_leaves_the_data_to_the_next(deployment: Deployment) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused(deployment, "--port", str(taken.getsockname()[1]))
    assert deployment.start().get("/readyz").status == 200


def test_ready_is_said_once_and_not_before_requests_are_accepted(deployment: Deployment) -> None:
    for _ in range(2):
        already = len(deployment.log)
        service = deployment.start()
        assert service.get("/healthz").status == 200, "the very first request after the line"
        assert deployment.end() == 0
        assert deployment.none_left()
        assert [line for line in deployment.log[already:] if "ready" in line.split()] == [f"ready {deployment.url}"]


def test_the_key_in_the_environment_exists_when_ready_is_said(deployment: Deployment) -> None:
    deployment.start()
    assert accepts(deployment, KEY)
    assert not accepts(deployment, KEY + "x")


def test_a_key_made_beside_the_running_server_works_at_once_until_it_is_revoked(deployment: Deployment) -> None:
    service = deployment.start()
    made = deployment.command("keys", "create", "--account", "x")
    assert (made.returncode, made.stderr) == (0, "")
    (key,) = made.stdout.splitlines()
    assert accepts(deployment, key)
    task_id = ordered(service)
    assert service.get(f"/api/v1/tasks/{task_id}", key=key).json["output"]["task_status"] == "UNKNOWN", (
        "another account"
    )
    listed = json.loads(deployment.command("keys", "list", "--json").stdout)["keys"]
    (key_id,) = [row["id"] for row in listed if row["account"] == "x"]
    assert deployment.command("keys", "revoke", key_id, "--yes").returncode == 0
    assert not accepts(deployment, key)
    assert accepts(deployment, KEY)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_key_made_without_a_server_works_in_the_next_one(deployment: Deployment, end: signal.Signals) -> None:
    deployment.start()
    deployment.end(end)
    made = deployment.command("keys", "create", "--account", "x")
    assert (made.returncode, made.stderr) == (0, "")
    (key,) = made.stdout.splitlines()
    deployment.start()
    assert accepts(deployment, key)


def test_the_first_key_can_be_made_before_there_is_any_data(deployment: Deployment) -> None:
    (key,) = deployment.command("keys", "create", "--account", "x").stdout.splitlines()
    deployment.start()
    assert accepts(deployment, key)
    assert accepts(deployment, KEY)


def test_a_key_revoked_without_a_server_stays_revoked(deployment: Deployment) -> None:
    (key,) = deployment.command("keys", "create", "--account", "x").stdout.splitlines()
    (row,) = json.loads(deployment.command("keys", "list", "--json").stdout)["keys"]
    assert deployment.command("keys", "revoke", row["id"], "--yes").returncode == 0
    deployment.start()
    assert not accepts(deployment, key)


def test_a_revoked_key_of_the_environment_stays_revoked_after_a_restart(deployment: Deployment) -> None:
    deployment.start()
    (row,) = json.loads(deployment.command("keys", "list", "--json").stdout)["keys"]
    assert deployment.command("keys", "revoke", row["id"], "--yes").returncode == 0
    deployment.kill()
    deployment.start()
    assert not accepts(deployment, KEY)


def test_nobody_else_can_read_what_the_service_keeps(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=0, api_key="") as deployment:
        deployment.start()
        assert mode(deployment.data_dir) == 0o700
        assert {name: mode(deployment.data_dir / name) for name in ("owner.key", "secret", "backstage.sock")} == {
            "owner.key": 0o600,
            "secret": 0o600,
            "backstage.sock": 0o600,
        }
        key = (deployment.data_dir / "owner.key").read_text().strip()
        assert accepts(deployment, key)
        deployment.kill()
        deployment.start()
        assert (deployment.data_dir / "owner.key").read_text().strip() == key
        assert accepts(deployment, key)


def test_the_owners_key_is_in_no_log_and_no_worker(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=1) as deployment:
        deployment.start()
        until("the worker runs", deployment.workers)
        (worker,) = deployment.workers()
        assert KEY.encode() not in Path(f"/proc/{worker.pid}/environ").read_bytes()
        assert deployment.end() == 0
        assert deployment.none_left()
        assert KEY not in "\n".join(deployment.log)


def test_a_data_directory_whose_path_is_too_long_for_a_socket_serves_all_the_same(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    with deployed(tmp_path, workers=1, data_dir=deep) as deployment:
        service = deployment.start()
        made = deployment.command("keys", "create", "--account", "x")
        assert made.returncode == 0, made.stderr
        assert accepts(deployment, made.stdout.strip())
        assert service.finish(ordered(service))["output"]["task_status"] == "SUCCEEDED"
        assert "is in use by process" in refused(deployment, "--port", "0").stderr
        assert deployment.end() == 0
        assert not deployment.complaints()


def test_a_server_works_on_when_nobody_reads_what_it_writes(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=1) as deployment:
        deployment.launch().wait()
        deployment.stop_reading()
        service = deployment.service()
        for _ in range(2):
            assert service.finish(ordered(service))["output"]["task_status"] == "SUCCEEDED"
        assert deployment.end() == 0

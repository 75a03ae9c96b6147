"""Asked to leave, a server leaves nothing undone: what was answered is kept, and nobody is cut off or charged."""

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clientele import order, ordered, patiently
from deployment import KEY, Deployment, deployed, needs_proc, until

from service import CREATE, PATIENCE

pytestmark = needs_proc

#: seconds a server may need beyond its drain, on a machine that has other things to do
A_LITTLE = 15.0

ORDER = json.dumps(order()).encode()


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """Takes orders and makes nothing."""
    with deployed(tmp_path, workers=0, drain_seconds="20") as made:
        yield made
        assert not made.complaints()


@pytest.fixture
def theatre(tmp_path: Path) -> Iterator[Deployment]:
    """Plays what the prompt says, see ``sabotage``."""
    with deployed(tmp_path, workers=1, drain_seconds="0.2", max_attempts="2") as made:
        made.sabotage()
        yield made
        assert not made.complaints()


class Customer(threading.Thread):
    """Orders one task after the other until nobody listens any more."""

    def __init__(self, port: int, *, keeps: bool) -> None:
        super().__init__(daemon=True)
        #: ``keeps`` its connection as long as the server does
        self.accepted: list[str] = []
        #: what it was answered, other than 200
        self.refused: list[str] = []
        #: connections that were made and broke before there was an answer
        self.broken: list[str] = []
        self._keeps = keeps
        self._port = port

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        while True:
            try:
                connection.connect() if connection.sock is None else None
            except OSError:
                return
            began = time.monotonic()
            try:
                self._order(connection)
            except (OSError, http.client.HTTPException) as error:
                took = time.monotonic() - began
                self.broken.append(f"{type(error).__name__} after {took:.3f} s, {self._keeps=}: {error}")
                connection.close()
            if not self._keeps:
                connection.close()

    def _order(self, connection: http.client.HTTPConnection) -> None:
        headers = {"Authorization": f"Bearer {KEY}", "X-DashScope-Async": "enable", "Content-Type": "application/json"}
        connection.request("POST", CREATE, ORDER, headers)
        reply = connection.getresponse()
        body = reply.read()
        if reply.status == 200:
            self.accepted.append(json.loads(body)["output"]["task_id"])
        else:
            self.refused.append(f"{reply.status} {body!r}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_no_customer_is_cut_off_and_no_order_forgotten(deployment: Deployment, number: signal.Signals) -> None:
    deployment.start()
    customers = [Customer(deployment.port, keeps=index % 2 == 0) for index in range(8)]
    for customer in customers:
        customer.start()
    until("business is brisk", lambda: all(len(customer.accepted) >= 5 for customer in customers))
    assert deployment.end(number) == 0
    for customer in customers:
        customer.join(PATIENCE)
    assert not [broken for customer in customers for broken in customer.broken], deployment.log_tail()
    assert not [refused for customer in customers for refused in customer.refused]
    service = deployment.start()
    accepted = [task_id for customer in customers for task_id in customer.accepted]
    assert {service.task(task_id)["output"]["task_status"] for task_id in accepted} == {"PENDING"}
    assert deployment.end() == 0
    assert deployment.none_left()


def test_a_request_that_is_being_sent_is_heard_to_its_end(deployment: Deployment) -> None:
    deployment.start()
    with socket.create_connection(("127.0.0.1", deployment.port), timeout=PATIENCE) as slow:
        head = (
            f"POST {CREATE} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {KEY}\r\nX-DashScope-Async: enable\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(ORDER)}\r\n\r\n"
        )
        slow.sendall(head.encode() + ORDER[:1000])
        deployment.process.send_signal(signal.SIGTERM)
        until("nobody new is let in", lambda: not listens(deployment.port))
        slow.sendall(ORDER[1000:])
        answer = b"".join(iter(lambda: slow.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert b"connection: close" in answer.lower()
    assert deployment.process.wait(PATIENCE) == 0


def test_a_client_that_says_nothing_more_is_cut_off_in_the_end(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=0, drain_seconds="1") as deployment:
        deployment.start()
        with socket.create_connection(("127.0.0.1", deployment.port)) as silent:
            silent.sendall(f"POST {CREATE} HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n{{".encode())
            began = time.monotonic()
            assert deployment.end() == 0
            assert time.monotonic() - began < 1 + A_LITTLE
        assert any('"event": "clients cut off"' in line for line in deployment.log)
        assert not deployment.complaints()


def test_who_waits_for_a_better_second_is_answered_before_it_leaves(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=0, limits="cloud", drain_seconds="60") as deployment:
        service = deployment.start()
        patience = {"X-DashScope-Wait-Timeout": "120"}
        with ThreadPoolExecutor(40) as customers:
            waiting = [customers.submit(service.create, ORDER, headers=patience) for _ in range(40)]
            until("the first are served", lambda: sum(one.done() for one in waiting) >= 2)
            assert deployment.end() == 0
            answers = [one.result() for one in waiting]
        refused = [answer for answer in answers if answer.status != 200]
        assert refused
        assert {(answer.status, answer.json["code"]) for answer in refused} == {(429, "Throttling.RateQuota")}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert not deployment.complaints()


@pytest.mark.parametrize("times", [1, 2])
def test_what_runs_is_finished_if_there_is_time_though_a_wrapper_passes_the_signal_on(
    tmp_path: Path, times: int
) -> None:
    with deployed(tmp_path, workers=1, drain_seconds="60") as deployment:
        deployment.sabotage()
        service = deployment.start()
        task_id = ordered(service, f"wait {tmp_path / 'curtain'}")
        # not RUNNING alone: a worker that has just been given it hands it back
        until("it is worked on", lambda: service.get(f"/kf2v/v1/tasks/{task_id}").json["task"]["phase"] == "render")
        for _ in range(times):
            deployment.process.send_signal(signal.SIGTERM)
            time.sleep(0.01)  # two that are under way together are one
        until("the server drains", lambda: service.get("/readyz").status == 503)
        (tmp_path / "curtain").touch()
        assert deployment.process.wait(PATIENCE) == 0
        service = deployment.start()
        assert service.task(task_id)["output"]["task_status"] == "SUCCEEDED"
        assert sum('"event": "task claimed"' in line for line in deployment.log) == 1
        assert not any('"event": "clients cut off"' in line for line in deployment.log), "nobody was in a hurry"
        assert not deployment.complaints()


def test_leaving_again_and_again_is_not_charged_to_the_task(theatre: Deployment, tmp_path: Path) -> None:
    service = theatre.start()
    task_id = ordered(service, f"wait {tmp_path / 'curtain'}")
    for attempt in range(1, 4):
        until("it runs", lambda: claims(theatre, task_id) == attempt)  # noqa: B023  called before the next round
        assert theatre.end() == 0
        assert theatre.none_left()
        service = theatre.start()
        assert service.task(task_id)["output"]["task_status"] == "RUNNING", "what ran once never waits again"
    (tmp_path / "curtain").touch()
    assert patiently(service, task_id, PATIENCE)["output"]["task_status"] == "SUCCEEDED"
    assert claims(theatre, task_id) == 4, "charges would have ended it"


def test_work_that_hears_nothing_is_handed_back_uncharged_too(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=1, drain_seconds="0", max_attempts="1") as theatre:
        theatre.sabotage()
        service = theatre.start()
        hung = tmp_path / "hung"
        task_id = ordered(service, f"hang {hung}")
        for attempt in (1, 2):
            until("it is deaf", hung.exists)
            hung.unlink()
            until("that is told", lambda: claims(theatre, task_id) == attempt)  # noqa: B023  called before the next round
            assert theatre.end() == 0
            assert theatre.none_left()
            assert theatre.start().task(task_id)["output"]["task_status"] == "RUNNING", "one charge would end it"
        assert not theatre.complaints()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with deployed(tmp_path, workers=1, drain_seconds="3600") as deployment:
        deployment.sabotage()
        service = deployment.start()
        hung = tmp_path / "hung"  # a worker that has only just been given its task hands it back, and nobody drains
        task_id = ordered(service, f"hang {hung}")
        until("it is deaf", hung.exists)
        deployment.process.send_signal(number)
        until("the server drains", lambda: service.get("/readyz").status == 503)
        time.sleep(0.5)  # at once, it would be the same signal passed on
        with socket.create_connection(("127.0.0.1", deployment.port)) as silent:
            silent.sendall(f"POST {CREATE} HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n".encode())
            assert deployment.end(number) == 0
        assert deployment.none_left()
        assert deployment.start().task(task_id)["output"]["task_status"] == "RUNNING"
        assert not deployment.complaints()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_can_be_asked_the_moment_it_is_ready(deployment: Deployment, number: signal.Signals) -> None:
    deployment.launch().wait(PATIENCE)
    assert deployment.end(number) == 0


def claims(deployment: Deployment, task_id: str) -> int:
    """How often that task was given to a worker so far."""
    return sum('"event": "task claimed"' in line and task_id in line for line in deployment.log)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True

"""GET /kf2v/v1/events as handlers see it: who may listen, and until when."""

import asyncio
import json
from typing import Any

import httpx2
import pytest
from sse_starlette.event import ServerSentEvent

from house import House
from kf2v.admission.keys import Scope
from kf2v.server.ext.events import Stream
from kf2v.store import Rights

EVENTS = "/kf2v/v1/events"
TASKS = "/kf2v/v1/tasks"


def heard(house: House, query: str = "", *, meanwhile: Any = None, **request: Any) -> list[tuple[str, dict[str, Any]]]:
    """All that a client hears until the journal is closed, which is when ``meanwhile`` is done. ``key`` None: without
    one.
    """

    async def listen() -> httpx2.Response:
        key = request.get("key", house.key)
        headers = {**({} if key is None else {"Authorization": f"Bearer {key}"}), **request.get("headers", {})}
        stream = asyncio.create_task(house.client.get(EVENTS + query, headers=headers))
        for _ in range(20):
            await asyncio.sleep(0)
        if meanwhile is not None:
            await meanwhile()
        house.front.journal.close()
        return await stream

    answer = house.run(listen())
    assert answer.status_code == 200, answer.text
    return [parsed(block) for block in answer.text.split("\n\n") if "data:" in block]


def parsed(block: str) -> tuple[str, dict[str, Any]]:
    members = dict(line.split(": ", 1) for line in block.splitlines())
    return members["event"], json.loads(members["data"])


def test_the_first_word_says_where_to_go_on_from(house: House) -> None:
    house.created()
    [(kind, told)] = heard(house)
    assert kind == "hello"
    assert told["last_event_id"].endswith("-1")


def test_a_browser_listens_with_a_temporary_key_in_the_address_until_that_ends(house: House) -> None:
    token = house.call("POST", "/api/v1/tokens?expire_in_seconds=60").json()["token"]

    async def meanwhile() -> None:
        await house.front.desk.stop(task_id)
        await asyncio.sleep(0.1)
        house.clock.advance(61_000)
        await house.front.desk.stop(other_id)
        await asyncio.sleep(0.1)

    task_id, other_id = house.created(), house.created()
    told = heard(house, f"?token={token}", key=None, meanwhile=meanwhile)
    assert [(kind, members.get("task_id")) for kind, members in told] == [("hello", None), ("task", task_id)]


def test_what_happens_while_the_first_word_is_on_its_way_is_told(house: House) -> None:
    task_id = house.created()
    said: list[bytes] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        said.append(message.get("body", b""))
        if b"event: hello" in said[-1]:
            await house.front.desk.stop(task_id)
            asyncio.get_running_loop().call_later(0.1, house.front.journal.close)

    scope = {"type": "http", "method": "GET", "path": EVENTS, "query_string": b""}
    scope["headers"] = [(b"authorization", f"Bearer {house.key}".encode())]
    house.run(asyncio.wait_for(house.app(scope, receive, send), 20))
    assert [block.count(b"CANCELED") for block in said if b"event: task" in block] == [1]


@pytest.mark.parametrize("place", ["9" * 5000, "-1", "0x1", "%00", "é"])
def test_a_place_that_cannot_be_is_a_gap(house: House, place: str) -> None:
    epoch = house.front.journal.name(0).partition("-")[0]
    assert [kind for kind, _ in heard(house, f"?last_event_id={epoch}-{place}")] == ["resync"]


def test_all_that_is_done_to_a_task_is_told(house: House) -> None:
    task_id = house.created()
    attempt = house.start(task_id)
    house.run(house.front.desk.renew(task_id, attempt, phase="render", progress=0.5))
    house.call("POST", f"{TASKS}/{task_id}/cancel")
    house.call("POST", f"{TASKS}/{task_id}/keep")
    house.call("DELETE", f"{TASKS}/{task_id}")
    start = house.front.journal.name(0)
    told = heard(house, headers={"Last-Event-ID": start})
    assert [(kind, task.get("task_status"), task.get("percent")) for kind, task in told] == [
        ("task", "PENDING", 0),
        ("task", "RUNNING", 0),
        ("task", "RUNNING", 50),
        ("task", "CANCELED", 50),
        ("task", "CANCELED", 50),
        ("deleted", None, None),
    ]


def test_a_task_canceled_by_the_vendors_api_is_told_too(house: House) -> None:
    task_id = house.created()
    house.call("POST", f"/api/v1/tasks/{task_id}/cancel")
    told = heard(house, f"?last_event_id={house.front.journal.name(1)}")
    assert [(kind, task["task_status"]) for kind, task in told] == [("task", "CANCELED")]


def test_nothing_of_another_account_is_told(house: House) -> None:
    house.created()
    start = house.front.journal.name(0)
    assert heard(house, key=house.other_key, headers={"Last-Event-ID": start}) == []


def test_one_task_can_be_listened_to_alone(house: House) -> None:
    one, other = house.created(), house.created()
    told = heard(house, f"?task_id={other}", headers={"Last-Event-ID": house.front.journal.name(0)})
    assert [task["task_id"] for _, task in told] == [other]
    assert one != other


def test_nobody_waits_for_news_of_a_task_that_is_not_there(house: House) -> None:
    task_id = house.created()
    for key, asked in ((house.key, "nope"), (house.other_key, task_id)):
        assert house.call("GET", f"{EVENTS}?task_id={asked}", key=key).json()["code"] == "NotFound"


def test_who_comes_back_for_a_task_hears_that_it_is_forgotten(house: House) -> None:
    task_id = house.created()
    house.call("POST", f"{TASKS}/{task_id}/cancel")
    house.call("DELETE", f"{TASKS}/{task_id}")
    told = heard(house, f"?task_id={task_id}&last_event_id={house.front.journal.name(2)}")
    assert told == [("deleted", {"task_id": task_id})]


def test_a_stream_ends_when_its_key_does(house: House) -> None:
    rights = Rights(scopes=frozenset({str(Scope.READ)}))
    key = house.run(house.front.keys.ensure("sk-soon-gone", "mine", rights))
    task_id = house.created()

    async def revoke() -> None:
        await house.front.keys.revoke(key.id)
        await house.front.desk.stop(task_id)

    assert [kind for kind, _ in heard(house, key="sk-soon-gone", meanwhile=revoke)] == ["hello"]


def test_who_can_send_no_headers_shows_a_temporary_key_in_the_address(house: House) -> None:
    house.created()
    token = house.call("POST", "/api/v1/tokens?expire_in_seconds=60").json()["token"]
    asked = f"?token={token}&last_event_id={house.front.journal.name(0)}"
    assert [kind for kind, _ in heard(house, asked, key=None)] == ["task"]
    for wrong in (house.key, "st-nobodys", "st-\N{CJK UNIFIED IDEOGRAPH-4E2D}"):
        assert house.call("GET", f"{EVENTS}?token={wrong}", key=None).json()["code"] == "InvalidApiKey"


def test_a_head_has_no_stream(house: House) -> None:
    answer = house.call("HEAD", EVENTS)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


@pytest.mark.anyio
async def test_silence_is_broken_by_a_comment_and_a_client_that_leaves_is_let_go() -> None:
    async def nothing() -> Any:
        await asyncio.Event().wait()
        yield ServerSentEvent("never")

    sent: list[bytes] = []
    leave = asyncio.Event()

    async def receive() -> Any:
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if len(sent) == 4:
            leave.set()

    async def still_may() -> bool:
        return True

    stream = Stream(nothing(), 0.001, still_may)
    await asyncio.wait_for(stream({"type": "http", "method": "GET"}, receive, send), 20)
    assert sent[1:4] == [b": still here\n\n"] * 3


@pytest.mark.anyio
async def test_a_silent_stream_ends_too_when_its_key_does() -> None:
    async def nothing() -> Any:
        await asyncio.Event().wait()
        yield ServerSentEvent("never")

    sent: list[bytes] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    async def still_may() -> bool:
        return len(sent) < 3

    stream = Stream(nothing(), 0.001, still_may)
    await asyncio.wait_for(stream({"type": "http", "method": "GET"}, receive, send), 20)
    assert sent == [b"", b": still here\n\n", b": still here\n\n", b""]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"

"""``/kf2v/v1/webhooks`` and ``/kf2v/v1/deliveries``: whose they are, what they take, what they tell."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from house import House, Open
from kf2v.admission.keys import Scope
from kf2v.clock import HOUR
from kf2v.notify.courier import Result
from kf2v.notify.signature import is_secret
from kf2v.server.ext.webhooks import LIMIT
from kf2v.server.sweeper import Sweeper
from kf2v.store import Rights
from kf2v.tasks.retention import Retention
from receiver import receiving

HOOKS = "/kf2v/v1/webhooks"
URL = "https://receiver.example/hook"
MANAGER, OTHER_MANAGER, ADMIN = "sk-manager", "sk-other-manager", "sk-admin"


@pytest.fixture
def house(open_house: Open) -> House:
    house = open_house(webhook_allow_hosts="127.0.0.1")
    for key, account, scope in (
        (MANAGER, "mine", Scope.MANAGE),
        (OTHER_MANAGER, "theirs", Scope.MANAGE),
        (ADMIN, "the owner", Scope.ADMIN),
    ):
        rights = Rights(scopes=frozenset({Scope.MANAGE, scope}))
        house.run(house.front.keys.ensure(key, account, rights))
    return house


def make(house: House, *, key: str = MANAGER, **body: Any) -> dict[str, Any]:
    answer = house.call("POST", HOOKS, key=key, json={"url": URL, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["webhook"]


def listed(house: House, *, key: str = MANAGER, query: str = "") -> list[str]:
    return [hook["id"] for hook in house.call("GET", HOOKS + query, key=key).json()["webhooks"]]


def deliver(house: House) -> None:
    async def carry() -> None:
        await house.front.courier.look()
        while house.front.courier._tries:
            await asyncio.wait(house.front.courier._tries)
            await asyncio.sleep(0)

    house.run(carry())


def test_a_webhook_shows_its_secret_once(house: House) -> None:
    made = make(house, label="mine")
    assert is_secret(made["secret"])
    assert made | {"secret": ...} == {
        "id": made["id"],
        "account": "mine",
        "url": URL,
        "label": "mine",
        "enabled": True,
        "secret": ...,
        "secret_hint": made["secret"][-4:],
        "created_at": house.clock.now(),
    }
    del made["secret"]
    assert house.call("GET", f"{HOOKS}/{made['id']}", key=MANAGER).json()["webhook"] == made
    assert house.call("GET", HOOKS, key=MANAGER).json()["webhooks"] == [made]


def test_a_secret_of_ones_own_is_taken(house: House) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert make(house, secret=secret)["secret"] == secret


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "Required body invalid"),
        (b"\xff", "Required body invalid"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `url`"),
        (b'{"url": "https://example.com/", "secrets": "x"}', "unknown field `secrets`"),
        (b'{"url": 7}', "Expected `str`, got `int` - at `$.url`"),
        (b'{"url": "ftp://x"}', "should start with http:// or https://"),
        (b'{"url": "http://10.0.0.1/"}', "KF2V_WEBHOOK_ALLOW_HOSTS=10.0.0.1"),
        (b'{"url": "https://a.example:444/"}', "KF2V_WEBHOOK_ALLOW_HOSTS=a.example"),
        (b'{"url": "https://a.example/", "secret": "open sesame"}', "base64 of 24 to 64 bytes"),
        (b'{"url": "https://a.example/", "label": "a\\nb"}', "100 printable characters"),
        (b'{"url": "https://a.example/", "label": "' + b"x" * 101 + b'"}', "100 printable characters"),
    ],
)
def test_a_webhook_that_makes_no_sense_is_refused(house: House, body: bytes, said: str) -> None:
    answer = house.call("POST", HOOKS, key=MANAGER, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
    assert said in answer.json()["message"]
    assert "sesame" not in answer.text
    assert listed(house) == []


def test_an_account_may_have_twenty(house: House) -> None:
    for _ in range(LIMIT):
        make(house)
    answer = house.call("POST", HOOKS, key=MANAGER, json={"url": URL})
    assert (answer.status_code, answer.json()["code"]) == (429, "Throttling.AllocationQuota")
    make(house, key=OTHER_MANAGER)
    house.call("DELETE", f"{HOOKS}/{listed(house)[0]}", key=MANAGER)
    make(house)


def test_a_webhook_changes_as_it_is_told(house: House) -> None:
    made = make(house, label="old")
    path = f"{HOOKS}/{made['id']}"

    def change(**body: Any) -> dict[str, Any]:
        answer = house.call("PATCH", path, key=MANAGER, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["webhook"]

    shown = {name: value for name, value in made.items() if name != "secret"}
    assert change(url=URL + "/2") == shown | {"url": URL + "/2"}
    assert change(label="") == shown | {"url": URL + "/2", "label": ""}
    assert change(label="new") == shown | {"url": URL + "/2", "label": "new"}
    off = change(enabled=False)
    assert (off["enabled"], off["disabled_at"]) == (False, house.clock.now())
    house.clock.advance(1)
    assert change(enabled=False)["disabled_at"] == off["disabled_at"]
    on = change(enabled=True)
    assert (on["enabled"], "disabled_at" in on) == (True, False)
    rotated = change(rotate_secret=True)
    assert is_secret(rotated["secret"])
    assert rotated["secret"] != made["secret"]
    assert (rotated["label"], rotated["url"]) == ("new", URL + "/2")


@pytest.mark.parametrize(
    "body",
    [
        {"url": "http://127.0.0.2/"},
        {"secret": "short"},
        {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "rotate_secret": True},
        {"enabled": "yes"},
        {"disabled": True},
    ],
)
def test_a_change_that_makes_no_sense_changes_nothing(house: House, body: dict[str, Any]) -> None:
    made = make(house)
    path = f"{HOOKS}/{made['id']}"
    before = house.call("GET", path, key=MANAGER).json()["webhook"]
    assert house.call("PATCH", path, key=MANAGER, json=body).status_code == 400
    assert house.call("GET", path, key=MANAGER).json()["webhook"] == before


def test_a_deleted_webhook_is_gone(house: House) -> None:
    path = f"{HOOKS}/{make(house)['id']}"
    assert house.call("DELETE", path, key=MANAGER).status_code == 200
    for method in ("GET", "PATCH", "DELETE"):
        answer = house.call(method, path, key=MANAGER, json={})
        assert (answer.status_code, answer.json()["code"]) == (404, "NotFound")


EVERY_CALL = [
    ("GET", HOOKS),
    ("POST", HOOKS),
    ("GET", f"{HOOKS}/secret"),
    ("GET", f"{HOOKS}/{{id}}"),
    ("PATCH", f"{HOOKS}/{{id}}"),
    ("DELETE", f"{HOOKS}/{{id}}"),
    ("POST", f"{HOOKS}/{{id}}/test"),
    ("GET", f"{HOOKS}/{{id}}/deliveries"),
    ("GET", "/kf2v/v1/deliveries"),
    ("POST", "/kf2v/v1/deliveries/{delivery}/retry"),
]


def delivery_of(house: House) -> str:
    task_id = house.created()
    house.fail(task_id)
    (delivery,) = house.call("GET", f"/kf2v/v1/deliveries?task_id={task_id}", key=MANAGER).json()["deliveries"]
    return delivery["id"]


@pytest.mark.parametrize(("method", "path"), EVERY_CALL)
def test_a_key_that_is_not_for_managing_is_refused(house: House, method: str, path: str) -> None:
    made = make(house)
    path = path.format(id=made["id"], delivery=delivery_of(house))
    assert house.call(method, path, key=None).status_code == 401
    answer = house.call(method, path, json={"url": URL})
    assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied")
    assert "'manage'" in answer.json()["message"]


@pytest.mark.parametrize(("method", "path"), [row for row in EVERY_CALL if "{" in row[1]])
def test_what_is_anothers_is_not_there(house: House, method: str, path: str) -> None:
    made = make(house)
    path = path.format(id=made["id"], delivery=delivery_of(house))
    assert house.call(method, path, key=OTHER_MANAGER, json={}).status_code == 404
    assert listed(house) == [made["id"]]


def test_nobodys_list_holds_anothers(house: House) -> None:
    mine, theirs = make(house)["id"], make(house, key=OTHER_MANAGER)["id"]
    delivery_of(house)
    assert (listed(house), listed(house, key=OTHER_MANAGER)) == ([mine], [theirs])
    assert house.call("GET", "/kf2v/v1/deliveries", key=OTHER_MANAGER).json()["deliveries"] == []
    for path in (HOOKS, f"{HOOKS}/secret", "/kf2v/v1/deliveries"):
        assert house.call("GET", f"{path}?account=mine", key=OTHER_MANAGER).status_code == 403
    assert house.call("POST", HOOKS, key=OTHER_MANAGER, json={"url": URL, "account": "mine"}).status_code == 403


def test_a_temporary_key_leaves_no_webhook_behind_and_learns_no_secret(house: House) -> None:
    hook, token = make(house), house.call("POST", "/api/v1/tokens", key=MANAGER).json()["token"]
    for method, path, body in (
        ("POST", HOOKS, {"url": URL}),
        ("PATCH", f"{HOOKS}/{hook['id']}", {"rotate_secret": True}),
        ("DELETE", f"{HOOKS}/{hook['id']}", None),
        ("GET", f"{HOOKS}/secret", None),
    ):
        answer = house.call(method, path, key=token, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "AccessDenied"), path
        assert "outlives" in answer.json()["message"]
    assert listed(house, key=token) == [hook["id"]]


def test_an_admin_manages_everybodys(house: House) -> None:
    made = make(house, key=ADMIN, account="mine")
    assert made["account"] == "mine"
    assert listed(house) == listed(house, key=ADMIN, query="?account=mine") == [made["id"]]
    assert listed(house, key=ADMIN) == []
    assert listed(house, key=ADMIN, query="?account=*") == [made["id"]]
    delivery_of(house)
    for account, count in (("*", 1), ("mine", 1), ("", 0)):
        answer = house.call("GET", f"/kf2v/v1/deliveries?account={account}", key=ADMIN)
        assert len(answer.json()["deliveries"]) == count, account
    assert house.call("GET", f"{HOOKS}/{made['id']}", key=ADMIN).status_code == 200
    mine = house.call("GET", f"{HOOKS}/secret", key=MANAGER).json()
    assert house.call("GET", f"{HOOKS}/secret?account=mine", key=ADMIN).json()["secret"] == mine["secret"]
    assert house.call("GET", f"{HOOKS}/secret", key=ADMIN).json()["secret"] != mine["secret"]


def test_a_test_hands_on_what_the_receiver_said(house: House) -> None:
    with receiving() as receiver:
        made = make(house, url=receiver.url)
        receiver.next, receiver.says = [(200, {}), (500, {})], b"thanks" + b"!" * 1000
        answer = house.call("POST", f"{HOOKS}/{made['id']}/test", key=MANAGER).json()
        assert (answer["delivered"], answer["status"], answer["answer"][:7]) == (True, 200, "thanks!")
        assert len(answer["answer"]) == 500
        answer = house.call("POST", f"{HOOKS}/{made['id']}/test", key=MANAGER).json()
        assert (answer["delivered"], answer["status"]) == (False, 500)
        assert [got.json["type"] for got in receiver.got] == ["kf2v:Webhook:Test"] * 2
    answer = house.call("POST", f"{HOOKS}/{made['id']}/test", key=MANAGER).json()
    assert (answer["delivered"], "cannot be connected to" in answer["error"]) == (False, True)
    assert "status" not in answer


def test_it_can_be_looked_up_what_became_of_an_event(house: House) -> None:
    with receiving() as receiver:
        made = make(house, url=receiver.url)
        receiver.next = [(500, {})]
        task_id = house.created(headers={"X-Kf2v-Callback": "http://127.0.0.1:9/"})
        house.finish(task_id)
        path = f"{HOOKS}/{made['id']}/deliveries"
        (delivery,) = house.call("GET", path, key=MANAGER).json()["deliveries"]
        now = house.clock.now()
        waiting = {
            "id": delivery["id"],
            "task_id": task_id,
            "task_status": "SUCCEEDED",
            "webhook_id": made["id"],
            "url": receiver.url,
            "state": "PENDING",
            "attempts": 0,
            "created_at": now,
            "next_attempt_at": now,
        }
        assert delivery == waiting
        deliver(house)
        (delivery,) = house.call("GET", path, key=MANAGER).json()["deliveries"]
        assert delivery["next_attempt_at"] > now
        tried = {"attempts": 1, "status": 500, "error": "The receiver answered with status 500."}
        assert delivery == waiting | tried | {"next_attempt_at": delivery["next_attempt_at"]}
        of_task = house.call("GET", f"/kf2v/v1/deliveries?task_id={task_id}", key=MANAGER).json()["deliveries"]
        assert {one.get("webhook_id") for one in of_task} == {made["id"], None}
        assert house.call("GET", "/kf2v/v1/deliveries?task_id=x", key=MANAGER).json()["deliveries"] == []
        answer = house.call("POST", f"/kf2v/v1/deliveries/{delivery['id']}/retry", key=MANAGER)
        assert answer.json()["delivery"]["next_attempt_at"] == now
        deliver(house)
        (delivery,) = house.call("GET", path, key=MANAGER).json()["deliveries"]
        assert (delivery["state"], delivery["delivered_at"], delivery["attempts"]) == ("DELIVERED", now, 2)
        house.call("POST", f"/kf2v/v1/deliveries/{delivery['id']}/retry", key=MANAGER)
        deliver(house)
        assert len(receiver.got) == 3
        assert len({got.headers["webhook-id"] for got in receiver.got}) == 1


@pytest.mark.parametrize("end", ["finish", "fail", "cancel"])
def test_every_end_is_told_once(house: House, end: str) -> None:
    with receiving() as receiver:
        make(house, url=receiver.url)
        task_id = house.created()
        if end == "cancel":
            assert house.call("POST", f"/api/v1/tasks/{task_id}/cancel").status_code == 200
        else:
            getattr(house, end)(task_id)
        deliver(house)
        deliver(house)
        (got,) = receiver.got
        status = house.query(task_id)["output"]["task_status"]
        assert (got.json["data"]["task_id"], got.json["data"]["task_status"]) == (task_id, status)
        assert status == {"finish": "SUCCEEDED", "fail": "FAILED", "cancel": "CANCELED"}[end]


def settle(house: House, task_id: str) -> None:
    house.finish(task_id)


def cancel(house: House, task_id: str) -> None:
    assert house.call("POST", f"/api/v1/tasks/{task_id}/cancel").status_code == 200


def take_too_long(house: House, task_id: str) -> None:
    house.start(task_id)
    house.clock.advance(100 * HOUR)
    house.run(house.front.desk.look_after())


def crash_too_often(house: House, task_id: str) -> None:
    for _ in range(3):
        house.start(task_id)
        house.lose_worker()


@pytest.mark.parametrize("end", [settle, cancel, take_too_long, crash_too_often])
def test_the_courier_is_woken_by_every_end(house: House, end: Callable[[House, str], None]) -> None:
    with receiving() as receiver:
        make(house, url=receiver.url)
        task_id = house.created()
        house.front.courier._every = 1e6

        async def begin() -> asyncio.Task[None]:
            return asyncio.create_task(house.front.courier.run())

        running = house.run(begin())
        house.run(asyncio.to_thread(time.sleep, 0.05))  # it has looked, and sleeps
        end(house, task_id)
        house.run(asyncio.to_thread(receiver.wait, lambda got: len(got) == 1))
        assert house.run(house.store.deliveries("mine"))[0].news.task_id == task_id
        running.cancel()
        house.run(house.front.courier.finish(60.0))


def test_no_more_than_two_tests_of_an_account_are_under_way(house: House) -> None:
    with receiving() as receiver:
        made, others = make(house, url=receiver.url), make(house, key=OTHER_MANAGER, url=receiver.url)
        receiver.awake.clear()

        async def ask() -> list[httpx2.Response]:
            def test(hook: dict[str, Any], key: str) -> asyncio.Task[httpx2.Response]:
                headers = {"Authorization": f"Bearer {key}"}
                return asyncio.create_task(house.client.post(f"{HOOKS}/{hook['id']}/test", headers=headers))

            under_way = [test(made, MANAGER), test(made, MANAGER), test(others, OTHER_MANAGER)]
            await asyncio.to_thread(receiver.wait, lambda got: len(got) == 3)
            refused = await test(made, MANAGER)
            receiver.awake.set()
            return [refused, *await asyncio.gather(*under_way)]

        refused, *done = house.run(ask())
        assert (refused.status_code, refused.json()["code"]) == (429, "Throttling.RateQuota")
        assert refused.headers["retry-after"] == "1"
        assert [answer.json()["delivered"] for answer in done] == [True] * 3
        assert house.call("POST", f"{HOOKS}/{made['id']}/test", key=MANAGER).status_code == 200


@pytest.mark.parametrize("validation", ["strict", "cloud"])
def test_an_unusable_callback_is_refused_by_its_name(open_house: Open, validation: str) -> None:
    house = open_house(validation=validation)
    answer = house.create(headers={"X-Kf2v-Callback": "http://127.0.0.1:9/hook"})
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
    assert "X-Kf2v-Callback" in answer.json()["message"]
    assert house.call("GET", "/api/v1/tasks").json()["total"] == 0


def test_old_news_is_forgotten_after_seven_days(house: House) -> None:
    make(house)
    delivery = delivery_of(house)
    waiting = delivery_of(house)
    sweeper = Sweeper(store=house.store, blobs=house.blobs, clock=house.clock, retention=Retention())
    (row,) = [row for row in house.run(house.store.due(now=house.clock.now(), limit=9)) if row.id == delivery]
    house.run(house.store.keep_delivery(replace(row, delivered_at=house.clock.now())))
    house.clock.advance(7 * 24 * HOUR - 1)
    house.run(sweeper.sweep())
    assert house.run(house.store.delivery(delivery)) is not None
    house.clock.advance(1)
    house.run(sweeper.sweep())
    assert house.run(house.store.delivery(delivery)) is None
    assert house.run(house.store.delivery(waiting)) is not None


def test_metrics_count_what_became_of_deliveries_and_what_waits(house: House) -> None:
    def figures() -> tuple[int, ...]:
        lines = house.call("GET", "/metrics", key=None).text.splitlines()
        found = dict(line.rsplit(" ", 1) for line in lines)
        results = [found[f'kf2v_deliveries_total{{result="{result}"}}'] for result in Result]
        return tuple(int(float(figure)) for figure in (*results, found["kf2v_deliveries_waiting"]))

    assert figures() == (0, 0, 0, 0)
    with receiving() as receiver:
        hook = make(house, url=f"{receiver.url}/hook")
        receiver.next = [(503, {})]
        cancel(house, house.created())
        assert figures() == (0, 0, 0, 1)
        deliver(house)
        assert figures() == (0, 1, 0, 1)
        house.clock.advance(10_000)
        deliver(house)
        assert figures() == (1, 1, 0, 0)
        cancel(house, house.created())
        house.call("DELETE", f"{HOOKS}/{hook['id']}", key=MANAGER)
        deliver(house)
        assert figures() == (1, 1, 1, 0)

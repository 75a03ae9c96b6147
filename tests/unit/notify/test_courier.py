"""News arrives, whatever receivers do; and whatever they do, it is nobody else's trouble."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import pairwise

import pytest
from standardwebhooks import WebhookVerificationError

from kf2v.clock import HOUR, SECOND
from kf2v.net.guard import AllowedHosts
from kf2v.net.post import Answer
from kf2v.notify import courier
from kf2v.notify.courier import UNDER_WAY, Result
from kf2v.notify.signature import account_secret, new_secret
from office import SECRET, Office, Open
from receiver import Receiver, receiving


def test_the_end_of_a_task_arrives_signed_at_every_webhook_of_its_account(office: Office, receiver: Receiver) -> None:
    first, second = office.hook(f"{receiver.url}/first"), office.hook(f"{receiver.url}/second")
    office.hook(f"{receiver.url}/foreign", account="theirs")
    task_id = office.end()
    office.carry()
    got = {one.path: one for one in receiver.got}
    assert set(got) == {"/first", "/second"}
    for hook, one in ((first, got["/first"]), (second, got["/second"])):
        event = one.verified(hook.secret)
        assert event["data"]["task_id"] == task_id
        assert event["id"] == one.headers["webhook-id"]
        assert one.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        assert "authorization" not in one.headers
    assert len({one.headers["webhook-id"] for one in receiver.got}) == 2
    assert all(delivery.delivered_at is not None and delivery.attempts == 1 for delivery in office.deliveries())
    office.carry()
    assert len(receiver.got) == 2


def test_another_secret_does_not_verify(office: Office, receiver: Receiver) -> None:
    office.hook(receiver.url)
    office.end()
    office.carry()
    with pytest.raises(WebhookVerificationError):
        receiver.got[0].verified(new_secret())


def test_a_callback_is_signed_with_its_accounts_own_secret(office: Office, receiver: Receiver) -> None:
    office.end(callback=f"{receiver.url}/asked?token=1")
    office.carry()
    (one,) = receiver.got
    assert one.path == "/asked?token=1"
    assert one.verified(account_secret(SECRET, "mine"))["data"]["task_status"] == "CANCELED"


def test_what_is_refused_comes_again_later_word_for_word(office: Office, receiver: Receiver) -> None:
    hook = office.hook(receiver.url)
    receiver.next = [(500, {}), (404, {})]
    office.end()
    for expected, pause in ((500, 2_500), (404, 5_000)):
        office.carry()
        delivery = office.only()
        assert (delivery.status, delivery.delivered_at, delivery.abandoned_at) == (expected, None, None)
        assert str(expected) in delivery.error
        assert delivery.due_at == office.clock.now() + pause
        office.clock.advance(pause - 1)
        office.carry()
        assert office.only() == delivery
        office.clock.advance(1)
    office.carry()
    delivery = office.only()
    assert (delivery.attempts, delivery.status, delivery.error) == (3, 204, "")
    assert delivery.delivered_at == office.clock.now()
    assert len({one.body for one in receiver.got}) == 1
    assert len({one.headers["webhook-id"] for one in receiver.got}) == 1
    assert [one.headers["webhook-timestamp"] for one in receiver.got] == sorted(
        {one.headers["webhook-timestamp"] for one in receiver.got}
    )
    assert receiver.got[0].verified(hook.secret)


def test_it_is_given_up_after_a_day(office: Office, receiver: Receiver) -> None:
    office.hook(receiver.url)
    receiver.usual = (503, {})
    office.end()
    began = office.clock.now()
    while (delivery := office.only()).abandoned_at is None:
        office.clock.advance(max(delivery.due_at - office.clock.now(), 0))
        office.carry()
        assert office.clock.now() <= began + 24 * HOUR
    assert delivery.delivered_at is None
    assert "503" in delivery.error
    tries = len(receiver.got)
    assert 20 < tries == delivery.attempts
    office.clock.advance(100 * HOUR)
    office.carry()
    assert len(receiver.got) == tries


def test_the_last_try_is_made_when_the_day_is_over(office: Office, receiver: Receiver) -> None:
    office.hook(receiver.url)
    receiver.usual = (503, {"Retry-After": "7200"})
    office.end()
    began = office.clock.now()
    for _ in range(12):
        office.carry()
        office.clock.advance(2 * HOUR - 1)
    office.carry()
    assert office.only().due_at == began + 24 * HOUR
    office.clock.advance(12)
    receiver.usual = (204, {})
    office.carry()
    assert office.only().delivered_at == began + 24 * HOUR


def test_whoever_was_away_for_days_himself_still_tells_what_he_owes(office: Office, receiver: Receiver) -> None:
    office.hook(receiver.url)
    for _ in range(100):
        office.end()
    office.clock.advance(48 * HOUR)
    for _ in range(20):
        office.carry()
        office.clock.advance(SECOND)
    assert len(receiver.got) == 100
    assert all(delivery.delivered_at is not None for delivery in office.deliveries())


def test_what_was_abandoned_is_told_when_somebody_asks_for_it_again(office: Office) -> None:
    with receiving() as receiver:
        port = receiver.port
    office.hook(f"http://127.0.0.1:{port}/")
    for _ in range(50):
        office.end()
    office.clock.advance(24 * HOUR)
    for _ in range(4):
        office.carry()
        office.clock.advance(SECOND)
    assert all(delivery.abandoned_at is not None for delivery in office.deliveries())
    with receiving(port) as back:
        for delivery in office.deliveries():
            office.run(office.courier.again(delivery))  # the host rests still
        for _ in range(20):
            office.carry()
            office.clock.advance(SECOND)
        assert len(back.got) == 50


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", 2.5),
        ("99999999999999", 2 * 3600),
        ("soon", 2.5),
        ("-3", 2.5),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 2.5),
    ],
)
def test_a_receiver_may_say_when_to_come_again_within_bounds(
    office: Office, receiver: Receiver, header: str, seconds: float
) -> None:
    office.hook(receiver.url)
    receiver.next = [(429, {"Retry-After": header})]
    office.end()
    office.carry()
    assert office.only().due_at == office.clock.now() + seconds * SECOND


def test_a_receiver_that_is_gone_is_told_nothing_more(office: Office, receiver: Receiver) -> None:
    hook = office.hook(receiver.url)
    receiver.usual = (410, {})
    office.end()
    office.carry()
    assert office.only().abandoned_at == office.clock.now()
    (row,) = office.run(office.store.webhooks("mine"))
    assert row == replace(hook, disabled_at=office.clock.now())
    office.end()
    assert len(office.deliveries()) == 1


def test_a_redirect_is_not_followed(office: Office, receiver: Receiver) -> None:
    office.hook(f"{receiver.url}/old")
    receiver.next = [(307, {"Location": f"{receiver.url}/new"})]
    office.end()
    office.carry()
    assert [one.path for one in receiver.got] == ["/old"]
    assert "Redirects are not followed" in office.only().error


@pytest.mark.parametrize("off", [True, False])
def test_what_is_on_its_way_to_a_webhook_that_went_is_abandoned(office: Office, receiver: Receiver, off: bool) -> None:
    hook = office.hook(receiver.url)
    office.end()
    if off:
        office.run(office.store.change_webhook(hook.id, lambda row: replace(row, disabled_at=1)))
    else:
        office.run(office.store.remove_webhook(hook.id))
    office.carry()
    assert not receiver.got
    assert office.only().abandoned_at == office.clock.now()
    assert "webhook" in office.only().error


def test_what_is_on_its_way_follows_a_webhook_to_its_new_address(office: Office, receiver: Receiver) -> None:
    hook = office.hook(f"{receiver.url}/typo")
    office.end()
    office.run(office.store.change_webhook(hook.id, lambda row: replace(row, url=f"{receiver.url}/right")))
    office.carry()
    assert [one.path for one in receiver.got] == ["/right"]


def test_an_address_that_may_not_be_asked_is_abandoned_with_the_reason(open_office: Open, receiver: Receiver) -> None:
    office = open_office(allowed=AllowedHosts((), variable="KF2V_WEBHOOK_ALLOW_HOSTS"))
    office.hook("http://127.0.0.1/")
    office.hook(receiver.url)
    office.end()
    office.carry()
    assert not receiver.got
    for delivery in office.deliveries():
        assert delivery.abandoned_at == office.clock.now()
        assert "KF2V_WEBHOOK_ALLOW_HOSTS=127.0.0.1" in delivery.error


def test_nobody_listening_is_tried_again(office: Office) -> None:
    with receiving() as receiver:
        port = receiver.port
    office.hook(f"http://127.0.0.1:{port}/")
    office.end()
    office.carry()
    delivery = office.only()
    assert (delivery.attempts, delivery.status, delivery.abandoned_at) == (1, None, None)
    assert "cannot be connected to" in delivery.error
    office.clock.advance(60 * SECOND)
    with receiving(port) as back:
        office.carry()
        assert len(back.got) == 1
    assert office.only().delivered_at is not None


def test_a_receiver_that_hangs_delays_no_other(office: Office, receiver: Receiver) -> None:
    with receiving() as hanging:
        hanging.awake.clear()
        office.hook(hanging.url)
        office.hook(receiver.url)
        for _ in range(40):
            office.end()

        async def until_the_others_have_it() -> None:
            running = asyncio.create_task(office.courier.run())
            deadline = time.monotonic() + 60
            while len(receiver.got) < 40:
                assert time.monotonic() < deadline, len(receiver.got)
                office.clock.advance(100)
                await asyncio.sleep(0.01)
            running.cancel()
            await office.courier.finish(0.0)

        office.run(until_the_others_have_it())
        assert len(hanging.got) == 1  # it has not answered well yet, so one at a time is sent
    assert sum(delivery.delivered_at is not None for delivery in office.deliveries()) >= 39


def test_a_dead_host_is_asked_with_one_delivery_at_a_time_and_left_alone_between(office: Office) -> None:
    with receiving() as receiver:
        port = receiver.port
    office.hook(f"http://127.0.0.1:{port}/")
    for _ in range(100):
        office.end()
    for _ in range(3):
        before = sum(delivery.attempts for delivery in office.deliveries())
        office.carry()
        assert sum(delivery.attempts for delivery in office.deliveries()) == before + 1
        office.carry()  # it rests
        assert sum(delivery.attempts for delivery in office.deliveries()) == before + 1
        office.clock.advance(70 * SECOND)


def test_several_that_fail_together_count_as_one_failure_of_their_host(office: Office, receiver: Receiver) -> None:
    office.hook(receiver.url)
    office.end()
    office.carry()  # from now on four at a time
    receiver.close()
    for _ in range(4):
        office.end()
    office.carry()
    assert sum(delivery.error != "" for delivery in office.deliveries()) == 4
    (lane,) = office.courier._lanes.values()
    assert (lane.failures, lane.rests_until) == (1, office.clock.now() + 5 * SECOND)


def test_a_thousand_events_for_one_receiver_all_arrive_once(office: Office, receiver: Receiver) -> None:
    office.hook(receiver.url)
    for _ in range(1_000):
        office.end()
    rounds = 0
    while len(receiver.got) < 1_000:
        rounds += 1
        assert rounds < 1_000
        office.carry()
        office.clock.advance(SECOND)
    assert len({one.headers["webhook-id"] for one in receiver.got}) == 1_000
    assert len(receiver.got) == 1_000


@contextmanager
def hanging(hosts: int) -> Iterator[list[str]]:
    """The URLs of so many receivers that take a connection and never say a word."""
    with ExitStack() as all_of_them:
        doors = [all_of_them.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(hosts)]
        yield [f"http://127.0.0.1:{door.getsockname()[1]}/" for door in doors]


async def tell(office: Office, receiver: Receiver, *, events: int = 1) -> int:
    """Until the receiver has so many; how many are under way then."""
    before = len(receiver.got)
    while await office.courier.look():
        pass
    await asyncio.to_thread(receiver.wait, lambda got: len(got) == before + events)
    under_way = len(office.courier._tries)
    await office.courier.finish(0.0)
    return under_way


def test_accounts_whose_receivers_all_hang_keep_no_other_account_waiting(office: Office, receiver: Receiver) -> None:
    with hanging(64) as urls:
        for number, url in enumerate(urls):
            office.end(account=f"theirs-{number % 4}", callback=url)
        office.end(callback=receiver.url)
        assert office.run(tell(office, receiver)) >= 64
    for number in range(4):
        assert all(delivery.attempts == 0 for delivery in office.deliveries(f"theirs-{number}"))


def test_a_crowd_of_strangers_that_hang_keeps_nobody_of_its_account_waiting_who_has_answered_before(
    office: Office, receiver: Receiver
) -> None:
    office.end(callback=receiver.url)
    office.carry()
    with hanging(UNDER_WAY // 2 + 10) as urls:
        for url in urls:
            office.end(callback=url)
        for _ in range(4):
            office.end(callback=receiver.url)
        assert office.run(tell(office, receiver, events=4)) >= UNDER_WAY // 2
    assert {delivery.attempts for delivery in office.deliveries() if delivery.url != receiver.url} == {0}


def test_after_a_restart_those_who_were_silent_keep_no_stranger_waiting(office: Office, receiver: Receiver) -> None:
    with hanging(UNDER_WAY // 2 + 10) as urls:
        for url in urls:
            office.end(callback=url)
        for delivery in office.run(office.store.due(now=office.clock.now(), limit=len(urls))):
            office.run(office.store.keep_delivery(replace(delivery, attempts=1, error="It did not answer.")))
        office.end(callback=receiver.url)
        assert office.run(tell(office, receiver)) >= UNDER_WAY // 2
    assert {delivery.attempts for delivery in office.deliveries() if delivery.url != receiver.url} == {1}


def test_what_is_due_is_taken_into_memory_only_as_far_as_there_is_room(
    open_office: Open, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "UNDER_WAY", 4)
    monkeypatch.setattr(courier, "IN_LANES", 8)
    office = open_office()
    with hanging(40) as urls:
        for url in urls:
            office.end(account="theirs", callback=url)
        office.end(callback=receiver.url)
        began = office.clock.now()
        office.run(tell(office, receiver))
    waiting = sorted(delivery.due_at - began for delivery in office.deliveries("theirs"))
    assert waiting == [0] * 4 + [SECOND + n * courier.CROWD_SPACING for n in range(36)]


def test_receivers_of_one_account_take_turns(open_office: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "UNDER_WAY", 2)  # one for each crowd, then
    office = open_office()
    told: list[str] = []

    def take(url: str, body: bytes, headers: object) -> Answer:
        told.append(url)
        return Answer(status=204)

    office.courier._post = take
    for url in ("http://a.example/", "http://b.example/"):
        for _ in range(5):
            office.end(callback=url)
    office.carry()
    assert len(told) == 10
    assert [url[7] for url in told].count("a") == 5
    assert all(one != next_one for one, next_one in pairwise(told[2:8]))


def test_no_more_than_so_many_hosts_are_remembered_and_the_latest_of_them(
    open_office: Open, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "REMEMBERED", 8)
    office = open_office()
    with hanging(30) as urls:
        pass
    for url in urls:
        office.end(callback=url)
        office.carry()
        office.clock.advance(1)
        assert len(office.courier._lanes) <= 8
    assert ("mine", urls[-2].removeprefix("http://").removesuffix("/")) in office.courier._lanes


def test_every_result_is_counted_once_it_is_written_down(office: Office, receiver: Receiver) -> None:
    hook = office.hook(receiver.url)
    receiver.next = [(500, {})]
    office.end()
    office.carry()
    assert office.results == {Result.FAILED: 1}
    office.clock.advance(5 * SECOND)
    office.carry()
    assert office.results == {Result.FAILED: 1, Result.DELIVERED: 1}
    receiver.next = [(410, {})]
    office.end()
    office.carry()
    assert office.results[Result.ABANDONED] == 1
    office.run(office.store.change_webhook(hook.id, lambda row: replace(row, disabled_at=None)))
    office.end()
    office.run(office.store.remove_webhook(hook.id))
    office.carry()
    assert office.results == {Result.FAILED: 1, Result.DELIVERED: 1, Result.ABANDONED: 2}


def test_what_the_end_cuts_off_is_sent_again_by_the_next_courier(open_office: Open, receiver: Receiver) -> None:
    office, next_one = open_office(), open_office()
    office.hook(receiver.url)
    office.end()
    receiver.awake.clear()

    async def begin_and_stop() -> None:
        await office.courier.look()
        await asyncio.to_thread(receiver.wait, lambda got: len(got) == 1)
        await office.courier.finish(0.01)

    office.run(begin_and_stop())
    assert office.only().delivered_at is None
    receiver.awake.set()
    next_one.courier._outbox = office.store
    next_one.carry()
    assert office.only().delivered_at is not None
    assert receiver.got[0].body == receiver.got[1].body


def test_what_is_under_way_at_the_end_gets_its_time(office: Office, receiver: Receiver) -> None:
    office.hook(receiver.url)
    office.end()
    office.run(office.courier.finish(60.0))
    assert office.only().delivered_at is not None
    office.end()
    office.run(office.courier.look())
    assert len(receiver.got) == 1


def test_a_test_goes_out_at_once_and_is_no_delivery(office: Office, receiver: Receiver) -> None:
    hook = office.hook(receiver.url)
    receiver.next, receiver.says = [(418, {})], b"I am a teapot"
    heard = office.run(office.courier.test(hook, region="local"))
    assert (heard.well, heard.status, heard.text) == (False, 418, "I am a teapot")
    event = receiver.got[0].verified(hook.secret)
    assert (event["type"], event["data"]) == ("kf2v:Webhook:Test", {"webhook_id": hook.id})
    assert not office.deliveries()


def test_a_delivery_whose_end_cannot_be_written_down_is_not_sent_again_and_again(
    office: Office, receiver: Receiver
) -> None:
    office.hook(receiver.url)
    office.end()

    async def full(delivery: object) -> None:
        raise OSError("no space left")

    office.store.keep_delivery = full  # type: ignore[method-assign,assignment]
    for _ in range(5):
        office.carry()
    assert len(receiver.got) == 1

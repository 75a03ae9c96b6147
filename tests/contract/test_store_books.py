"""What every store owes those who pay and those who are told: bills, news, keys, workspaces and webhooks."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

import pytest

from kf2v.store import Delivery, IdTaken, Key, Rights, Store, UsageLine, UsageQuery, Webhook
from kf2v.tasks import Task
from kf2v.tasks.news import News
from kf2v.wire.v1.times import CHINA
from orders import EXHAUSTED, FAILED, LATE, MADE, NOW, job, key, order, running, webhook, workspace

pytestmark = pytest.mark.anyio

LATER = NOW + 1_000
#: midnight in UTC+8
MIDNIGHT = int(datetime(2026, 3, 1, tzinfo=CHINA).timestamp()) * 1_000
EVERYTHING = UsageQuery()


async def made(store: Store, number: int = 0, *, at: int = LATER, **changes: object) -> Task:
    """A task that ends with a video at ``at``."""
    task = running(number, **changes)
    await store.insert(task)
    await store.settle(task.id, task.attempt, MADE, now=at)
    return task


def usage_line(**changes: object) -> UsageLine:
    values = {
        "day": "2025-10-09",
        "account": "mine",
        "key_id": "key-1",
        "workspace": None,
        "region": "ap-southeast-1",
        "model": "wan2.2-kf2v-flash",
        "engine": "still",
        "resolution": "720P",
        "videos": 1,
        "seconds": 5,
    }
    return UsageLine(**(values | changes))  # type: ignore[arg-type]


# --- every way a task can end

End = Callable[[Store, Task], Awaitable[object]]

#: by what the news calls it
ENDS: dict[str, tuple[str, End]] = {
    "success": ("SUCCEEDED", lambda store, task: store.settle(task.id, task.attempt, MADE, now=LATER)),
    "failure": ("FAILED", lambda store, task: store.settle(task.id, task.attempt, FAILED, now=LATER)),
    "exhaustion": (
        "FAILED",
        lambda store, task: store.lose(task.id, task.attempt, now=LATER, cap=1, exhausted=EXHAUSTED),
    ),
    "lateness": ("FAILED", lambda store, task: store.time_out(task.id, task.attempt, LATE, now=LATER)),
    "stop": ("CANCELED", lambda store, task: store.stop(task.id, now=LATER)),
}
#: what leaves a task unfinished
GOINGS_ON: dict[str, End] = {
    "renewal": lambda store, task: store.renew(task.id, task.attempt, until=LATER, phase="x", progress=1.0),
    "handing back": lambda store, task: store.hand_back(task.id, task.attempt),
    "loss": lambda store, task: store.lose(task.id, task.attempt, now=LATER, cap=2, exhausted=EXHAUSTED),
    "reroute": lambda store, task: store.reroute(task.id, task.attempt),
    "an old attempt's word": lambda store, task: store.settle(task.id, task.attempt - 1, MADE, now=LATER),
    "a cancel too late": lambda store, task: store.cancel(task.id, now=LATER),
    "keeping": lambda store, task: store.keep(task.id, kept=True),
    "a note": lambda store, task: store.note(task.id, "x", now=LATER),
}


async def audience(store: Store) -> None:
    """Two that want to hear of it, one that is switched off, one that is another account's."""
    await store.put_webhook(webhook(0))
    await store.put_webhook(webhook(1))
    await store.put_webhook(webhook(2, disabled_at=NOW))
    await store.put_webhook(webhook(3, account="theirs"))


def listener(**changes: object) -> Task:
    return running(callback="https://example.com/call", job=job(fallbacks=("morph",)), **changes)


@pytest.mark.parametrize("end", ENDS)
async def test_every_end_is_told_to_everybody_who_wants_to_hear(store: Store, end: str) -> None:
    status, act = ENDS[end]
    await audience(store)
    await store.insert(listener())
    await act(store, listener())
    await act(store, listener())
    due = await store.due(now=LATER, limit=9)
    assert {(d.webhook_id, d.url) for d in due} == {
        ("hook-0", "https://example.com/hooks/0"),
        ("hook-1", "https://example.com/hooks/1"),
        (None, "https://example.com/call"),
    }
    assert len(due) == len({d.id for d in due}) == 3
    for delivery in due:
        assert delivery.news == News(
            task_id="task-0",
            account="mine",
            key_id="key-1",
            request_id="request-0",
            model="wan2.2-kf2v-flash",
            region="ap-southeast-1",
            status=status,
            started_at=NOW,
            ended_at=LATER,
        )
        assert (delivery.created_at, delivery.due_at, delivery.attempts) == (LATER, LATER, 0)
        assert (delivery.delivered_at, delivery.abandoned_at, delivery.status, delivery.error) == (None, None, None, "")


async def test_a_cancel_of_what_waits_is_told_too(store: Store) -> None:
    await store.insert(order(callback="https://example.com/call"))
    await store.cancel("task-0", now=LATER)
    (delivery,) = await store.due(now=LATER, limit=9)
    assert (delivery.webhook_id, delivery.news.status) == (None, "CANCELED")


@pytest.mark.parametrize("event", GOINGS_ON)
async def test_what_is_no_end_is_told_to_nobody_and_costs_nothing(store: Store, event: str) -> None:
    await audience(store)
    await store.insert(listener())
    await GOINGS_ON[event](store, listener())
    assert await store.due(now=LATER, limit=9) == ()
    assert await store.usage(EVERYTHING) == ()


async def test_who_has_nobody_to_tell_tells_nobody(store: Store) -> None:
    await made(store)
    assert await store.due(now=LATER, limit=9) == ()


# --- charges


@pytest.mark.parametrize("end", ENDS)
async def test_a_success_is_booked_once_and_nothing_else_is(store: Store, end: str) -> None:
    _, act = ENDS[end]
    await store.insert(running())
    for _ in range(3):
        await act(store, running())
    assert await store.usage(EVERYTHING) == ((usage_line(),) if end == "success" else ())
    assert await store.runs("still", "720P") == ((1_000,) if end == "success" else ())


async def test_many_last_words_at_once_are_booked_once(store: Store) -> None:
    await store.insert(running())
    await asyncio.gather(*(store.settle("task-0", 1, MADE, now=LATER) for _ in range(9)))
    assert await store.usage(EVERYTHING) == (usage_line(),)


async def test_a_success_that_counts_as_nothing_costs_nothing(store: Store) -> None:
    await store.insert(running())
    await store.settle("task-0", 1, replace(MADE, usage=None), now=LATER)
    assert await store.usage(EVERYTHING) == ()


async def test_a_charge_outlives_its_task(store: Store) -> None:
    await made(store, 0)
    await made(store, 1)
    await store.forget(ended_before=LATER, limit=1)
    await store.delete("task-1")
    assert await store.usage(EVERYTHING) == (usage_line(videos=2, seconds=10),)


async def test_usage_is_added_up_by_everything_a_line_names(store: Store) -> None:
    differing = (
        {"account": "theirs"},
        {"key_id": "key-2"},
        {"workspace": "ws-1"},
        {"workspace": ""},
        {"region": "cn-beijing"},
        {"job": job(model="wan2.1-kf2v-plus")},
        {"job": job(engine="morph")},
        {"job": job(resolution="480P")},
        {},
        {},
    )
    for number, changes in enumerate(differing):
        await made(store, number, **changes)
    lines = await store.usage(EVERYTHING)
    assert len(lines) == len(differing) - 1
    assert usage_line(videos=2, seconds=10) in lines
    assert {
        usage_line(account="theirs"),
        usage_line(key_id="key-2"),
        usage_line(workspace="ws-1"),
        usage_line(workspace=""),
        usage_line(region="cn-beijing"),
        usage_line(model="wan2.1-kf2v-plus"),
        usage_line(engine="morph"),
        usage_line(resolution="480P"),
    } < set(lines)
    assert [line.account for line in lines] == ["mine"] * 8 + ["theirs"]
    assert [line.workspace for line in lines if line.key_id == "key-1" and line.account == "mine"][-2:] == ["", "ws-1"]


async def test_a_day_ends_at_midnight_in_utc_plus_8(store: Store) -> None:
    await made(store, 0, at=MIDNIGHT - 1)
    await made(store, 1, at=MIDNIGHT)
    await made(store, 2, at=MIDNIGHT + 86_399_999)
    assert await store.usage(EVERYTHING) == (
        usage_line(day="2026-02-28"),
        usage_line(day="2026-03-01", videos=2, seconds=10),
    )


async def test_usage_can_be_narrowed_by_everything_a_query_has(store: Store) -> None:
    await made(store, 0)
    await made(store, 1, account="theirs", key_id="key-2", workspace="ws-1", job=job(model="wan2.1-kf2v-plus"))
    await made(store, 2, at=LATER + 5)
    theirs = (usage_line(account="theirs", key_id="key-2", workspace="ws-1", model="wan2.1-kf2v-plus"),)
    assert await store.usage(UsageQuery(account="theirs")) == theirs
    assert await store.usage(UsageQuery(key_id="key-2")) == theirs
    assert await store.usage(UsageQuery(workspace="ws-1")) == theirs
    assert await store.usage(UsageQuery(model="wan2.1-kf2v-plus")) == theirs
    assert await store.usage(UsageQuery(account="mine", key_id="key-2")) == ()
    assert await store.usage(UsageQuery(since=LATER + 5)) == (usage_line(),)
    assert await store.usage(UsageQuery(account="mine", until=LATER + 5)) == (usage_line(),)
    assert await store.usage(UsageQuery(until=LATER)) == ()


async def test_runs_are_the_newest_of_an_engine_and_resolution(store: Store) -> None:
    for number, ran in enumerate((300, 100, 200)):
        await made(store, number, scheduled_at=LATER - ran, at=LATER)
    await made(store, 7, scheduled_at=LATER - 900, at=LATER + 1)
    await made(store, 8, job=job(engine="morph"))
    await made(store, 9, job=job(resolution="480P"))
    assert await store.runs("still", "720P") == (901, 200, 100, 300)
    assert await store.runs("still", "720P", limit=2) == (901, 200)
    assert await store.runs("wan", "720P") == ()


# --- deliveries


async def post(store: Store, number: int, *, at: int) -> Delivery:
    """News of a task that ended at ``at``."""
    await store.insert(order(number, callback=f"https://example.com/{number}"))
    await store.cancel(f"task-{number}", now=at)
    (delivery,) = await store.deliveries("mine", task_id=f"task-{number}")
    return delivery


async def test_what_is_due_longest_comes_first_and_no_more_than_asked_for(store: Store) -> None:
    for number, at in enumerate((30, 10, 20, 10)):
        await post(store, number, at=NOW + at)
    due = await store.due(now=NOW + 20, limit=9)
    assert [delivery.news.task_id for delivery in due] == ["task-1", "task-3", "task-2"]
    assert await store.due(now=NOW + 20, limit=2) == due[:2]
    assert await store.due(now=NOW + 9, limit=9) == ()


async def test_a_delivery_reads_back_as_it_was_kept(store: Store) -> None:
    delivery = await post(store, 0, at=NOW)
    tried = replace(delivery, attempts=1, due_at=NOW + 5_000, status=500, error="HTTP 500 内部错误")
    await store.keep_delivery(tried)
    assert await store.due(now=NOW + 4_999, limit=9) == ()
    assert await store.due(now=NOW + 5_000, limit=9) == (tried,)
    assert await store.deliveries("mine") == (tried,)


@pytest.mark.parametrize("end", ["delivered_at", "abandoned_at"])
async def test_what_is_no_longer_on_its_way_is_not_due(store: Store, end: str) -> None:
    delivery = await post(store, 0, at=NOW)
    done = replace(delivery, attempts=2, status=204, **{end: NOW + 1})  # type: ignore[arg-type]
    await store.keep_delivery(done)
    assert await store.due(now=LATER, limit=9) == ()
    assert await store.deliveries("mine") == (done,)


async def test_an_accounts_deliveries_are_listed_newest_first(store: Store) -> None:
    for number, at in enumerate((10, 30, 20, 20)):
        await post(store, number, at=NOW + at)
    await store.insert(order(9, account="theirs", callback="https://example.com/9"))
    await store.cancel("task-9", now=NOW)
    assert [d.news.task_id for d in await store.deliveries("mine")] == ["task-1", "task-3", "task-2", "task-0"]
    assert [d.news.task_id for d in await store.deliveries("mine", limit=1)] == ["task-1"]
    assert [d.news.task_id for d in await store.deliveries("theirs")] == ["task-9"]
    assert {d.news.task_id for d in await store.deliveries(None)} == {f"task-{n}" for n in (0, 1, 2, 3, 9)}
    assert [d.news.task_id for d in await store.deliveries(None, task_id="task-9")] == ["task-9"]
    assert await store.deliveries("mine", task_id="task-9") == ()


async def test_only_deliveries_that_are_done_with_are_forgotten(store: Store) -> None:
    for number in range(4):
        delivery = await post(store, number, at=NOW + number)
        if number != 1:
            await store.keep_delivery(replace(delivery, delivered_at=LATER))
    assert [await store.forget_deliveries(created_before=NOW + 2, limit=1) for _ in range(3)] == [1, 1, 0]
    assert [d.news.task_id for d in await store.deliveries("mine")] == ["task-3", "task-1"]
    gone = replace(delivery, id="gone")
    await store.keep_delivery(gone)
    assert gone not in await store.deliveries("mine")


async def test_news_outlive_the_task_they_are_about(store: Store) -> None:
    await post(store, 0, at=NOW)
    await store.delete("task-0")
    assert [delivery.news.task_id for delivery in await store.due(now=NOW, limit=9)] == ["task-0"]


# --- keys

RICH = Rights(
    scopes=frozenset({"read", "cancel"}),
    models=("wan2.2-kf2v-flash",),
    networks=("192.0.2.0/24", "2001:db8::/32"),
    region="singapore",
    workspace="ws-1",
    priority=7,
)


async def test_a_key_reads_back_with_all_it_may(store: Store) -> None:
    rich = key(1, label="剪辑室", rights=RICH, expires_at=LATER, disabled_at=LATER, used_at=NOW)
    await store.put_key(rich)
    await store.put_key(key(2))
    assert await store.keys() == (rich, key(2))
    assert await store.key_by_digest(rich.digest) == rich


async def test_a_key_is_changed_as_a_whole(store: Store) -> None:
    await store.put_key(key(1))
    changed = key(1, digest="f" * 64, label="new", rights=RICH, expires_at=LATER, disabled_at=NOW)
    assert await store.change_key("key-1", lambda _: changed) == changed
    assert await store.key_by_digest("f" * 64) == changed
    assert await store.key_by_digest(key(1).digest) is None


async def test_a_change_that_declines_or_finds_no_key_changes_nothing(store: Store) -> None:
    await store.put_key(key(1))
    asked: list[Key] = []
    assert await store.change_key("key-1", lambda found: asked.append(found)) is None
    assert await store.change_key("missing", lambda found: asked.append(found)) is None
    assert asked == [key(1)]
    assert await store.keys() == (key(1),)


async def test_a_key_cannot_take_anothers_digest(store: Store) -> None:
    await store.put_key(key(1))
    await store.put_key(key(2))
    with pytest.raises(IdTaken):
        await store.change_key("key-1", lambda found: replace(found, digest=key(2).digest))
    assert await store.keys() == (key(1), key(2))


async def test_many_changes_at_once_each_see_the_last(store: Store) -> None:
    await store.put_key(key(1))
    await asyncio.gather(
        *(store.change_key("key-1", lambda found: replace(found, label=found.label + "x")) for _ in range(20))
    )
    assert (await store.keys())[0].label == "x" * 20


async def test_a_key_remembers_its_last_use_and_never_an_older_one(store: Store) -> None:
    for number in (1, 2, 3):
        await store.put_key(key(number))
    await store.touch_keys({"key-1": NOW + 5, "key-2": NOW + 5, "missing": NOW})
    await store.touch_keys({"key-1": NOW + 4, "key-2": NOW + 6})
    await store.touch_keys({})
    assert [found.used_at for found in await store.keys()] == [NOW + 5, NOW + 6, None]


# --- workspaces and webhooks


async def test_workspaces_are_listed_oldest_first_all_or_an_accounts(store: Store) -> None:
    for number, account in ((2, "mine"), (0, "mine"), (1, "theirs")):
        await store.put_workspace(workspace(number, account=account))
    mine, theirs = (workspace(0), workspace(2)), workspace(1, account="theirs")
    assert await store.workspaces() == (mine[0], theirs, mine[1])
    assert await store.workspaces("mine") == mine
    assert await store.workspaces("nobody") == ()


async def test_a_workspace_has_its_id_alone_and_is_removed_once(store: Store) -> None:
    await store.put_workspace(workspace(1, models=(), label=""))
    with pytest.raises(IdTaken):
        await store.put_workspace(workspace(1, account="theirs"))
    assert await store.workspaces() == (workspace(1, models=(), label=""),)
    assert await store.remove_workspace("ws-1")
    assert not await store.remove_workspace("ws-1")
    assert await store.workspaces() == ()


async def test_webhooks_are_listed_oldest_first_all_or_an_accounts(store: Store) -> None:
    for number, account in ((2, "mine"), (0, "mine"), (1, "theirs")):
        await store.put_webhook(webhook(number, account=account))
    mine, theirs = (webhook(0), webhook(2)), webhook(1, account="theirs")
    assert await store.webhooks() == (mine[0], theirs, mine[1])
    assert await store.webhooks("mine") == mine
    assert await store.webhooks("nobody") == ()


async def test_a_webhook_is_changed_and_removed(store: Store) -> None:
    await store.put_webhook(webhook(1))
    with pytest.raises(IdTaken):
        await store.put_webhook(webhook(1, account="theirs"))
    off = webhook(1, label="夜间", url="https://example.com/other", secret="whsec_bmV3", disabled_at=LATER)
    asked: list[Webhook] = []
    assert await store.change_webhook("hook-1", lambda _: off) == off
    assert await store.change_webhook("hook-1", lambda found: asked.append(found)) is None
    assert await store.change_webhook("missing", lambda found: off) is None
    assert asked == [off]
    assert await store.webhooks() == (off,)
    assert await store.remove_webhook("hook-1")
    assert not await store.remove_webhook("hook-1")
    assert await store.webhooks() == ()


async def test_what_is_on_its_way_stays_when_its_webhook_goes(store: Store) -> None:
    await store.put_webhook(webhook(1))
    await made(store)
    await store.remove_webhook("hook-1")
    assert [delivery.webhook_id for delivery in await store.due(now=LATER, limit=9)] == ["hook-1"]

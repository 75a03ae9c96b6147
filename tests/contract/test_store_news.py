"""What every store owes about deliveries that are looked up."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from kf2v.store import Store, Webhook
from kf2v.store.memory import MemoryStore
from kf2v.store.sqlite import SqliteStore
from orders import NOW, order

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else await SqliteStore.open(tmp_path / "kf2v.db")
    yield opened
    await opened.close()


async def end(store: Store, number: int, *, account: str = "mine", callback: str | None = None) -> None:
    await store.insert(order(number, account=account, callback=callback))
    assert await store.cancel(f"task-{number}", now=NOW + number)


async def hook(store: Store, name: str) -> None:
    await store.put_webhook(Webhook(id=name, account="mine", url=f"https://{name}/", secret="whsec_", created_at=NOW))


async def test_a_delivery_is_found_by_its_id_on_its_way_or_not(store: Store) -> None:
    await end(store, 1, callback="https://example.com/")
    (row,) = await store.deliveries("mine")
    assert await store.delivery(row.id) == row
    assert await store.delivery("nothing") is None


async def test_deliveries_are_listed_newest_first_by_account_task_and_webhook(store: Store) -> None:
    await hook(store, "a")
    await hook(store, "b")
    for number in (1, 2):
        await end(store, number, callback="https://example.com/")
    await end(store, 3, account="theirs", callback="https://example.com/")

    async def listed(**asked: str) -> list[tuple[str, str | None]]:
        rows = await store.deliveries("mine", **asked)  # type: ignore[arg-type]
        return [(row.news.task_id, row.webhook_id) for row in rows]

    assert {task for task, _ in (await listed())[:3]} == {"task-2"}
    assert len(await listed()) == 6
    assert set(await listed(task_id="task-1")) == {("task-1", "a"), ("task-1", "b"), ("task-1", None)}
    assert await listed(webhook_id="b") == [("task-2", "b"), ("task-1", "b")]
    assert await listed(task_id="task-1", webhook_id="a") == [("task-1", "a")]
    assert await listed(webhook_id="c") == []
    assert len(await store.deliveries("mine", limit=2)) == 2


async def test_what_is_due_is_looked_up_besides_what_is_known_already(store: Store) -> None:
    for number in range(6):
        await end(store, number, callback="https://example.com/")
    due = await store.due(now=NOW + 9, limit=9)
    known = {due[0].id, due[2].id, due[3].id, "forgotten long ago"}
    assert await store.due(now=NOW + 9, limit=2, besides=known) == (due[1], due[4])
    assert await store.due(now=NOW + 9, limit=9, besides={row.id for row in due}) == ()


async def test_what_is_on_its_way_is_counted_due_or_not(store: Store) -> None:
    assert await store.undelivered() == 0
    for number in range(4):
        await end(store, number, callback="https://example.com/")
    first, second, third, _ = await store.due(now=NOW + 9, limit=9)
    await store.keep_delivery(replace(first, delivered_at=NOW))
    await store.keep_delivery(replace(second, abandoned_at=NOW))
    await store.keep_delivery(replace(third, due_at=NOW + 99_999_999))
    assert await store.undelivered() == 2

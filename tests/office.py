"""A courier over rows in memory; what it sends is dated now, because receivers look at that."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from kf2v.clock import ManualClock
from kf2v.net.guard import AllowedHosts
from kf2v.net.post import Poster
from kf2v.notify.courier import Courier, Result
from kf2v.notify.schedule import Schedule
from kf2v.notify.signature import account_secret, new_secret
from kf2v.store.memory import MemoryStore
from kf2v.tasks.news import Delivery, Webhook
from orders import order

T = TypeVar("T")
SECRET = b"s" * 32
LOCAL = AllowedHosts({"127.0.0.1", "localhost"}, variable="KF2V_WEBHOOK_ALLOW_HOSTS")


@dataclass
class Office:
    """A courier and its outbox, in an event loop that runs only while something is awaited."""

    courier: Courier
    store: MemoryStore
    clock: ManualClock
    runner: asyncio.Runner
    results: Counter[Result]
    ended: int = 0
    hooks: dict[str, Webhook] = field(default_factory=dict[str, Webhook])

    def run(self, work: Awaitable[T]) -> T:
        async def waiting() -> T:
            return await work

        return self.runner.run(waiting())

    def hook(self, url: str, *, account: str = "mine") -> Webhook:
        webhook = Webhook(
            id=f"hook-{len(self.hooks)}",
            account=account,
            url=url,
            secret=new_secret(),
            created_at=self.clock.now() + len(self.hooks),
        )
        self.hooks[webhook.id] = webhook
        self.run(self.store.put_webhook(webhook))
        return webhook

    def end(self, *, account: str = "mine", callback: str | None = None) -> str:
        """A task is cancelled; its id."""
        self.ended += 1
        task = order(self.ended, account=account, callback=callback, submitted_at=self.clock.now())
        self.run(self.store.insert(task))
        assert self.run(self.store.cancel(task.id, now=self.clock.now()))
        return task.id

    def carry(self) -> None:
        """One round, and whatever was begun in it to its end."""

        async def round() -> None:
            await self.courier.look()
            while self.courier._tries:
                await asyncio.wait(self.courier._tries)
                await asyncio.sleep(0)

        self.run(round())

    def deliveries(self, account: str = "mine") -> tuple[Delivery, ...]:
        return self.run(self.store.deliveries(account))

    def only(self) -> Delivery:
        (delivery,) = self.deliveries()
        return delivery


Open = Callable[..., Office]


async def build(runner: asyncio.Runner, *, allowed: AllowedHosts, seconds: float, draw: float) -> Office:
    store, clock = MemoryStore(), ManualClock(time.time_ns() // 1_000_000)
    results = Counter[Result]()
    courier = Courier(
        store,
        clock=clock,
        post=Poster(allowed=allowed, timeout=seconds).post,
        account_secret=lambda account: account_secret(SECRET, account),
        count=lambda result: results.update([result]),
        schedule=Schedule(draw=lambda: draw),
        every=0.01,
    )
    return Office(courier, store, clock, runner, results)

"""News of tasks that ended, to whoever wants to hear of it: signed, at least once, and at nobody's expense.

What is to be told is written with the end of a task (``tasks.news``); this package only carries it. It knows no store,
just the few things it needs of one.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from kf2v.net.post import Answer
from kf2v.tasks.news import Delivery, Webhook


class Outbox(Protocol):
    """What is to be told, and to whom. A store is one; the methods are described there."""

    async def due(self, *, now: int, limit: int, besides: Collection[str] = ()) -> tuple[Delivery, ...]: ...

    async def keep_delivery(self, delivery: Delivery) -> None: ...

    async def webhooks(self, account: str | None = None) -> tuple[Webhook, ...]: ...

    async def change_webhook(self, webhook_id: str, change: Callable[[Webhook], Webhook | None]) -> Webhook | None: ...


class Post(Protocol):
    """Posts, blocking, from many threads at once."""

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """What is answered, whatever the status. Raises ``net.post.NotPosted``."""
        ...

"""What is told to others when a task ends, to whom, and how far the telling is. Times are milliseconds since the epoch.

A delivery is written in the transaction that ends its task, with all that will be said in it: the task itself may be
forgotten before a receiver that was down for a day hears of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kf2v.tasks.identity import new_id
from kf2v.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An address that hears of every end of an account's tasks."""

    id: str
    account: str
    url: str
    #: ``whsec_`` and base64, as Standard Webhooks spells it
    secret: str
    label: str = ""
    created_at: int
    disabled_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """The end of one task."""

    task_id: str
    account: str
    key_id: str
    #: of the request that created it
    request_id: str
    model: str
    region: str
    #: SUCCEEDED, FAILED or CANCELED
    status: str
    #: when work began, as lists have it; its submission if it never did
    started_at: int
    ended_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One piece of news on its way to one address. It is on its way until it is delivered or abandoned."""

    #: of the event: the same at every try
    id: str
    #: None for the callback that a request named
    webhook_id: str | None = None
    url: str
    news: News
    created_at: int
    #: when to try, or to try again
    due_at: int
    #: tries so far
    attempts: int = 0
    delivered_at: int | None = None
    abandoned_at: int | None = None
    #: HTTP status of the last try, None where there was no answer
    status: int | None = None
    #: what was wrong with the last try; empty if nothing
    error: str = ""


def news_of(task: Task) -> News:
    """What there is to say of a task that has ended."""
    assert task.ended_at is not None
    return News(
        task_id=task.id,
        account=task.account,
        key_id=task.key_id,
        request_id=task.request_id,
        model=task.job.model,
        region=task.region,
        status=task.state.shown,
        started_at=task.submitted_at if task.scheduled_at is None else task.scheduled_at,
        ended_at=task.ended_at,
    )


def deliveries_of(task: Task, webhooks: Iterable[Webhook]) -> tuple[Delivery, ...]:
    """Who is to be told that ``task`` has ended: its account's ``webhooks`` that are enabled, and its own callback."""
    news = news_of(task)
    addresses: list[tuple[str | None, str]] = [(hook.id, hook.url) for hook in webhooks if hook.disabled_at is None]
    if task.callback is not None:
        addresses.append((None, task.callback))
    return tuple(
        Delivery(
            id=new_id(news.ended_at),
            webhook_id=webhook_id,
            url=url,
            news=news,
            created_at=news.ended_at,
            due_at=news.ended_at,
        )
        for webhook_id, url in addresses
    )

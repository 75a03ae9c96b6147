"""Webhooks and deliveries as ``/kf2v/v1`` spells them. Times are epoch milliseconds; absent is absent, never null."""

from typing import TypeVar

import msgspec

from kf2v.errors import BodyInvalid, InvalidParameter
from kf2v.tasks.news import Delivery, Webhook
from kf2v.wire.v1.fields import misfit

#: characters of a label
LABEL_LIMIT = 100


class New(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A webhook to make."""

    url: str
    label: str = ""
    #: None: draw one
    secret: str | None = None
    #: whose; None: the caller's own
    account: str | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall be different; None leaves a member as it is."""

    url: str | None = None
    label: str | None = None
    enabled: bool | None = None
    secret: str | None = None
    #: whether to draw a new secret
    rotate_secret: bool = False


T = TypeVar("T", New, Change)


def parse_new(body: bytes) -> New:
    """Raises BodyInvalid and InvalidParameter."""
    return _checked(_parse(body, New))


def parse_change(body: bytes) -> Change:
    """Raises BodyInvalid and InvalidParameter."""
    change = _checked(_parse(body, Change))
    if change.rotate_secret and change.secret is not None:
        raise InvalidParameter("Input should be one of both, but got both: secret, rotate_secret.")
    return change


def webhook(row: Webhook, *, secret: bool = False) -> dict[str, object]:
    """``row`` as its owner sees it; with its ``secret`` only in the answer to who made that."""
    shown: dict[str, object] = {
        "id": row.id,
        "account": row.account,
        "url": row.url,
        "label": row.label,
        "enabled": row.disabled_at is None,
        "secret_hint": row.secret[-4:],
        "created_at": row.created_at,
    }
    if row.disabled_at is not None:
        shown["disabled_at"] = row.disabled_at
    if secret:
        shown["secret"] = row.secret
    return shown


def delivery(row: Delivery) -> dict[str, object]:
    shown: dict[str, object | None] = {
        "id": row.id,
        "task_id": row.news.task_id,
        "task_status": row.news.status,
        "webhook_id": row.webhook_id,
        "url": row.url,
        "state": _state(row),
        "attempts": row.attempts,
        "created_at": row.created_at,
        "next_attempt_at": row.due_at if _state(row) == "PENDING" else None,
        "delivered_at": row.delivered_at,
        "abandoned_at": row.abandoned_at,
        "status": row.status,
        "error": row.error or None,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _state(row: Delivery) -> str:
    if row.delivered_at is not None:
        return "DELIVERED"
    return "PENDING" if row.abandoned_at is None else "ABANDONED"


def _parse(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidParameter(f"{InvalidParameter.sentence} {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BodyInvalid(f"{BodyInvalid.sentence} {error}.") from error


def _checked(asked: T) -> T:
    label = asked.label or ""
    if len(label) > LABEL_LIMIT or not label.isprintable():
        raise misfit("label", label, f"up to {LABEL_LIMIT} printable characters")
    return asked

"""Reading members of a JSON object, and the sentences for what cannot be read.

A reader collects what is wrong instead of raising, because whether a mistake is told at once or inside the task is a
setting; the sentence always names the field, what came and what is allowed.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from kf2v.errors import InvalidParameter

_SHOWN = 80


def shown(value: object) -> str:
    """``value`` as JSON, short enough for a sentence."""
    try:
        text = msgspec.json.encode(value).decode()
    except (ValueError, TypeError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def choices(allowed: Sequence[str]) -> str:
    """``'480P', '720P' or '1080P'``."""
    quoted = [f"'{choice}'" for choice in allowed]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def misfit(field: str, came: object, allowed: str) -> InvalidParameter:
    """The error for a value that is there but cannot be used."""
    return InvalidParameter(f"Input should be {allowed}: {field}, but got {shown(came)}.", field=field)


def missing(field: str, wanted: str) -> InvalidParameter:
    """The error for a value that is not there."""
    name = field.rpartition(".")[2]
    message = f'Required parameter "{name}" missing from request. {field} should be {wanted}.'
    return InvalidParameter(message, field=field)


class Reader:
    """Reads members of one object; null is the same as absent, and members nobody asks for are nobody's business."""

    def __init__(self, name: str, members: Mapping[str, object], flaws: list[InvalidParameter]) -> None:
        self._prefix = f"{name}." if name else ""
        self._members = members
        self._flaws = flaws

    def nested(self, name: str, *, wanted: str | None = None) -> "Reader":
        """The object under ``name``; with ``wanted`` it has to be there."""
        value = self._members.get(name)
        members: Mapping[str, object] = {}
        if isinstance(value, dict):
            members = cast("Mapping[str, object]", value)
        elif value is not None:
            self._flaws.append(misfit(self._prefix + name, value, "an object"))
        elif wanted:
            self._flaws.append(missing(self._prefix + name, wanted))
        return Reader(self._prefix + name, members, self._flaws)

    def text(self, *names: str) -> str:
        """The first of ``names`` that is there and not empty."""
        for name in names:
            value = self._members.get(name)
            if isinstance(value, str):
                if value:
                    return value
            elif value is not None:
                self._flaws.append(misfit(self._prefix + name, value, "a string"))
        return ""

    def needed_text(self, *names: str, wanted: str) -> str:
        """Like ``text``, but it has to be there; the first name is the one to complain about."""
        before = len(self._flaws)
        value = self.text(*names)
        if not value and len(self._flaws) == before:
            self._flaws.append(missing(self._prefix + names[0], wanted))
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._members.get(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        self._flaws.append(misfit(self._prefix + name, value, "true or false"))
        return default

    def integer(self, name: str, *, low: int, high: int) -> int | None:
        """A whole number from ``low`` to ``high``; ``5.0`` is one, ``"5"`` and ``true`` are not."""
        value = self._members.get(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        allowed = str(low) if low == high else f"an integer between {low} and {high}"
        self._flaws.append(misfit(self._prefix + name, value, allowed))
        return None

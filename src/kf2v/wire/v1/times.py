"""The API's ways to write a time, most of them in UTC+8. Everything inwards is milliseconds since the epoch."""

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

CHINA = timezone(timedelta(hours=8))

#: of ``YYYYMMDDhhmmss``
COMPACT_LENGTH = 14

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

#: beyond these a clock is broken, or somebody plays: 2000-01-01 and 2100-01-01
_EARLIEST, _LATEST = 946_684_800_000, 4_102_444_800_000


def render(milliseconds: int) -> str:
    """``2025-04-18 10:36:58.394``, as tasks print it."""
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}"


def render_second(milliseconds: int) -> str:
    """``2025-04-18 10:36:58``, as events print it."""
    return _second(milliseconds // 1000)


@lru_cache(4096)
def _second(seconds: int) -> str:
    """Remembered, because a task's times are printed again with every poll."""
    return f"{datetime.fromtimestamp(seconds, CHINA):%Y-%m-%d %H:%M:%S}"


def parse_bound(text: str) -> int | None:
    """A bound of the list API: ``YYYYMMDDhhmmss`` in UTC+8, or epoch milliseconds. None if it is neither."""
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) == COMPACT_LENGTH:
        try:
            moment = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=CHINA)
        except ValueError:
            return None
        milliseconds = int(moment.timestamp()) * 1000
    elif len(text) <= 13:
        milliseconds = int(text)
    else:
        return None
    return milliseconds if _EARLIEST <= milliseconds <= _LATEST else None


def render_compact(milliseconds: int) -> str:
    """``20250418103658``, as the list API takes it."""
    return f"{datetime.fromtimestamp(milliseconds // 1000, CHINA):%Y%m%d%H%M%S}"


def day_of(milliseconds: int) -> str:
    """``2025-04-18``: the day in UTC+8, by which usage is counted."""
    return f"{datetime.fromtimestamp(milliseconds // 1000, CHINA):%Y-%m-%d}"


def parse_day(text: str) -> int | None:
    """When the day ``2025-04-18`` begins in UTC+8; None if it is none."""
    if _DAY.fullmatch(text) is None:
        return None
    try:
        moment = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=CHINA)
    except ValueError:
        return None
    milliseconds = int(moment.timestamp()) * 1000
    return milliseconds if _EARLIEST <= milliseconds <= _LATEST else None


def render_iso(milliseconds: int) -> str:
    """``2025-07-12T12:10:24.488Z``, as upload policies say when they end, and events when they happened."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"

"""GET /kf2v/v1/usage: what was made, for whom, and what it would have cost."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from kf2v.admission.keys import Scope
from kf2v.catalog.prices import Prices
from kf2v.clock import HOUR
from kf2v.errors import InvalidParameter
from kf2v.metering.report import GROUPS, as_csv, members, report
from kf2v.server.exchange import Answer, Exchange, Reply, reply
from kf2v.server.ext.accounts import account_seen
from kf2v.server.reception import Reception
from kf2v.server.routes import EXT
from kf2v.server.routing import Route
from kf2v.store import Store, UsageQuery
from kf2v.wire.v1 import times
from kf2v.wire.v1.fields import choices, misfit

FORMATS = ("json", "csv")
SHEET = b"text/csv; charset=utf-8; header=present"
#: of a report that does not say
GROUP_BY = "day,model,resolution"


class UsageReports:
    """What an account used; whose key has the scope ``admin`` sees what anybody did."""

    def __init__(self, *, reception: Reception, store: Store, prices: Prices) -> None:
        self._reception = reception
        self._store = store
        self._prices = prices

    def routes(self) -> list[Route]:
        return [Route("GET", f"{EXT}/usage", self)]

    async def __call__(self, exchange: Exchange) -> Reply:
        caller = await self._reception.caller(exchange, Scope.READ)
        asked = exchange.query()
        group_by, as_sheet = _group_by(asked), _format(asked, exchange) == "csv"
        query = replace(_query(asked), account=account_seen(caller, asked.get("account")))
        lines = await self._store.usage(query)

        def told() -> Answer:
            found = report(lines, group_by, self._prices)
            if as_sheet:
                headers = ((b"content-disposition", b'attachment; filename="usage.csv"'),)
                return Answer(as_csv(found).encode(), content_type=SHEET, headers=headers)
            days: dict[str, object] = {name: asked[name].strip() for name in ("since", "until") if asked.get(name)}
            return reply(exchange, days | members(found))

        return await asyncio.to_thread(told)  # of a year by key and day that takes seconds


def _query(asked: Mapping[str, str]) -> UsageQuery:
    since, until = _day(asked, "since"), _day(asked, "until")
    if since is not None and until is not None and until < since:
        raise InvalidParameter(f"Input should not be before since: until, but got '{asked['until']}'.")
    return UsageQuery(
        key_id=asked.get("api_key_id") or None,
        workspace=asked.get("workspace") or None,
        model=asked.get("model") or None,
        since=since,
        until=None if until is None else until + 24 * HOUR,
    )


def _group_by(asked: Mapping[str, str]) -> tuple[str, ...]:
    names = [name.strip() for name in asked.get("group_by", GROUP_BY).split(",")]
    for name in filter(None, names):
        if name not in GROUPS:
            raise misfit("group_by", name, f"{choices(tuple(GROUPS))}, or several of them with commas between")
    return tuple(dict.fromkeys(filter(None, names)))


def _format(asked: Mapping[str, str], exchange: Exchange) -> str:
    wished = asked.get("format") or ("csv" if "text/csv" in (exchange.header(b"accept") or "").lower() else "json")
    if wished not in FORMATS:
        raise misfit("format", wished, choices(FORMATS))
    return wished


def _day(asked: Mapping[str, str], name: str) -> int | None:
    text = asked.get(name, "").strip()
    if not text:
        return None
    day = times.parse_day(text)
    if day is None:
        raise misfit(name, text, "a day of this century as YYYY-MM-DD")
    return day

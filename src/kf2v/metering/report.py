"""Charges as their owner wants to see them: grouped, added up, and with what they would have cost."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from kf2v.catalog.prices import CURRENCIES, Currency, Price, Prices
from kf2v.metering import Footage, UsageLine
from kf2v.metering.cost import cost_of, cost_of_line, money, price_of_line

#: what charges may be grouped by
GROUPS: Mapping[str, Callable[[UsageLine], str]] = {
    "day": lambda line: line.day,
    "account": lambda line: line.account,
    "key": lambda line: line.key_id,
    "workspace": lambda line: line.workspace or "",
    "region": lambda line: line.region,
    "model": lambda line: line.model,
    "engine": lambda line: line.engine,
    "resolution": lambda line: line.resolution,
}

#: where a spreadsheet may see a cell begin, and a formula in it (OWASP, "CSV Injection"): Excel parts cells at
#: semicolons where the decimal sign is a comma, whatever the quotes say, and the wide signs compute in East Asia
_FORMULA = re.compile(r"""((?:^|[,;\t\r\n"])\s*)(?=[=+\-@＝＋－＠])""")
#: by which Excel knows UTF-8; without it names in Chinese are read as the machine's old encoding
_MARK = "\ufeff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of several charges, in one currency."""

    #: None: no part of it has a price
    amount: Decimal | None
    #: seconds of video that have no price and are not in ``amount``
    unpriced: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Charges that agree in what the report is grouped by."""

    #: what they agree in, in the order of ``Report.group_by``
    group: tuple[str, ...]
    videos: int
    #: of video
    seconds: int
    costs: Mapping[Currency, Cost]
    #: by which they were priced
    prices: tuple[Price, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Charges, grouped; ``rows`` are sorted by their groups."""

    group_by: tuple[str, ...]
    rows: tuple[Entry, ...]
    totals: Entry


def report(lines: Iterable[UsageLine], group_by: Sequence[str], prices: Prices | None = None) -> Report:
    """``lines`` grouped by names in ``GROUPS``, at ``prices`` (None: the cloud's)."""
    lines = tuple(lines)
    groups: dict[tuple[str, ...], list[UsageLine]] = {}
    for line in lines:
        groups.setdefault(tuple(GROUPS[name](line) for name in group_by), []).append(line)
    rows = tuple(_entry(group, groups[group], prices) for group in sorted(groups))
    return Report(group_by=tuple(group_by), rows=rows, totals=_entry((), lines, prices))


def _entry(group: tuple[str, ...], lines: Sequence[UsageLine], prices: Prices | None) -> Entry:
    footage = _footage(lines)
    found = {price_of_line(reel, prices) for reel in footage} - {None}
    return Entry(
        group=group,
        videos=sum(line.videos for line in lines),
        seconds=sum(line.seconds for line in lines),
        costs={currency: _cost(footage, currency, prices) for currency in CURRENCIES},
        prices=tuple(sorted((p for p in found if p), key=lambda p: (p.region, p.model, p.resolution))),
    )


def _footage(lines: Sequence[UsageLine]) -> list[Footage]:
    """``lines`` added up to one for each price: there are few, however many lines there are."""
    seconds = Counter[tuple[str, str, str]]()
    for line in lines:
        seconds[line.region, line.model, line.resolution] += line.seconds
    return [
        Footage(region=region, model=model, resolution=resolution, seconds=of_it)
        for (region, model, resolution), of_it in seconds.items()
    ]


def _cost(footage: Sequence[Footage], currency: Currency, prices: Prices | None) -> Cost:
    unpriced = [reel for reel in footage if cost_of_line(reel, currency, prices) is None]
    known = len(unpriced) < len(footage) or not footage
    return Cost(
        amount=cost_of(footage, currency, prices) if known else None, unpriced=sum(reel.seconds for reel in unpriced)
    )


def members(report: Report) -> dict[str, object]:
    """As JSON shows it: amounts as text, so that no reader makes floats of them; absent where nobody knows."""
    return {
        "group_by": list(report.group_by),
        "rows": [dict(zip(report.group_by, entry.group, strict=True)) | _figures(entry) for entry in report.rows],
        "totals": _figures(report.totals),
        "prices": [price_members(price) for price in report.totals.prices],
    }


def _figures(entry: Entry) -> dict[str, object]:
    told: dict[str, object] = {"videos": entry.videos, "seconds": entry.seconds}
    for currency, cost in entry.costs.items():
        if cost.amount is not None:
            told[f"cost_{currency.lower()}"] = money(cost.amount)
    return told | {f"unpriced_seconds_{currency.lower()}": cost.unpriced for currency, cost in entry.costs.items()}


def price_members(price: Price) -> dict[str, object]:
    """A price as JSON shows it, per second of video."""
    told: dict[str, object] = {"region": price.region, "model": price.model, "resolution": price.resolution}
    for currency in CURRENCIES:
        if (amount := price.per_second(currency)) is not None:
            told[f"{currency.lower()}_per_second"] = money(amount)
    told |= {"source": price.source, "date": price.date.isoformat()}
    return told | {"note": price.note} if price.note else told


def as_csv(report: Report) -> str:
    """RFC 4180 for spreadsheets, without totals, so that whoever adds up a column gets the truth."""
    text = io.StringIO(_MARK)
    text.seek(len(_MARK))
    writer = csv.writer(text)
    figures = tuple(f"{name}_{currency.lower()}" for name in ("cost", "unpriced_seconds") for currency in CURRENCIES)
    writer.writerow((*report.group_by, "videos", "seconds", *figures, "prices"))
    for entry in report.rows:
        costs = [entry.costs[currency] for currency in CURRENCIES]
        writer.writerow(
            (
                *map(_harmless, entry.group),
                entry.videos,
                entry.seconds,
                *("" if cost.amount is None else money(cost.amount) for cost in costs),
                *(cost.unpriced for cost in costs),
                _harmless("; ".join(dict.fromkeys(f"{price.source}, {price.date}" for price in entry.prices))),
            )
        )
    return text.getvalue()


def _harmless(cell: str) -> str:
    """``cell`` so that no spreadsheet computes what somebody called his account."""
    return _FORMULA.sub(r"\1'", cell)

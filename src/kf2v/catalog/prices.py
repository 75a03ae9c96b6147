"""What a second of video costs, as rows with a source and a date: the cloud's prices, or an owner's own.

Nothing is ever converted from one currency into another: a price has what its source printed.
"""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import msgspec

from kf2v.catalog.models import MODELS
from kf2v.catalog.regions import REGIONS

Currency: TypeAlias = Literal["CNY", "USD"]
CURRENCIES: tuple[Currency, ...] = get_args(Currency)

#: above it a figure is a slip
_DEAREST = 1_000_000


class UnreadablePrices(ValueError):
    """No table of prices; the text says which row is wrong and how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Of one second of video."""

    #: as the list API names it
    region: str
    model: str
    #: ``480P``, ``720P`` or ``1080P``
    resolution: str
    #: None: not known in that currency
    cny: Decimal | None = None
    usd: Decimal | None = None
    source: str
    #: when it was so
    date: date
    note: str = ""

    def per_second(self, currency: Currency) -> Decimal | None:
        return {"CNY": self.cny, "USD": self.usd}[currency]


class Prices:
    """A table of prices, one for each region, model and resolution at most."""

    def __init__(self, rows: Iterable[Price]) -> None:
        """Raises UnreadablePrices if two rows say what the same costs."""
        self._rows: dict[tuple[str, str, str], Price] = {}
        for row in rows:
            key = row.region, row.model, row.resolution
            if key in self._rows:
                raise UnreadablePrices(f"there are two prices of {row.model} at {row.resolution} in {row.region}")
            self._rows[key] = row

    def find(self, region_id: str, model: str, resolution: str) -> Price | None:
        return self._rows.get((region_id, model, resolution))


class _PerSecond(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cny: Decimal | None = None
    usd: Decimal | None = None


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    regions: tuple[str, ...]
    model: str
    source: str
    date: date
    per_second: dict[str, _PerSecond]
    note: str = ""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prices: tuple[_Row, ...]


@cache
def cloud_prices() -> Prices:
    """What Model Studio charges."""
    return parse_prices(files("kf2v.catalog").joinpath("prices.toml").read_text(encoding="utf-8"))


def read_prices(path: Path) -> Prices:
    """The table in a file of the same shape as ``prices.toml``. Raises UnreadablePrices."""
    try:
        return parse_prices(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadablePrices(f"{path} cannot be read: {error}") from error
    except UnreadablePrices as error:
        raise UnreadablePrices(f"{path}: {error}") from error


def parse_prices(text: str) -> Prices:
    """Raises UnreadablePrices."""
    try:
        table = msgspec.convert(tomllib.loads(text, parse_float=Decimal), _Table)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ArithmeticError) as error:
        raise UnreadablePrices(str(error)) from error
    return Prices(price for row in table.prices for price in _prices_of(row))


def price_of(region_id: str, model: str, resolution: str, prices: Prices | None = None) -> Price | None:
    """The row of ``prices`` (the cloud's, unless an owner has his own); None if there is none."""
    return (prices or cloud_prices()).find(region_id, model, resolution)


def _prices_of(row: _Row) -> Iterable[Price]:
    known = {region.id for region in REGIONS.values()}
    if strange := set(row.regions) - known or ({row.model} - MODELS.keys()):
        raise UnreadablePrices(f"nothing is called {', '.join(sorted(strange))}: {row.regions} {row.model}")
    if strange := row.per_second.keys() - set(MODELS[row.model].resolutions):
        raise UnreadablePrices(f"{row.model} does not make {', '.join(sorted(strange))}")
    for resolution, price in row.per_second.items():
        for amount in (price.cny, price.usd):
            if amount is not None and not (amount.is_finite() and 0 <= amount <= _DEAREST):
                raise UnreadablePrices(f"{row.model} at {resolution} cannot cost {amount}")
        for region in row.regions:
            yield Price(
                region=region,
                model=row.model,
                resolution=resolution,
                cny=price.cny,
                usd=price.usd,
                source=row.source,
                date=row.date,
                note=row.note,
            )

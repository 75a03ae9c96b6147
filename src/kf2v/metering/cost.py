"""What charges cost: in the cloud, or by the owner's own prices. Decimals throughout, never floats."""

from collections.abc import Iterable
from decimal import Decimal

from kf2v.catalog.prices import Currency, Price, Prices, price_of
from kf2v.metering import Footage, UsageLine

_CENT = Decimal("0.01")


def cost_of(lines: Iterable[Footage | UsageLine], currency: Currency, prices: Prices | None = None) -> Decimal:
    """What ``lines`` cost in ``currency`` by ``prices`` (None: the cloud's); what has no price there counts nothing."""
    return sum((cost for line in lines if (cost := cost_of_line(line, currency, prices)) is not None), Decimal(0))


def cost_of_line(line: Footage | UsageLine, currency: Currency, prices: Prices | None = None) -> Decimal | None:
    """None where nobody knows."""
    price = price_of_line(line, prices)
    per_second = None if price is None else price.per_second(currency)
    return None if per_second is None else per_second * line.seconds


def price_of_line(line: Footage | UsageLine, prices: Prices | None = None) -> Price | None:
    return price_of(line.region, line.model, line.resolution, prices)


def money(amount: Decimal) -> str:
    """``amount`` to the last digit that says something, two decimals at least: ``1.00``, ``3.66962``."""
    cents = amount.quantize(_CENT)
    return f"{cents if cents == amount else amount.normalize():f}"

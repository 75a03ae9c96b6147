"""Prices are rows: the cloud's are all there, an owner's own are read or refused with a reason."""

import dataclasses
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from kf2v.catalog.models import MODELS
from kf2v.catalog.prices import UnreadablePrices, cloud_prices, parse_prices, price_of, read_prices
from kf2v.catalog.regions import REGIONS
from kf2v.settings import Settings

ROW = """
[[prices]]
regions = ["local"]
model = "wan2.1-kf2v-plus"
source = "our tariff"
date = 2026-01-01
per_second.720P = { cny = 1.50 }
"""


def test_everything_that_is_served_has_a_row_with_its_source_and_date() -> None:
    for region in REGIONS.values():
        for name in region.models:
            for resolution in MODELS[name].resolutions:
                price = price_of(region.id, name, resolution)
                assert price is not None, (region.id, name, resolution)
                assert price.source
                assert price.date.year >= 2025


@pytest.mark.parametrize(
    ("region", "model", "resolution", "cny", "usd"),
    [
        ("cn-beijing", "wan2.2-kf2v-flash", "480P", "0.10", None),
        ("cn-beijing", "wan2.2-kf2v-flash", "720P", "0.20", None),
        ("cn-beijing", "wan2.2-kf2v-flash", "1080P", "0.48", None),
        ("cn-beijing", "wanx2.1-kf2v-plus", "720P", "0.70", None),
        ("ap-southeast-1", "wan2.1-kf2v-plus", "720P", "0.733924", "0.10"),
        ("local", "wan2.2-kf2v-flash", "720P", "0.20", None),
        ("local", "wanx2.1-kf2v-plus", "720P", "0.70", None),
        ("local", "wan2.1-kf2v-plus", "720P", "0.733924", "0.10"),
    ],
)
def test_prices_are_the_printed_ones(region: str, model: str, resolution: str, cny: str, usd: str | None) -> None:
    price = price_of(region, model, resolution)
    assert price is not None
    assert (price.cny, price.usd) == (Decimal(cny), None if usd is None else Decimal(usd))


def test_what_no_price_was_found_for_says_so() -> None:
    price = price_of("ap-southeast-1", "wan2.2-kf2v-flash", "720P")
    assert price is not None
    assert (price.cny, price.usd) == (None, None)
    assert "sibling" in price.note


def test_what_is_not_made_costs_nothing_that_anybody_knows() -> None:
    assert price_of("cn-beijing", "wanx2.1-kf2v-plus", "480P") is None
    assert price_of("cn-beijing", "wan2.1-kf2v-plus", "720P") is None


def test_an_owner_has_prices_of_his_own(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(ROW)
    prices = read_prices(file)
    mine = price_of("local", "wan2.1-kf2v-plus", "720P", prices)
    assert mine is not None
    assert (mine.cny, mine.usd, mine.source) == (Decimal("1.50"), None, "our tariff")
    assert price_of("local", "wan2.2-kf2v-flash", "720P", prices) is None
    assert price_of("local", "wan2.2-kf2v-flash", "720P") == cloud_prices().find("local", "wan2.2-kf2v-flash", "720P")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("1.50", "nan", "cannot cost NaN"),
        ("1.50", "inf", "cannot cost Infinity"),
        ("1.50", "-0.01", "cannot cost -0.01"),
        ("1.50", "1e99", "cannot cost 1E"),
        ("1.50", '"dear"', "per_second"),
        ("cny", "eur", "eur"),
        ("720P", "480P", "does not make 480P"),
        ("wan2.1-kf2v-plus", "wan9", "wan9"),
        ('"local"', '"mars"', "mars"),
        ('source = "our tariff"', "", "source"),
        ("date = 2026-01-01", 'date = "soon"', "date"),
        ("[[prices]]", "[[prices", "line"),
        ('["local"]', '["local", "local"]', "two prices"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_with_what_is_wrong(before: str, after: str, told: str) -> None:
    with pytest.raises(UnreadablePrices, match=told):
        parse_prices(ROW.replace(before, after))


def test_a_table_that_cannot_be_read_is_a_mistake_in_the_settings(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.toml", tmp_path):
        with pytest.raises(ValidationError, match="cannot be read"):
            Settings(prices=path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValidationError, match="cannot be read"):
        Settings(prices=tmp_path / "binary.toml")
    (tmp_path / "wrong.toml").write_text(ROW.replace("1.50", "-1"))
    with pytest.raises(ValidationError, match=r"wrong\.toml.*cannot cost -1"):
        Settings(prices=tmp_path / "wrong.toml")


def test_a_price_cannot_be_changed() -> None:
    price = price_of("local", "wan2.2-kf2v-flash", "720P")
    assert price is not None
    with pytest.raises(dataclasses.FrozenInstanceError):
        price.cny = Decimal(0)  # type: ignore[misc]

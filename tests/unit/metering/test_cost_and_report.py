"""Charges in money: exactly, in the currency that is known, grouped as asked."""

import codecs
import csv
import io
from decimal import Decimal

import pytest

from kf2v.catalog.prices import parse_prices
from kf2v.metering import UsageLine, usage_of
from kf2v.metering.cost import cost_of, money
from kf2v.metering.report import GROUPS, as_csv, members, report
from kf2v.tasks import FrameSource, Job


def line(
    model: str = "wan2.2-kf2v-flash",
    resolution: str = "720P",
    *,
    region: str = "local",
    day: str = "2026-11-20",
    account: str = "alice",
    key_id: str = "1",
    workspace: str | None = None,
    videos: int = 1,
) -> UsageLine:
    return UsageLine(
        day=day,
        account=account,
        key_id=key_id,
        workspace=workspace,
        region=region,
        model=model,
        engine="still",
        resolution=resolution,
        videos=videos,
        seconds=5 * videos,
    )


def test_seconds_times_price_is_the_cost() -> None:
    assert cost_of([line()], "CNY") == Decimal("1.00")
    assert cost_of([line(), line("wan2.1-kf2v-plus", videos=3)], "CNY") == Decimal("12.00886")
    assert cost_of([line("wan2.1-kf2v-plus", videos=3)], "USD") == Decimal("1.50")
    assert cost_of([], "CNY") == 0


def test_thousands_of_videos_add_up_to_the_last_digit() -> None:
    assert cost_of([line(resolution="480P")] * 10_001, "CNY") == Decimal("5000.50")


def test_one_currency_is_never_made_of_the_other() -> None:
    assert cost_of([line()], "USD") == 0
    [row] = report([line()], ["model"]).rows
    assert (row.costs["USD"].amount, row.costs["USD"].unpriced) == (None, 5)


def test_an_owners_prices_are_the_ones_that_count() -> None:
    mine = parse_prices(
        '[[prices]]\nregions = ["local"]\nmodel = "wan2.2-kf2v-flash"\nsource = "ours"\ndate = 2026-01-01\n'
        "per_second.720P = { usd = 0.01 }"
    )
    assert cost_of([line()], "USD", mine) == Decimal("0.05")
    assert cost_of([line()], "CNY", mine) == 0


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("1", "1.00"), ("3.669620", "3.66962"), ("0", "0.00"), ("0.005", "0.005"), ("1E+2", "100.00"), ("100", "100.00")],
)
def test_money_has_two_decimals_or_as_many_as_it_needs(amount: str, shown: str) -> None:
    assert money(Decimal(amount)) == shown


def test_lines_are_grouped_by_what_is_asked_in_that_order() -> None:
    lines = [
        line(day="2026-11-20"),
        line(day="2026-11-21", videos=2),
        line(day="2026-11-21", account="bob", resolution="480P"),
    ]
    found = report(lines, ["resolution", "day"])
    assert [(row.group, row.videos) for row in found.rows] == [
        (("480P", "2026-11-21"), 1),
        (("720P", "2026-11-20"), 1),
        (("720P", "2026-11-21"), 2),
    ]
    assert (found.totals.videos, found.totals.seconds) == (4, 20)
    assert found.totals.costs["CNY"].amount == Decimal("3.50")
    for name in GROUPS:
        assert sum(row.videos for row in report(lines, [name]).rows) == 4
    [everything] = report(lines, []).rows
    assert everything == found.totals


def test_a_sum_of_which_a_part_has_no_price_says_how_much() -> None:
    found = report([line(), line(region="ap-southeast-1", videos=2)], ["account"])
    cost = found.totals.costs["CNY"]
    assert (cost.amount, cost.unpriced) == (Decimal("1.00"), 10)
    told = members(found)["totals"]
    assert told == {
        "videos": 3,
        "seconds": 15,
        "cost_cny": "1.00",
        "unpriced_seconds_cny": 10,
        "unpriced_seconds_usd": 15,
    }


def test_the_report_names_its_prices_once_with_source_and_date() -> None:
    found = members(report([line(), line(day="2026-11-21"), line("wan2.1-kf2v-plus")], ["day"]))
    assert [(p["model"], p.get("cny_per_second"), p.get("usd_per_second"), p["date"]) for p in found["prices"]] == [  # type: ignore[index, union-attr]
        ("wan2.1-kf2v-plus", "0.733924", "0.10", "2026-05-30"),
        ("wan2.2-kf2v-flash", "0.20", None, "2026-05-30"),
    ]


def sheet(text: str) -> list[list[str]]:
    """As a reader sees it that knows the mark of UTF-8."""
    return list(csv.reader(io.StringIO(text.encode().decode("utf-8-sig"), newline="")))


def test_a_sheet_has_lines_that_end_as_the_rfc_wants_and_no_totals() -> None:
    text = as_csv(report([line(), line(region="ap-southeast-1", account="b")], ["account", "model"]))
    assert text.count("\r\n") == 3
    assert "\n" not in text.replace("\r\n", "")
    rows = sheet(text)
    assert rows[0] == [
        *("account", "model", "videos", "seconds", "cost_cny", "cost_usd"),
        *("unpriced_seconds_cny", "unpriced_seconds_usd", "prices"),
    ]
    assert rows[1][:8] == ["alice", "wan2.2-kf2v-flash", "1", "5", "1.00", "", "0", "5"]
    assert rows[2][:8] == ["b", "wan2.2-kf2v-flash", "1", "5", "", "", "5", "5"]
    assert rows[1][8].endswith(", 2026-05-30")


@pytest.mark.parametrize("begin", ["", "\t", "\r", "\n", " ", "a;", "a; ", "a,", 'a"', "a\t", "a\r\n"])
@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff201"])
def test_no_name_becomes_a_formula_in_a_sheet_whatever_parts_its_cells(begin: str, formula: str) -> None:
    _, row = sheet(as_csv(report([line(account=begin + formula)], ["account"])))
    assert row[0] == f"{begin}'{formula}"


@pytest.mark.parametrize(
    "name", ['a "quoted" name', "commas, many", "two\nlines", "中文", "team-a", "a@b.example", "1 = 1"]
)
def test_a_name_comes_back_from_a_sheet_as_it_is(name: str) -> None:
    _, row = sheet(as_csv(report([line(account=name)], ["account"])))
    assert row[0] == name


def test_a_sheet_begins_with_the_mark_by_which_excel_reads_chinese_names() -> None:
    for lines in ([], [line(account="工作室")]):
        assert as_csv(report(lines, ["account"])).encode().startswith(codecs.BOM_UTF8 + b"account,")


def job(model: str, resolution: str) -> Job:
    nowhere = FrameSource(kind="url", place="")
    return Job(
        model=model,
        engine="still",
        first=nowhere,
        last=nowhere,
        prompt="",
        negative_prompt="",
        resolution=resolution,
        area=1,
        seed=0,
        prompt_extend=False,
        watermark=False,
    )


@pytest.mark.parametrize("resolution", ["480P", "720P", "1080P"])
def test_the_2_2_family_is_counted_by_its_resolution(resolution: str) -> None:
    """The reference: "SR: returned only by the 2.2 model … 480, 720, or 1080"."""
    usage = usage_of(job("wan2.2-kf2v-flash", resolution))
    assert (usage.video_duration, usage.video_count, usage.sr, usage.video_ratio) == (5, 1, int(resolution[:-1]), None)


@pytest.mark.parametrize("model", ["wan2.1-kf2v-plus", "wanx2.1-kf2v-plus"])
def test_the_2_1_family_is_counted_as_standard(model: str) -> None:
    """The reference: "video_ratio: returned only by the 2.1 model … fixed at standard"."""
    usage = usage_of(job(model, "720P"))
    assert (usage.video_duration, usage.video_count, usage.sr, usage.video_ratio) == (5, 1, None, "standard")

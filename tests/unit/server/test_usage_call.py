"""GET /kf2v/v1/usage, seen from outside, and what is booked for the ends that tasks come to."""

import csv
import io
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from house import House, Open, submission
from kf2v.admission.keys import OWNER, Scope
from kf2v.assembly.doors import app_of
from kf2v.catalog.prices import Price, Prices
from kf2v.clock import HOUR, MINUTE
from kf2v.server.sweeper import Sweeper
from kf2v.store import Rights, Settled
from kf2v.tasks import Outcome, Usage, Video
from kf2v.tasks.retention import Retention

USAGE = "/kf2v/v1/usage"
#: the day, in UTC+8, that the house's clock stands at
TODAY = "2025-10-09"


def usage(house: House, query: str = "", **request: Any) -> dict[str, Any]:
    answer = house.call("GET", f"{USAGE}?{query}", **request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(house: House, query: str, status: int = 400, **request: Any) -> dict[str, Any]:
    answer = house.call("GET", f"{USAGE}?{query}", **request)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "message", "request_id"}
    return answer.json()


def made(house: House, **changes: Any) -> str:
    task_id = house.created(submission(**changes))
    house.finish(task_id)
    return task_id


def admin(house: House) -> str:
    house.run(house.front.keys.ensure("sk-of-the-owner", "default", OWNER))
    return "sk-of-the-owner"


def test_a_video_is_told_with_its_price_and_where_that_is_from(house: House) -> None:
    made(house)
    told = usage(house)
    assert told["group_by"] == ["day", "model", "resolution"]
    assert told["rows"] == [
        {
            "day": TODAY,
            "model": "wan2.2-kf2v-flash",
            "resolution": "480P",
            "videos": 1,
            "seconds": 5,
            "cost_cny": "0.50",
            "unpriced_seconds_cny": 0,
            "unpriced_seconds_usd": 5,
        }
    ]
    assert told["totals"]["cost_cny"] == "0.50"
    [price] = told["prices"]
    assert (price["cny_per_second"], price["date"]) == ("0.10", "2026-05-30")
    assert price["source"]


def test_an_account_that_made_nothing_has_an_empty_report(house: House) -> None:
    told = usage(house)
    assert (told["rows"], told["prices"], told["totals"]["videos"], told["totals"]["cost_cny"]) == ([], [], 0, "0.00")


def test_only_success_is_booked(house: House) -> None:
    canceled = house.created()
    house.call("POST", f"/api/v1/tasks/{canceled}/cancel")
    house.fail(house.created())
    house.fail(house.created(), "DataInspectionFailed", "Input or output data may contain inappropriate content.")
    stopped = house.created()
    house.start(stopped)
    house.run(house.store.stop(stopped, now=house.clock.now()))
    house.created()
    assert usage(house)["totals"]["videos"] == 0
    made(house)
    assert usage(house)["totals"]["videos"] == 1


def test_a_last_word_that_is_repeated_is_booked_once(house: House) -> None:
    task_id = house.created()
    attempt = house.start(task_id)
    outcome = Outcome(
        video=Video(key="videos/a/1.mp4", digest="d" * 64, size=1, width=16, height=16),
        usage=Usage(video_duration=5, video_count=1, sr=480),
    )
    settled = [house.run(house.front.desk.settle(task_id, attempt, outcome)) for _ in range(3)]
    assert settled == [Settled.RECORDED, Settled.REPEATED, Settled.REPEATED]
    assert usage(house)["totals"]["videos"] == 1


def test_of_two_attempts_the_one_that_holds_the_lease_is_booked(house: House) -> None:
    task_id = house.created()
    lost = house.start(task_id)
    house.lose_worker()
    kept = house.start(task_id)
    outcome = Outcome(
        video=Video(key="videos/a/1.mp4", digest="d" * 64, size=1, width=16, height=16),
        usage=Usage(video_duration=5, video_count=1, sr=480),
    )
    assert house.run(house.front.desk.settle(task_id, lost, outcome)) is Settled.LOST
    assert usage(house)["totals"]["videos"] == 0
    assert house.run(house.front.desk.settle(task_id, kept, outcome)) is Settled.RECORDED
    assert usage(house)["totals"]["videos"] == 1


def test_the_record_outlives_the_task(house: House) -> None:
    task_id = made(house)
    before = usage(house)["rows"]
    house.clock.advance(25 * HOUR)
    sweeper = Sweeper(
        store=house.store, blobs=house.blobs, clock=house.clock, retention=Retention(task=24 * HOUR, upload=48 * HOUR)
    )
    assert house.run(sweeper.sweep()) == 1
    assert house.query(task_id)["output"]["task_status"] == "UNKNOWN"
    assert usage(house)["rows"] == before


def test_days_are_those_of_utc_8_and_both_bounds_belong_to_the_span(house: House) -> None:
    made(house)  # 16:53 in UTC+8
    house.clock.advance(7 * HOUR + 7 * MINUTE)  # one in the night, which is still yesterday in UTC
    made(house)
    assert [row["day"] for row in usage(house)["rows"]] == ["2025-10-09", "2025-10-10"]
    for query, days in {
        "since=2025-10-10": ["2025-10-10"],
        "until=2025-10-09": ["2025-10-09"],
        "since=2025-10-09&until=2025-10-09": ["2025-10-09"],
        "since=2025-10-09&until=2025-10-10": ["2025-10-09", "2025-10-10"],
        "since=2025-10-11": [],
        "since=&until=": ["2025-10-09", "2025-10-10"],
    }.items():
        assert [row["day"] for row in usage(house, query)["rows"]] == days, query
    told = usage(house, "since=2025-10-09&until=2025-10-10")
    assert (told["since"], told["until"]) == ("2025-10-09", "2025-10-10")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("since=yesterday", "since"),
        ("since=2025-13-01", "since"),
        ("since=2025-02-30", "since"),
        ("until=20251009", "until"),
        ("until=2025-1-1", "until"),
        ("since=0001-01-01", "since"),
        ("until=9999-12-31", "until"),
        ("since=2025-10-10&until=2025-10-09", "until"),
        ("group_by=colour", "group_by"),
        ("group_by=day,,colour", "colour"),
        ("format=xml", "format"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_by_name(house: House, query: str, named: str) -> None:
    told = refused(house, query)
    assert told["code"] == "InvalidParameter"
    assert named in told["message"]


def test_it_is_grouped_as_asked(house: House) -> None:
    made(house)
    made(house, parameters__resolution="720P")
    made(house, model="wan2.1-kf2v-plus", parameters={})
    assert [row["model"] for row in usage(house, "group_by=model")["rows"]] == ["wan2.1-kf2v-plus", "wan2.2-kf2v-flash"]
    rows = usage(house, "group_by=resolution%2Cregion%2Cengine%2Ckey%2Cworkspace%2Caccount")["rows"]
    assert [row["resolution"] for row in rows] == ["480P", "720P"]
    assert {(row["region"], row["engine"], row["workspace"], row["account"]) for row in rows} == {
        ("local", "still", "", "mine")
    }
    [row] = usage(house, "group_by=")["rows"]
    assert row == usage(house)["totals"]
    assert len(usage(house, "model=wan2.1-kf2v-plus")["rows"]) == 1
    key = rows[0]["key"]
    assert usage(house, f"api_key_id={key}")["totals"]["videos"] == 3
    assert usage(house, "api_key_id=0")["totals"]["videos"] == 0


def test_an_account_sees_its_own_and_no_other(house: House) -> None:
    made(house)
    assert usage(house, key=house.other_key)["totals"]["videos"] == 0
    assert usage(house, "account=theirs", key=house.other_key)["totals"]["videos"] == 0
    for account in ("mine", "*", "nobody"):
        told = refused(house, f"account={account}", 403, key=house.other_key)
        assert told["code"] == "AccessDenied"
        assert "admin" in told["message"]


def test_the_owner_sees_anybodys_and_everybodys(house: House) -> None:
    made(house)
    house.finish(house.created(key=house.other_key))
    key = admin(house)
    assert usage(house, key=key)["totals"]["videos"] == 0
    assert usage(house, "account=mine", key=key)["totals"]["videos"] == 1
    assert usage(house, "account=nobody", key=key)["totals"]["videos"] == 0
    rows = usage(house, "account=*&group_by=account", key=key)["rows"]
    assert [(row["account"], row["videos"]) for row in rows] == [("mine", 1), ("theirs", 1)]


def test_it_needs_a_key_that_may_read(house: House) -> None:
    refused(house, "", 401, key=None)
    refused(house, "", 401, key="sk-nobody")
    rights = Rights(scopes=frozenset({Scope.CREATE}))
    house.run(house.front.keys.ensure("sk-orders-only", "mine", rights))
    assert "read" in refused(house, "", 403, key="sk-orders-only")["message"]


@pytest.mark.parametrize(
    ("query", "headers"),
    [("format=csv", {}), ("", {"Accept": "text/csv, */*;q=0.1"}), ("format=csv", {"Accept": "*/*"})],
)
def test_a_sheet_comes_for_whoever_wants_one(house: House, query: str, headers: dict[str, str]) -> None:
    made(house)
    answer = house.call("GET", f"{USAGE}?{query}", headers=headers)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="usage.csv"'
    heads, row = csv.reader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert dict(zip(heads, row, strict=True)) | {"prices": ""} == {
        "day": TODAY,
        "model": "wan2.2-kf2v-flash",
        "resolution": "480P",
        "videos": "1",
        "seconds": "5",
        "cost_cny": "0.50",
        "cost_usd": "",
        "unpriced_seconds_cny": "0",
        "unpriced_seconds_usd": "5",
        "prices": "",
    }


def test_json_stays_json_for_whoever_says_so(house: House) -> None:
    answer = house.call("GET", f"{USAGE}?format=json", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "application/json"


def test_the_owners_own_prices_are_the_ones_told(open_house: Open, tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(
        '[[prices]]\nregions = ["local"]\nmodel = "wan2.2-kf2v-flash"\nsource = "our tariff"\ndate = 2026-01-01\n'
        "per_second.480P = { usd = 0.02 }\n"
    )
    house = open_house(prices=file)
    made(house)
    told = usage(house)
    assert (told["totals"]["cost_usd"], "cost_cny" in told["totals"]) == ("0.10", False)
    assert [price["source"] for price in told["prices"]] == ["our tariff"]


def test_a_region_bills_by_its_own_prices(open_house: Open) -> None:
    house = open_house(region="singapore")
    made(house)
    made(house, model="wan2.1-kf2v-plus", parameters={})
    rows = usage(house)["rows"]
    assert [(row["model"], row.get("cost_cny"), row.get("cost_usd")) for row in rows] == [
        ("wan2.1-kf2v-plus", "3.66962", "0.50"),
        ("wan2.2-kf2v-flash", None, None),
    ]


class _Watched(Prices):
    """Has no price of anything, and remembers who asked."""

    def __init__(self) -> None:
        super().__init__([])
        self.asked_by: set[threading.Thread] = set()

    def find(self, region_id: str, model: str, resolution: str) -> Price | None:
        self.asked_by.add(threading.current_thread())
        return super().find(region_id, model, resolution)


@pytest.mark.parametrize("form", ["json", "csv"])
def test_nobody_else_waits_while_a_report_is_added_up(house: House, form: str) -> None:
    made(house)
    prices = _Watched()
    transport = httpx2.ASGITransport(app=app_of(replace(house.front, prices=prices)))
    watched = replace(house, client=httpx2.AsyncClient(transport=transport, base_url="http://here"))
    watched.call("GET", f"{USAGE}?format={form}")
    assert prices.asked_by
    assert threading.main_thread() not in prices.asked_by

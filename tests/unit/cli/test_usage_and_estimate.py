"""``kf2v usage`` and ``kf2v estimate``: what they ask, and what they make of the answer."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from endpoint import Answer, Endpoint

Kf2v = Callable[..., Any]

USAGE, ESTIMATE = "/kf2v/v1/usage", "/kf2v/v1/estimate"
PRICES = [
    {
        "region": "local",
        "model": "wan2.2-kf2v-flash",
        "resolution": "720P",
        "cny_per_second": "0.20",
        "source": "the price list",
        "date": "2026-05-30",
        "note": "read twice",
    }
]


def figures(videos: int, **costs: Any) -> dict[str, Any]:
    unpriced = {"unpriced_seconds_cny": 0, "unpriced_seconds_usd": 0}
    return {"videos": videos, "seconds": 5 * videos, **unpriced, **costs}


REPORT = {
    "request_id": "r",
    "group_by": ["day", "model"],
    "rows": [
        {"day": "2026-11-20", "model": "wan2.2-kf2v-flash", **figures(2, cost_cny="2.00", unpriced_seconds_usd=10)},
        {"day": "2026-11-21", "model": "wan2.1-kf2v-plus", **figures(1, cost_cny="3.66962", cost_usd="0.50")},
    ],
    "totals": figures(3, cost_cny="5.66962", cost_usd="0.50", unpriced_seconds_usd=10),
    "prices": PRICES,
}
ESTIMATED = {
    "request_id": "r",
    "model": "wan2.2-kf2v-flash",
    "resolution": "720P",
    "width": 816,
    "height": 1104,
    "seconds": 5,
    "seed_rule": "random",
    "cost_cny": "1.00",
    "price": PRICES[0],
    "run_seconds": 12.5,
}


def say(endpoint: Endpoint, method: str, path: str, answer: Any) -> None:
    endpoint.instead[method, path] = [Answer(200, json.dumps(answer).encode())]


def test_usage_is_a_table_with_totals_dashes_and_where_prices_are_from(kf2v: Kf2v, pointed: Endpoint) -> None:
    say(pointed, "GET", USAGE, REPORT)
    ran = kf2v("usage", "--by", "day,model")
    assert ran.code == 0, ran.err
    assert [line.split() for line in ran.out.splitlines()] == [
        ["day", "model", "videos", "seconds", "CNY", "USD"],
        ["2026-11-20", "wan2.2-kf2v-flash", "2", "10", "2.00", "–"],
        ["2026-11-21", "wan2.1-kf2v-plus", "1", "5", "3.66962", "0.50"],
        ["total", "3", "15", "5.66962", "0.50+"],
    ]
    assert "the price list, 2026-05-30. read twice" in ran.err
    [asked] = pointed.of("GET", USAGE)
    assert asked.query == {"group_by": "day,model"}


def test_usage_without_groups_is_the_total_alone(kf2v: Kf2v, pointed: Endpoint) -> None:
    say(pointed, "GET", USAGE, REPORT | {"group_by": [], "rows": [REPORT["totals"]]})
    ran = kf2v("usage", "--by", "")
    assert [line.split() for line in ran.out.splitlines()] == [
        ["videos", "seconds", "CNY", "USD"],
        ["3", "15", "5.66962", "0.50+"],
    ]


def test_usage_passes_on_what_it_is_asked(kf2v: Kf2v, pointed: Endpoint) -> None:
    for words, query in {
        ("--since", "2026-11-01", "--until", "2026-11-20"): {"since": "2026-11-01", "until": "2026-11-20"},
        ("--account", "alice"): {"account": "alice"},
        ("--all-accounts",): {"account": "*"},
    }.items():
        say(pointed, "GET", USAGE, REPORT)
        assert kf2v("usage", *words).code == 0
        assert pointed.of("GET", USAGE)[-1].query == {"group_by": "day,model,resolution", **query}


def test_usage_as_json_is_the_answer(kf2v: Kf2v, pointed: Endpoint) -> None:
    say(pointed, "GET", USAGE, REPORT)
    assert json.loads(kf2v("usage", "--json").out) == REPORT


def test_usage_as_a_sheet_is_what_the_server_wrote(kf2v: Kf2v, pointed: Endpoint) -> None:
    sheet = "day,videos\r\n2026-11-20,2\r\n"
    pointed.instead["GET", USAGE] = [Answer(200, sheet.encode(), type="text/csv")]
    assert kf2v("usage", "--csv").out == sheet
    assert pointed.of("GET", USAGE)[0].query["format"] == "csv"


@pytest.mark.parametrize("words", [("--csv", "--json"), ("--account", "a", "--all-accounts")])
def test_usage_cannot_be_two_things(kf2v: Kf2v, pointed: Endpoint, words: tuple[str, ...]) -> None:
    assert kf2v("usage", *words).code == 2
    assert not pointed.asked


def test_a_server_that_refuses_is_quoted(kf2v: Kf2v, pointed: Endpoint) -> None:
    pointed.fail_once("GET", USAGE, 403, "AccessDenied", "Access denied. This needs a key with the scope 'admin'.")
    ran = kf2v("usage", "--account", "alice")
    assert ran.code == 3
    assert "'admin'" in ran.err
    pointed.fail_once("GET", USAGE, 400, "InvalidParameter", "Input should be 'day': group_by.")
    assert kf2v("usage", "--by", "colour").code == 2


def test_an_endpoint_that_is_no_kf2v_is_told(kf2v: Kf2v, pointed: Endpoint) -> None:
    pointed.fail_once("GET", USAGE, 404, "NotFound", "Request path not found.")
    assert "NotFound" in kf2v("usage").err


def test_an_estimate_sends_the_frame_and_says_what_it_will_be(
    kf2v: Kf2v, pointed: Endpoint, frames: tuple[Path, Path]
) -> None:
    say(pointed, "POST", ESTIMATE, ESTIMATED)
    ran = kf2v("estimate", frames[0], "-r", "720P", "--seed", 7)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [
        "video  816x1104, 5 s, wan2.2-kf2v-flash at 720P",
        "price  CNY 1.00, USD – (the price list, 2026-05-30)",
        "wait   nobody knows yet",
        "run    about 12.5 s",
    ]
    body = pointed.of("POST", ESTIMATE)[0].json()
    head, _, data = body["input"]["first_frame_url"].partition(",")
    assert head.endswith(";base64")
    assert base64.b64decode(data) == frames[0].read_bytes()
    assert body["parameters"] == {"resolution": "720P", "seed": 7}
    assert not pointed.of("POST", "/bucket")


def test_an_estimate_goes_by_a_size_or_a_url(kf2v: Kf2v, pointed: Endpoint) -> None:
    say(pointed, "POST", ESTIMATE, {k: v for k, v in ESTIMATED.items() if k not in ("price", "cost_cny")})
    ran = kf2v("estimate", "--width", 750, "--height", 1000)
    assert "price  CNY –, USD –\n" in ran.out
    say(pointed, "POST", ESTIMATE, ESTIMATED)
    assert json.loads(kf2v("estimate", "https://h.example/a.png", "--json").out) == ESTIMATED
    assert [asked.json()["input"] for asked in pointed.of("POST", ESTIMATE)] == [
        {"width": 750, "height": 1000},
        {"first_frame_url": "https://h.example/a.png"},
    ]


@pytest.mark.parametrize(
    "words",
    [(), ("--width", 5), ("--height", 5), ("a.png", "--width", 5, "--height", 5), ("no-such-file.png",)],
)
def test_an_estimate_needs_a_frame_or_its_size(kf2v: Kf2v, pointed: Endpoint, words: tuple[Any, ...]) -> None:
    assert kf2v("estimate", *words).code == 2
    assert not pointed.asked

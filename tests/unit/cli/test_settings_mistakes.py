"""A setting that cannot be used is one line: which, why, and where it comes from."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from kf2v.settings import Settings
from kf2v.settings.shapes import WanLora, WanWeights

Kf2v = Callable[..., Any]

FLASH = "wan_weights, wan2.2-kf2v-flash"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WAN_WEIGHTS", "nonsense", "wan_weights: should be an object in JSON (Expecting value"),
        ("REWRITE_EXTRA", '{"a":', "rewrite_extra: should be an object in JSON (Expecting value"),
        ("WAN_WEIGHTS", "[1]", "wan_weights: Input should be a valid dictionary"),
        (
            "WAN_WEIGHTS",
            '{"wan2.2-kf2v-flash": {"base": "x", "distlled": true}}',
            f"{FLASH}.distlled: Extra inputs are not permitted",
        ),
        ("WAN_WEIGHTS", '{"wan2.2-kf2v-flash": {"distilled": true}}', f"{FLASH}.base: Field required"),
        ("WAN_WEIGHTS", '{"wan2.2-kf2v-flash": 5}', f"{FLASH}: Input should be a valid string"),
        ("WAN_WEIGHTS", '{"wan2.2-kf2v-flash": ""}', f"{FLASH}: String should have at least 1 character"),
        ("LIMITS", "none", "limits: Input should be 'own' or 'cloud'"),
        ("ACCOUNT_LIMITS", '{"a": {"runing": 1}}', "account_limits, a.runing: Extra inputs are not permitted"),
        ("ACCOUNT_LIMITS", '{"a": {"per_second": 0}}', "account_limits, a.per_second: Input should be greater than or"),
        ("ACCOUNT_LIMITS", '{"a": {"spend_per_day": -1}}', "account_limits, a.spend_per_day: Input should be greater"),
        ("ACCOUNT_LIMITS", '{"a": {"currency": "EUR"}}', "account_limits, a.currency: Input should be 'CNY' or 'USD'"),
        (
            "ACCOUNT_LIMITS",
            '{"a": {"models": {"wan9": {"running": 1}}}}',
            "account_limits, a.models: Value error, should name models among wan2.2-kf2v-flash, ",
        ),
        ("WAN_IDLE_UNLOAD", "inf", "wan_idle_unload: Value error, should be at most 1000000000"),
    ],
)
@pytest.mark.parametrize("command", [("config", "show"), ("doctor",)])
def test_a_mistake_in_the_environment_is_one_line_that_says_what_it_is(
    kf2v: Kf2v, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"KF2V_{name}", value)
    ran = kf2v(*command)
    assert ran.code == 1
    assert f"InvalidSetting: {said}" in ran.err
    assert f"from env KF2V_{name}" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_mistake_deep_in_a_file_is_told_with_its_place(kf2v: Kf2v) -> None:
    Path("kf2v.toml").write_text(
        '[wan_weights."wan2.2-kf2v-flash"]\nbase = "x"\nloras = [{file = "y", strength = nan}]\n'
    )
    ran = kf2v("config", "show")
    assert ran.code == 1
    assert f"{FLASH}.loras.0.strength: Input should be a finite number, got nan from kf2v.toml" in ran.err


@pytest.mark.parametrize("strength", [math.nan, math.inf])
def test_strengths_are_numbers_and_references_name_something(strength: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        WanLora(file="x", strength=strength)
    for empty in (lambda: WanLora(file=""), lambda: WanWeights(base="")):
        with pytest.raises(ValidationError, match="at least 1 character"):
            empty()


def test_weights_are_taken_as_a_name_or_in_detail() -> None:
    named = Settings(wan_weights={"wan2.2-kf2v-flash": "distilled", "wan2.1-kf2v-plus": {"base": "x"}})  # type: ignore[dict-item]
    assert named.wan_weights == {"wan2.2-kf2v-flash": "distilled", "wan2.1-kf2v-plus": WanWeights(base="x")}

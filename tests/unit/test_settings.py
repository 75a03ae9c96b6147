import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from kf2v.settings import Settings
from kf2v.settings.shapes import WanLora, WanWeights

DETAILED = WanWeights(base="/models/a14b", loras=(WanLora(file="style.safetensors", strength=0.5, expert="low"),))


def test_what_a_server_was_told_reaches_its_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = Settings(
        data_dir=tmp_path,
        port=0,
        fetch_allow_hosts=frozenset({"nas.local", "127.0.0.1:8080"}),
        wan_weights={"wan2.1-kf2v-plus": "full", "wan2.2-kf2v-flash": DETAILED},
        wan_native_1080p=True,
        fallback_engine="",
        rewriter="openai",
        rewrite_base_url="http://127.0.0.1:11434/v1/",
        rewrite_model="qwen2.5vl",
        rewrite_api_key=SecretStr("sk-of-the-model"),
        limits="cloud",
        account_limits={
            "*": {"running": 1},
            "studio 1": {"spend_per_day": "20.10", "currency": "USD", "models": {"wan2.2-kf2v-flash": {"waiting": 5}}},
        },
        routes={"wan2.2-kf2v-flash": ("wan", "remote", "morph"), "*": ("morph",)},
        remote_base_url="https://example.com/api/v1/",
        remote_api_key=SecretStr("sk-of-the-far-side"),
        remote_models={"wan2.1-kf2v-plus": "wanx2.1-kf2v-plus"},
        rewrite_extra={"temperature": 0.2, "chat_template_kwargs": {"enable_thinking": False}},
        moderation=("lists", "http"),
        moderation_url="http://127.0.0.1:9000/judge",
        moderation_api_key=SecretStr("sk-of-the-censor"),
        moderation_inspects="request",
    )
    for name, value in told.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == told


def test_weights_may_be_written_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "settings.md").read_text()
    example = next(block for block in page.split("```") if block.startswith("toml\n") and "[wan_weights]" in block)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kf2v.toml").write_text(example.removeprefix("toml\n"))
    settings = Settings()
    assert set(settings.wan_weights) == set(tomllib.loads((tmp_path / "kf2v.toml").read_text())["wan_weights"])
    detailed = settings.wan_weights["wanx2.1-kf2v-plus"]
    assert isinstance(detailed, WanWeights)
    assert [lora.strength for lora in detailed.loras] == [0.8]


def test_limits_may_be_written_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "limits.md").read_text()
    example = next(block for block in page.split("```") if block.startswith("toml\n"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kf2v.toml").write_text(example.removeprefix("toml\n"))
    studio = Settings().account_limits["studio"]
    assert (studio.per_second, studio.running, studio.waiting, studio.spend_per_month) == (5, 1, 1_000, 300)
    assert studio.models["wan2.2-kf2v-flash"].waiting == 100
    assert Settings().account_limits["*"].running == 2


@pytest.mark.parametrize("value", ["inf", "nan", "1e300", "-inf"])
@pytest.mark.parametrize("name", [name for name, field in Settings.model_fields.items() if field.annotation is float])
def test_no_time_is_endless(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_misspelled_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="expert"):
        Settings(wan_weights={"wan2.2-kf2v-flash": {"base": "x", "expert": "y"}})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("said", "meant"),
    [("off", ()), ("", ()), ("lists", ("lists",)), (" LISTS , http,lists", ("lists", "http")), ("openai", ("openai",))],
)
def test_who_moderates_is_a_list_of_names(monkeypatch: pytest.MonkeyPatch, said: str, meant: tuple[str, ...]) -> None:
    monkeypatch.setenv("KF2V_MODERATION", said)
    told = Settings(moderation_url="http://127.0.0.1:9000")
    assert told.moderation == meant
    monkeypatch.setenv("KF2V_MODERATION", told.environment()["KF2V_MODERATION"])
    assert Settings(moderation_url="http://127.0.0.1:9000").moderation == meant


def test_moderators_elsewhere_need_an_address_and_there_is_one_of_them() -> None:
    with pytest.raises(ValueError, match="http needs moderation_url"):
        Settings(moderation=("lists", "http"))
    with pytest.raises(ValueError, match="not both"):
        Settings(moderation=("http", "openai"), moderation_url="http://127.0.0.1:9000")


@pytest.mark.parametrize("missing", ["rewrite_base_url", "rewrite_model"])
def test_a_language_model_needs_an_address_and_a_name(missing: str) -> None:
    given = {"rewrite_base_url": "http://127.0.0.1:11434/v1", "rewrite_model": "qwen2.5vl"}
    with pytest.raises(ValueError, match="rewrite_base_url and rewrite_model"):
        Settings(rewriter="openai", **{name: value for name, value in given.items() if name != missing})  # type: ignore[arg-type]


def test_the_address_of_a_language_model_is_one() -> None:
    with pytest.raises(ValueError, match="http"):
        Settings(rewrite_base_url="localhost:11434")


def test_weights_of_an_unknown_model_are_refused() -> None:
    with pytest.raises(ValueError, match="wan9"):
        Settings(wan_weights={"wan9": "full"})


FAR: dict[str, Any] = {"remote_base_url": "https://example.com/api/v1", "remote_api_key": SecretStr("sk-far")}


@pytest.mark.parametrize(
    ("told", "routing"),
    [
        ({}, {"*": ("morph",)}),
        ({"engine": "wan"}, {"*": ("wan",)}),  # another stands in for it within each worker
        ({"engine": "remote", **FAR}, {"*": ("remote", "morph")}),
        ({"engine": "remote", "fallback_engine": "", **FAR}, {"*": ("remote",)}),
        ({"engine": "wan", "fallback_engine": "remote", **FAR}, {"*": ("wan", "remote")}),
        (
            {"engine": "wan", "routes": {"wan2.1-kf2v-plus": ("morph",)}},
            {"*": ("wan", "morph"), "wan2.1-kf2v-plus": ("morph",)},
        ),
        ({"routes": {"*": ("wan", "still")}}, {"*": ("wan", "still")}),
    ],
)
def test_every_model_has_an_order_of_engines(told: dict[str, Any], routing: dict[str, tuple[str, ...]]) -> None:
    assert Settings(**told).routing == routing


@pytest.mark.parametrize("missing", ["remote_base_url", "remote_api_key"])
def test_forwarding_needs_an_address_and_a_key(missing: str) -> None:
    given = {name: value for name, value in FAR.items() if name != missing}
    for told in ({"engine": "remote"}, {"routes": {"*": ("remote", "morph")}}):
        with pytest.raises(ValueError, match="remote_base_url and remote_api_key"):
            Settings(**told, **given)  # type: ignore[arg-type]
    assert Settings(**given).routing == {"*": ("morph",)}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("remote_base_url", "https://me:secret@example.com/api/v1", "no password"),
        ("remote_api_key", "sk-é", "ASCII"),
        ("remote_api_key", "sk-a\nsk-b", "one word"),
        ("remote_models", '{"*": "theirs"}', "should name models"),
    ],
)
def test_what_could_never_be_forwarded_with_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(f"KF2V_{name.upper()}", value)
    with pytest.raises(ValueError, match=told):
        Settings()


@pytest.mark.parametrize("routes", [{"wan9": ("morph",)}, {"*": ()}])
def test_a_route_is_of_a_model_there_is_and_leads_somewhere(routes: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ValueError, match=r"wan9|at least 1"):
        Settings(routes=routes)


def test_the_key_of_the_far_side_is_not_shown() -> None:
    assert "sk-far" not in repr(Settings(engine="remote", **FAR))

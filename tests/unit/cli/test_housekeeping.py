"""What this machine is set to, what it serves, and what ails it."""

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kf2v.assembly import engines
from kf2v.cli import doctor
from kf2v.cli.doctor import State
from kf2v.cli.env import without_proxy
from kf2v.engines import EngineUnavailable
from kf2v.settings import Settings
from kf2v.store.sqlite.ownership import Ownership

Kf2v = Callable[..., Any]


def shown(kf2v: Kf2v) -> dict[str, dict[str, str]]:
    return json.loads(kf2v("config", "show", "--json").out)


def test_every_setting_is_shown_with_its_source(kf2v: Kf2v, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF2V_PORT", "9001")
    Path("kf2v.toml").write_text('port = 1\nregion = "beijing"\n')
    told = shown(kf2v)
    assert set(told) == set(Settings.model_fields)
    assert told["port"] == {"value": "9001", "source": "env KF2V_PORT"}
    assert told["region"] == {"value": "beijing", "source": "kf2v.toml"}
    assert told["workers"]["source"] == "default"


def test_a_secret_is_not_shown(kf2v: Kf2v, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF2V_API_KEY", "sk-secret")
    ran = kf2v("config", "show")
    assert "sk-secret" not in ran.out
    assert "env KF2V_API_KEY" in ran.out


def test_no_secret_within_a_url_is_shown_right_or_wrong(kf2v: Kf2v, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF2V_REWRITE_BASE_URL", "http://me:hun@ter2@h.example/v1?key=hunter2&hunter2")
    monkeypatch.setenv("KF2V_MODERATION_URL", "https://hunter2@h.example/#hunter2")
    monkeypatch.setenv("KF2V_PUBLIC_URL", "https://h.example/@path")
    monkeypatch.setenv("KF2V_REWRITE_EXTRA", '{"api_key": "hunter2"}')
    told = shown(kf2v)
    assert "ter2" not in str(told)
    assert told["rewrite_base_url"]["value"] == "http://***@h.example/v1?key=***&***"
    assert told["moderation_url"]["value"] == "https://***@h.example/#***"
    assert told["rewrite_extra"]["value"] == "api_key"
    for name in ("REMOTE_BASE_URL", "FETCH_ALLOW_HOSTS"):
        monkeypatch.setenv(f"KF2V_{name}", "http://me:hunter2@h.example/?key=hunter2")
        ran = kf2v("config", "show")
        assert (ran.code, "ter2" in ran.err) == (1, False), ran.err
        assert "http://***@h.example" in ran.err
        monkeypatch.delenv(f"KF2V_{name}")


def test_lists_of_a_setting_are_shown_sorted_as_in_the_environment(kf2v: Kf2v, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF2V_FETCH_ALLOW_HOSTS", "h,g,f,e,d,c,b,a")
    assert shown(kf2v)["fetch_allow_hosts"]["value"] == "a,b,c,d,e,f,g,h"


def test_limits_are_shown_as_they_would_be_written_in_the_environment(kf2v: Kf2v) -> None:
    Path("kf2v.toml").write_text("[account_limits.studio]\nspend_per_day = 20.10\n")
    told = shown(kf2v)["account_limits"]
    assert json.loads(told["value"])["studio"]["spend_per_day"] == "20.1"
    assert told["source"] == "kf2v.toml"


def test_a_setting_that_cannot_be_used_is_named_with_its_source(kf2v: Kf2v, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF2V_WORKERS", "many")
    ran = kf2v("config", "show")
    assert (ran.code, ran.out) == (1, "")
    assert "workers" in ran.err
    assert "'many' from env KF2V_WORKERS" in ran.err


@pytest.mark.parametrize("text", ["port = ", "nonsense = 1"])
def test_a_broken_settings_file_is_named(kf2v: Kf2v, text: str) -> None:
    Path("kf2v.toml").write_text(text)
    ran = kf2v("config", "show")
    assert ran.code == 1
    assert "kf2v.toml" in ran.err


def test_the_path_is_that_of_the_file_in_effect(kf2v: Kf2v, home: Path) -> None:
    assert kf2v("config", "path").out == f"{home / 'config' / 'config.toml'}\n"
    (home / "kf2v.toml").write_text("")
    assert kf2v("config", "path").out == f"{home / 'kf2v.toml'}\n"


def test_models_are_those_of_the_region(kf2v: Kf2v, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "wan2.1-kf2v-plus" in kf2v("models").out
    monkeypatch.setenv("KF2V_REGION", "beijing")
    told = json.loads(kf2v("models", "--json").out)
    assert [model["model"] for model in told["models"]] == ["wan2.2-kf2v-flash", "wanx2.1-kf2v-plus"]
    assert told["models"][0]["resolutions"] == ["480P", "720P", "1080P"]


def test_env_gives_lines_a_shell_understands(kf2v: Kf2v, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF2V_API_KEY", "sk-it's")
    monkeypatch.setenv("KF2V_PORT", "9001")
    lines = kf2v("env").out
    program = f'{lines}\nprintf \'%s|%s|%s\' "$DASHSCOPE_HTTP_BASE_URL" "$DASHSCOPE_API_KEY" "$NO_PROXY"'
    said = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=True, env={}).stdout
    assert said == "http://127.0.0.1:9001/api/v1|sk-it's|127.0.0.1,localhost"
    assert "set -gx DASHSCOPE_HTTP_BASE_URL http://" in kf2v("env", "--shell", "fish").out
    assert "$Env:DASHSCOPE_API_KEY = 'sk-it''s'" in kf2v("env", "--shell", "powershell").out


def test_env_finds_the_key_the_server_made(kf2v: Kf2v, home: Path) -> None:
    missing = kf2v("env")
    assert (missing.code, missing.out) == (3, "")
    (home / "data").mkdir()
    (home / "data" / "owner.key").write_text("sk-owner\n")
    assert "DASHSCOPE_API_KEY=sk-owner" in kf2v("env").out


def test_no_proxy_keeps_what_it_had() -> None:
    assert without_proxy("") == "127.0.0.1,localhost"
    assert without_proxy("intranet, localhost") == "intranet,localhost,127.0.0.1"


def test_doctor_finds_this_machine_well(kf2v: Kf2v, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF2V_PORT", "0")
    ran = kf2v("doctor", "--json")
    told = json.loads(ran.out)
    assert [check["name"] for check in told["checks"]] == [check.__name__ for check in doctor.CHECKS]
    assert [check for check in told["checks"] if check["state"] == "fail"] == []
    assert (ran.code, told["ok"]) == (0, True)


def test_doctor_exits_with_1_and_a_fix_when_something_fails(kf2v: Kf2v, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("KF2V_PORT", str(taken.getsockname()[1]))
        ran = kf2v("doctor")
    assert ran.code == 1
    assert "fail  port" in ran.out
    assert "fix: kf2v serve --port 0" in ran.out


def test_a_port_taken_by_our_own_server_is_well(home: Path) -> None:
    (home / "data").mkdir()
    held = Ownership(home / "data" / "kf2v.db")
    try:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            settings = Settings(port=taken.getsockname()[1])
            assert doctor.port(settings).state is State.OK
            assert "a server is running" in doctor.data(settings).detail
    finally:
        held.release()
    assert not doctor.in_use(home / "data")


def test_a_data_directory_that_cannot_be_is_a_failure(home: Path) -> None:
    (home / "file").write_text("")
    finding = doctor.data(Settings(data_dir=home / "file" / "data"))
    assert finding.state is State.FAIL
    assert "--data-dir" in finding.fix


def test_a_full_disk_is_a_failure(home: Path) -> None:
    assert doctor.disk(Settings(min_free_mb=10**12)).state is State.FAIL
    assert doctor.disk(Settings(min_free_mb=0)).state is State.OK


@pytest.mark.parametrize(
    ("environment", "state"),
    [
        ({}, State.OK),
        ({"HTTP_PROXY": "http://p:1"}, State.WARN),
        ({"http_proxy": "http://p:1", "NO_PROXY": "localhost"}, State.WARN),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "127.0.0.1, localhost"}, State.OK),
        ({"ALL_PROXY": "http://p:1", "no_proxy": "*"}, State.OK),
        ({"HTTPS_PROXY": "http://p:1"}, State.OK),
    ],
)
def test_a_proxy_that_would_swallow_loopback_is_warned_of(
    home: Path, environment: dict[str, str], state: State
) -> None:
    assert doctor.proxy(Settings(), environment).state is state


def test_the_mark_and_the_codec_are_tried_for_real(home: Path) -> None:
    assert doctor.codec(Settings()).detail == "h264 High, yuv420p"
    assert doctor.mark(Settings(watermark_text="AI生成")).state is State.OK


def lacking(settings: Settings) -> EngineUnavailable:
    return EngineUnavailable("There is no GPU.", fix="Plug one in.")


def test_doctor_knows_an_engine_that_cannot_work_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines.READINESS, "still", lacking)
    alone = doctor.engine(Settings(engine="still", fallback_engine=""))
    assert (alone.state, alone.detail, alone.fix) == (State.FAIL, "There is no GPU.", "Plug one in.")
    stood_in_for = doctor.engine(Settings(engine="still", fallback_engine="morph"))
    assert (stood_in_for.state, stood_in_for.fix) == (State.WARN, "Plug one in.")
    assert "morph stands in for still" in stood_in_for.detail
    assert doctor.engine(Settings(engine="morph")).state is State.OK


@pytest.mark.parametrize(
    ("route", "state", "told"),
    [
        (("morph",), State.OK, "morph can work"),
        (("still", "morph"), State.WARN, "no GPU"),
        (("still",), State.FAIL, "no GPU"),
        (("stil", "morph"), State.FAIL, "there is no 'stil'"),
    ],
)
def test_doctor_looks_at_every_engine_of_the_routes(
    monkeypatch: pytest.MonkeyPatch, route: tuple[str, ...], state: State, told: str
) -> None:
    monkeypatch.setitem(engines.READINESS, "still", lambda _: EngineUnavailable("no GPU", fix="buy one"))
    finding = doctor.engine(Settings(routes={"*": route}))
    assert finding.state is state
    assert told in finding.detail
    assert doctor.engine(Settings(engine="mroph")).state is State.FAIL


def test_doctor_warns_of_models_without_weights_and_says_which_command_mends_it(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setitem(engines.READINESS, "wan", lambda _: None)
    monkeypatch.setenv("HF_HOME", str(home))
    found = doctor.engine(Settings(engine="wan", fallback_engine="morph"))
    assert found.state is State.WARN
    assert "not for wan2.2-kf2v-flash, wan2.1-kf2v-plus, wanx2.1-kf2v-plus, and morph makes those" in found.detail
    assert found.fix.split("kf2v models pull ")[1:] == [
        "wan2.2-kf2v-flash:distilled Fetch its weights (80 GB): ",
        "wan2.1-kf2v-plus:full",
    ]
    assert "tasks for it fail" in doctor.engine(Settings(engine="wan", fallback_engine="")).detail
    monkeypatch.setitem(engines.SHORTCOMINGS, "wan", lambda _: {})
    assert doctor.engine(Settings(engine="wan")).state is State.OK


def test_who_stands_in_is_said_at_the_start(kf2v: Kf2v, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines.READINESS, "still", lacking)
    ran = kf2v("run", "no-such-file", "nor-this", "--engine", "still")
    assert "still cannot work here, morph stands in: There is no GPU." in ran.err
    assert "fix: Plug one in." in ran.err


def test_a_server_with_nothing_to_stand_in_does_not_start(kf2v: Kf2v, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines.READINESS, "still", lacking)
    monkeypatch.setenv("KF2V_FALLBACK_ENGINE", "")
    ran = kf2v("serve", "--port", "0", "--engine", "still")
    assert ran.code == 1
    assert ran.err.startswith("EngineUnavailable: There is no GPU.\nfix: Plug one in.")

"""Which server, and a key only where it belongs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kf2v.cli.exits import Exit
from kf2v.cli.target import find_target, local_base_url
from kf2v.cli.terminal import CommandFailed

CLOUD = "https://dashscope.aliyuncs.com/api/v1"
KEYED = {"DASHSCOPE_API_KEY": "sk-env"}


def target(base_url: str | None = None, key_file: Path | None = None, **environment: str):
    return find_target(base_url, key_file, None, environment)


def owner_key(home: Path) -> None:
    (home / "data").mkdir()
    (home / "data" / "owner.key").write_text("sk-owner\n")


def cloud_key(home: Path) -> None:
    (home / ".dashscope").mkdir()
    (home / ".dashscope" / "api_key").write_text("sk-cloud\n")


def test_without_a_word_it_is_this_machine(home: Path) -> None:
    assert target(**KEYED).base_url == "http://127.0.0.1:8000/api/v1"


def test_this_machines_settings_say_where_its_server_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF2V_PORT", "9001")
    monkeypatch.setenv("KF2V_HOST", "0.0.0.0")
    assert local_base_url() == "http://127.0.0.1:9001/api/v1"
    monkeypatch.setenv("KF2V_HOST", "::1")
    assert local_base_url() == "http://[::1]:9001/api/v1"


def test_a_flag_wins_over_the_environment(home: Path) -> None:
    found = target("http://flag:1/api/v1", DASHSCOPE_HTTP_BASE_URL="http://env:1/api/v1", **KEYED)
    assert found.base_url == "http://flag:1/api/v1"


def test_the_environments_names_are_asked_in_order(home: Path) -> None:
    names = {"DASHSCOPE_HTTP_BASE_URL": "http://a/api/v1", "DASHSCOPE_BASE_URL": "http://b", "KF2V_URL": "http://c"}
    seen: list[str] = []
    while names:
        seen.append(target(**names, **KEYED).base_url)
        names.pop(next(iter(names)))
    assert seen == ["http://a/api/v1", "http://b/api/v1", "http://c/api/v1"]


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/api/v1", "http://h:1/api/v1/"])
def test_a_base_url_may_come_with_or_without_its_path(home: Path, url: str) -> None:
    assert target(url, **KEYED).base_url == "http://h:1/api/v1"


def test_a_key_file_wins_over_the_environment(home: Path) -> None:
    file = home / "key"
    file.write_text("sk-file\n")
    assert target(key_file=file, **KEYED).api_key == "sk-file"


def test_a_key_file_that_is_not_there_is_an_error(home: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        target(key_file=home / "nothing", **KEYED)
    assert caught.value.exit is Exit.AUTH


def test_the_vendors_variable_wins_over_ours(home: Path) -> None:
    assert target(DASHSCOPE_API_KEY="sk-a", KF2V_API_KEY="sk-b").api_key == "sk-a"
    assert target(KF2V_API_KEY="sk-b").api_key == "sk-b"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000"])
def test_the_owners_key_is_for_this_machine(home: Path, url: str) -> None:
    owner_key(home)
    assert target(url).api_key == "sk-owner"


@pytest.mark.parametrize("url", ["http://10.0.0.7:8000", "https://kf2v.example", CLOUD, "http://127.0.0.1.example"])
def test_the_owners_key_goes_nowhere_else(home: Path, url: str) -> None:
    owner_key(home)
    with pytest.raises(CommandFailed) as caught:
        target(url)
    assert caught.value.exit is Exit.AUTH


def test_the_cloud_key_is_for_the_cloud(home: Path) -> None:
    cloud_key(home)
    assert target(CLOUD).api_key == "sk-cloud"
    assert target("https://ws-1.cn-beijing.maas.aliyuncs.com/api/v1").api_key == "sk-cloud"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000", "https://aliyuncs.com.example", "https://evilaliyuncs.com", "http://x.aliyuncs.com"],
)
def test_the_cloud_key_goes_nowhere_else_and_never_unencrypted(home: Path, url: str) -> None:
    cloud_key(home)
    with pytest.raises(CommandFailed):
        target(url)


@pytest.mark.parametrize("key", ["sk-a b", "sk-ä", "sk-a\nX-Other: 1"])
def test_a_key_that_would_break_the_header_is_refused(home: Path, key: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        target(DASHSCOPE_API_KEY=key)
    assert key not in caught.value.message


def test_a_target_does_not_show_its_key(home: Path) -> None:
    assert "sk-env" not in repr(target(**KEYED))


def test_a_neighbour_is_asked_more_often_than_the_cloud(home: Path) -> None:
    assert max(target(**KEYED).pace) < min(target(CLOUD, **KEYED).pace) * 2
    assert target(CLOUD, **KEYED).pace[-1] == 15


@pytest.mark.parametrize(
    "url",
    [
        "http://me:secret@h.example/",
        "https://secret@h.example/api/v1",
        "http://h.example/?key=secret",
        "ftp://a:secret@h",
    ],
)
def test_a_base_url_holds_no_secrets_and_a_refusal_shows_none(kf2v: Callable[..., Any], url: str) -> None:
    ran = kf2v("tasks", "list", "--base-url", url)
    assert (ran.code, ran.out) == (2, "")
    assert "***" in ran.err
    assert "secret" not in ran.err


@pytest.mark.parametrize("url", ["http://[::1", "http://", "http://h:99999", "https:///api/v1"])
def test_a_base_url_names_a_host(kf2v: Callable[..., Any], url: str) -> None:
    ran = kf2v("tasks", "list", "--base-url", url)
    assert ran.code == 2
    assert "base URL" in ran.err

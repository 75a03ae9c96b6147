"""Commands find the server of their data directory, whatever port it took."""

from pathlib import Path

import pytest

from kf2v.cli.target import local_base_url
from kf2v.settings import Settings


def test_a_running_server_is_found_where_it_says_it_is(tmp_path: Path) -> None:
    Settings(data_dir=tmp_path).address_file.write_text("http://127.0.0.1:41234\n")
    assert local_base_url(tmp_path) == "http://127.0.0.1:41234/api/v1"


@pytest.mark.parametrize(
    ("host", "reached"),
    [("0.0.0.0", "127.0.0.1"), ("", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("nas.local", "nas.local")],
)
def test_a_server_on_every_interface_is_reached_by_loopback(tmp_path: Path, host: str, reached: str) -> None:
    assert Settings(data_dir=tmp_path, host=host).local_url(8000) == f"http://{reached}:8000"


def test_without_a_running_server_the_settings_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF2V_PORT", "8123")
    assert local_base_url(tmp_path) == "http://127.0.0.1:8123/api/v1"

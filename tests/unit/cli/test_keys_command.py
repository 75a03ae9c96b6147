"""Keys are made where the data is: by the running server, or right in the data directory."""

import json
import re
import socketserver
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from kf2v.net.unix import socket_path
from kf2v.store.sqlite.ownership import Ownership

Kf2v = Callable[..., Any]


class Backstage(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A double of a running server's back door."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.status, self.answer = 200, b"true"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                outer.asked.append((self.command, self.path, body))
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.answer)))
                self.end_headers()
                self.wfile.write(outer.answer)

            do_GET = do_POST = handle_one

            def log_message(self, format: str, *args: object) -> None:
                pass

            def address_string(self) -> str:
                return ""

        super().__init__(str(path), Handler)


@pytest.fixture
def running(home: Path) -> Iterator[Backstage]:
    (home / "data").mkdir()
    with Backstage(socket_path(home / "data")) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_new_key_stands_alone_on_stdout(kf2v: Kf2v) -> None:
    ran = kf2v("keys", "create", "--account", "alice")
    assert (ran.code, ran.err) == (0, "")
    assert re.fullmatch(r"sk-[0-9a-f]{32}\n", ran.out)


def test_a_list_shows_no_secret(kf2v: Kf2v) -> None:
    secret = kf2v("keys", "create", "--account", "alice").out.strip()
    ran = kf2v("keys", "list")
    assert secret not in ran.out
    assert f"…{secret[-4:]}" in ran.out
    assert "alice" in ran.out
    [told] = json.loads(kf2v("keys", "list", "--json").out)["keys"]
    assert told["account"] == "alice"
    assert told["hint"] == secret[-4:]
    assert "key" not in told


def test_a_key_is_revoked_once(kf2v: Kf2v) -> None:
    kf2v("keys", "create", "--account", "alice")
    [told] = json.loads(kf2v("keys", "list", "--json").out)["keys"]
    assert kf2v("keys", "revoke", told["id"]).code == 0
    [told] = json.loads(kf2v("keys", "list", "--json").out)["keys"]
    assert "revoked_at" in told
    again = kf2v("keys", "revoke", told["id"])
    assert (again.code, again.out) == (1, "")


def test_data_dir_names_the_data(kf2v: Kf2v, home: Path) -> None:
    kf2v("keys", "create", "--account", "alice", "--data-dir", "elsewhere")
    assert (home / "elsewhere" / "kf2v.db").is_file()
    assert not (home / "data").exists()


@pytest.mark.parametrize("name", ["", "  ", "a\nb"])
def test_an_account_needs_a_name(kf2v: Kf2v, name: str) -> None:
    assert kf2v("keys", "create", "--account", name).code == 2


def test_a_running_server_is_asked(kf2v: Kf2v, running: Backstage, home: Path) -> None:
    row = {"id": "1", "account": "bob", "hint": "cdef", "created_at": 1_760_000_000_000}
    running.answer = json.dumps({**row, "key": "sk-abcdef"}).encode()
    assert kf2v("keys", "create", "--account", "bob").out == "sk-abcdef\n"
    running.answer = json.dumps([row]).encode()
    assert "…cdef" in kf2v("keys", "list").out
    running.answer = b"true"
    assert kf2v("keys", "revoke", "1/2").code == 0
    assert [(method, path) for method, path, _ in running.asked] == [
        ("POST", "/keys"),
        ("GET", "/keys"),
        ("POST", "/keys/1%2F2/revoke"),
    ]
    assert json.loads(running.asked[0][2]) == {"account": "bob"}
    assert not (home / "data" / "kf2v.db").exists()


def test_a_running_server_that_knows_no_such_key(kf2v: Kf2v, running: Backstage) -> None:
    running.status, running.answer = 404, b"{}"
    assert kf2v("keys", "revoke", "1").code == 1


def test_a_running_server_that_errs_is_quoted(kf2v: Kf2v, running: Backstage) -> None:
    running.status, running.answer = 500, b"broken"
    ran = kf2v("keys", "list")
    assert (ran.code, ran.out) == (1, "")
    assert "500: broken" in ran.err


def test_a_socket_left_behind_is_no_server(kf2v: Kf2v, running: Backstage, home: Path) -> None:
    running.shutdown()
    running.server_close()
    assert socket_path(home / "data").exists()
    assert kf2v("keys", "create", "--account", "alice").code == 0


def test_data_that_somebody_holds_without_answering_is_told(kf2v: Kf2v, home: Path) -> None:
    (home / "data").mkdir()
    held = Ownership(home / "data" / "kf2v.db")
    try:
        ran = kf2v("keys", "list")
    finally:
        held.release()
    assert (ran.code, ran.out) == (1, "")
    assert "in use" in ran.err

"""``kf2v keys``: who may use the service of this machine.

A running server is asked over its socket, because it alone owns the data; with none running the data is opened.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from kf2v.cli.config import DataDir, read_settings
from kf2v.cli.delivery import AsJson
from kf2v.cli.exits import Exit
from kf2v.cli.help import help_alone
from kf2v.cli.serve import absolute
from kf2v.cli.terminal import CommandFailed, give, give_json, give_table, say

if TYPE_CHECKING:
    from kf2v.admission.keys import Keys
    from kf2v.settings import Settings
    from kf2v.wire.backstage import KeyShown

T = TypeVar("T")

app = typer.Typer(
    help="Make, list and revoke API keys of this machine's service.", callback=help_alone, invoke_without_command=True
)


@app.command()
def create(
    account: Annotated[str, typer.Option(help="Whose key it is; tasks and uploads belong to accounts.")],
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it. It is shown this once and kept only as a hash."""
    if not account.strip() or not account.isprintable():
        raise CommandFailed("Usage", "--account should be a name")
    key = _Cabinet(data_dir).create(account.strip())
    give_json(_fields(key)) if as_json else give(key.key or "")


@app.command("list")
def list_keys(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List all keys, oldest first, without their secrets."""
    keys = _Cabinet(data_dir).list()
    if as_json:
        give_json({"keys": [_fields(key) for key in keys]})
        return
    heads = ("id", "account", "key", "created", "revoked")
    give_table(heads, ((k.id, k.account, f"…{k.hint}", _day(k.created_at), _day(k.revoked_at)) for k in keys))


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="See: kf2v keys list.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    """End a key for good; asks first on a terminal. Running tasks of its account go on."""
    if not yes and sys.stdin.isatty() and not typer.confirm(f"Revoke key {key_id}?", err=True):
        raise CommandFailed("NotConfirmed", f"key {key_id} is still valid", fix="")
    if not _Cabinet(data_dir).revoke(key_id):
        raise CommandFailed("NotFound", f"there is no key {key_id} that could be revoked", fix="see: kf2v keys list")
    say(f"revoked {key_id}")


class _Cabinet:
    """The keys of one data directory, through whoever owns it at the moment."""

    def __init__(self, data_dir: Any) -> None:
        self._settings: Settings = read_settings(data_dir=absolute(data_dir))

    def create(self, account: str) -> KeyShown:
        from kf2v.wire import backstage

        answer = self._ask("POST", "/keys", backstage.render(backstage.NewKey(account=account)))
        if answer is not None:
            return backstage.parse(backstage.KeyShown, answer[1])

        from kf2v.admission.keys import shown

        async def make(keys: Keys) -> KeyShown:
            key, secret = await keys.create(account)
            return shown(key, secret)

        return self._open(make)

    def list(self) -> list[KeyShown]:
        from kf2v.wire import backstage

        answer = self._ask("GET", "/keys")
        if answer is not None:
            return backstage.parse(list[backstage.KeyShown], answer[1])

        from kf2v.admission.keys import shown

        async def look(keys: Keys) -> list[KeyShown]:
            return [shown(key) for key in await keys.list()]

        return self._open(look)

    def revoke(self, key_id: str) -> bool:
        from urllib.parse import quote

        answer = self._ask("POST", f"/keys/{quote(key_id, safe='')}/revoke")
        if answer is not None:
            return answer[0] == 200
        return self._open(lambda keys: keys.revoke(key_id))

    def _ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes] | None:
        """What the running server says; None if none runs. Raises CommandFailed if it refuses."""
        from kf2v.net.unix import socket_path
        from kf2v.net.unix_client import UnixClient, Unreachable

        socket = socket_path(self._settings.data_dir)
        if not socket.exists():
            return None
        try:
            status, answer = UnixClient(socket).ask(method, path, body)
        except Unreachable:
            return None  # left behind by a server that died; the lock of the data tells for certain
        if status not in (200, 404):
            told = answer.decode("utf-8", "replace")
            raise CommandFailed("ServerError", f"the running server answered {status}: {told}")
        return status, answer

    def _open(self, work: Callable[[Keys], Awaitable[T]]) -> T:
        import asyncio

        from kf2v.assembly import open_keys
        from kf2v.store.sqlite.ownership import StoreInUse

        async def inside() -> T:
            async with open_keys(self._settings) as keys:
                return await work(keys)

        try:
            return asyncio.run(inside())
        except StoreInUse as error:
            fix = "it may be starting or stopping; try again in a moment"
            raise CommandFailed("DataDirInUse", f"{error} It does not answer.", exit=Exit.GENERAL, fix=fix) from error
        except OSError as error:
            raise CommandFailed("DataDirUnusable", f"{self._settings.data_dir}: {error.strerror or error}") from error


def _fields(key: KeyShown) -> dict[str, object]:
    """Absent members are left out, as everywhere in this API."""
    from dataclasses import asdict

    return {name: value for name, value in asdict(key).items() if value is not None}


def _day(at: int | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at / 1000, UTC).astimezone():%Y-%m-%d %H:%M}"

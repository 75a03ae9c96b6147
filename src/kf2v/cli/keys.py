"""``kf2v keys``: who may use the service of this machine, and what for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from kf2v.cli.back_door import BackDoor, day, members
from kf2v.cli.config import DataDir
from kf2v.cli.delivery import AsJson
from kf2v.cli.help import help_alone
from kf2v.cli.target import segment
from kf2v.cli.terminal import CommandFailed, Label, Yes, confirm, give, give_json, give_table, say

if TYPE_CHECKING:
    from kf2v.wire.keys import KeyShown

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

app = typer.Typer(
    help="Make, list, change and revoke API keys of this machine's service.",
    callback=help_alone,
    invoke_without_command=True,
)

KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="See: kf2v keys list.")]
Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", help="create, read, cancel (these three unless told), manage or admin; may be repeated."),
]
Models = Annotated[list[str] | None, typer.Option("--model", help="A model it is for; may be repeated.")]
Networks = Annotated[
    list[str] | None, typer.Option("--network", help="Where it may be used from, as 192.0.2.0/24; may be repeated.")
]
Region = Annotated[str | None, typer.Option(help="singapore or beijing: it works there only.")]
Workspace = Annotated[str | None, typer.Option(help="The workspace it belongs to.")]
Priority = Annotated[int | None, typer.Option(help="Of its tasks, -100 to 100; higher ones go first.")]
ExpiresIn = Annotated[str | None, typer.Option(metavar="TIME", help="When it ends by itself: 3600, 90m, 12h, 30d.")]


@app.command()
def create(
    account: Annotated[str, typer.Option(help="Whose key it is; tasks and uploads belong to accounts.")],
    label: Label = None,
    scopes: Scopes = None,
    models: Models = None,
    networks: Networks = None,
    region: Region = None,
    workspace: Workspace = None,
    priority: Priority = None,
    expires_in: ExpiresIn = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it. It is shown this once and kept only as a hash."""
    from kf2v.wire.keys import NewKey

    if not account.strip() or not account.isprintable():
        raise CommandFailed("Usage", "--account should be a name")
    wish = NewKey(
        account=account.strip(),
        label=label,
        scopes=_tuple(scopes),
        models=_tuple(models),
        networks=_tuple(networks),
        region=region,
        workspace=workspace,
        priority=priority,
        expires_in=_seconds(expires_in),
    )
    _give(_key(BackDoor(data_dir).ask("POST", "/keys", members(wish))), as_json=as_json)


@app.command("list")
def list_keys(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List all keys, oldest first, without their secrets."""
    keys = _all(BackDoor(data_dir))
    if as_json:
        give_json({"keys": [members(key) for key in keys]})
        return
    heads = ("id", "account", "label", "key", "scopes", "state", "created", "used")
    give_table(heads, (_row(key) for key in keys))


@app.command()
def show(key_id: KeyId, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Everything about one key but its secret."""
    key = next((key for key in _all(BackDoor(data_dir)) if key.id == key_id), None)
    if key is None:
        raise CommandFailed("NotFound", f"there is no key {key_id}", fix="see: kf2v keys list")
    if as_json:
        give_json(members(key))
        return
    moments = {"created_at", "expires_at", "disabled_at", "revoked_at", "used_at"}
    for name, value in members(key).items():
        text = ", ".join(value) if isinstance(value, (list, tuple)) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        give(f"{name:12} {day(getattr(key, name)) if name in moments else text}".rstrip())


@app.command()
def change(
    key_id: KeyId,
    label: Label = None,
    scopes: Scopes = None,
    models: Models = None,
    networks: Networks = None,
    region: Region = None,
    workspace: Workspace = None,
    priority: Priority = None,
    expires_in: ExpiresIn = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Change what a key may do. What is not named stays; an empty value takes a bound away: --network ''."""
    from kf2v.wire.keys import KeyWish

    wish = KeyWish(
        label=label,
        scopes=_tuple(scopes),
        models=_tuple(models),
        networks=_tuple(networks),
        region=region,
        workspace=workspace,
        priority=priority,
        expires_in=_seconds(expires_in),
    )
    if not members(wish):
        raise CommandFailed("Usage", "nothing to change", fix="see: kf2v keys change --help")
    key = _key(BackDoor(data_dir).ask("POST", _path(key_id), members(wish)))
    give_json(members(key)) if as_json else say(f"changed {key_id}")


@app.command()
def rotate(key_id: KeyId, yes: Yes = False, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Give a key a new secret and print it; the old one is dead at once. Asks first on a terminal."""
    confirm(f"Replace the secret of key {key_id}?", f"key {key_id} has its old secret", yes=yes)
    _give(_key(BackDoor(data_dir).ask("POST", f"{_path(key_id)}/rotate")), as_json=as_json)


@app.command()
def disable(key_id: KeyId, data_dir: DataDir = None) -> None:
    """Switch a key off until it is enabled again."""
    BackDoor(data_dir).ask("POST", f"{_path(key_id)}/disable")
    say(f"disabled {key_id}")


@app.command()
def enable(key_id: KeyId, data_dir: DataDir = None) -> None:
    """Switch a key on again."""
    BackDoor(data_dir).ask("POST", f"{_path(key_id)}/enable")
    say(f"enabled {key_id}")


@app.command()
def revoke(key_id: KeyId, yes: Yes = False, data_dir: DataDir = None) -> None:
    """End a key for good; asks first on a terminal. Running tasks of its account go on."""
    confirm(f"Revoke key {key_id}?", f"key {key_id} is still valid", yes=yes)
    BackDoor(data_dir).ask("POST", f"{_path(key_id)}/revoke")
    say(f"revoked {key_id}")


def _path(key_id: str) -> str:
    return f"/keys/{segment(key_id)}"


def _key(answer: bytes) -> KeyShown:
    from kf2v.wire import backstage
    from kf2v.wire.keys import KeyShown

    return backstage.parse(KeyShown, answer)


def _all(door: BackDoor) -> list[KeyShown]:
    from kf2v.wire import backstage
    from kf2v.wire.keys import KeyShown

    return backstage.parse(list[KeyShown], door.ask("GET", "/keys"))


def _give(key: KeyShown, *, as_json: bool) -> None:
    give_json(members(key)) if as_json else give(key.key or "")


def _row(key: KeyShown) -> tuple[str, ...]:
    return (
        key.id,
        key.account,
        key.label,
        f"…{key.hint}",
        ",".join(key.scopes),
        _state(key),
        day(key.created_at),
        day(key.used_at),
    )


def _state(key: KeyShown) -> str:
    if key.revoked_at is not None:
        return f"revoked {day(key.revoked_at)}"
    if key.disabled_at is not None:
        return "disabled"
    return "active" if key.expires_at is None else f"until {day(key.expires_at)}"


def _tuple(values: list[str] | None) -> tuple[str, ...] | None:
    """An empty value alone is the empty list."""
    return None if values is None else tuple(value for value in values if value)


def _seconds(text: str | None) -> int | None:
    """``90m`` as seconds; empty is 0, which is no end."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", text.strip() or "0", re.ASCII)
    if found is None:
        raise CommandFailed("Usage", f"--expires-in should be like 3600, 90m, 12h or 30d, but got {text!r}")
    return int(found[1]) * _SECONDS[found[2] or "s"]

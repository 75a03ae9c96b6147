"""``kf2v config``: what is set, and where it comes from."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_origin

import typer

from kf2v.cli.delivery import AsJson
from kf2v.cli.help import help_alone
from kf2v.cli.terminal import CommandFailed, give_json, give_path, give_table

if TYPE_CHECKING:
    from pydantic import ValidationError

    from kf2v.settings import Settings

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where the service keeps its state [env: KF2V_DATA_DIR].")
]

app = typer.Typer(help="Show the settings and where they come from.", callback=help_alone, invoke_without_command=True)


def read_settings(**flags: object) -> Settings:
    """All settings; a flag that is None was not given. Raises CommandFailed naming the one that cannot be used."""
    import tomllib

    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from kf2v.settings import FILES, Settings

    given: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise CommandFailed("InvalidSetting", _sentence(error, given)) from error
    except SettingsError as error:
        raise CommandFailed("InvalidSetting", _unreadable() or str(error)) from error
    except (tomllib.TOMLDecodeError, OSError) as error:
        there = " or ".join(str(file) for file in FILES if file.exists())
        raise CommandFailed("InvalidSetting", f"{there} cannot be read: {error}") from error


def _sentence(error: ValidationError, flags: Collection[str]) -> str:
    """The first fault: the setting, what would do, where it comes from and, unless it is a secret, what came."""
    from kf2v.settings import Settings
    from kf2v.settings.secrecy import starred
    from kf2v.settings.shapes import TAGS

    fault = error.errors(include_url=False)[0]
    name = str(fault["loc"][0]) if fault["loc"] else "settings"
    known = Settings.model_fields.get(name)
    came = "" if known is None or _secret(known.annotation) else f", got {starred(fault['input'])!r}"
    source = "the command line" if name in flags else _sources().get(name, "")
    inner = ".".join(str(part) for part in fault["loc"][1:] if part not in TAGS)
    place = f"{name}, {inner}" if inner else name
    return f"{place}: {starred(fault['msg'])}{came}{f' from {source}' if source else ''}"


def _unreadable() -> str:
    """The variable that should hold JSON and does not; what it holds is not shown, for it may be secret."""
    from kf2v.settings import Settings

    for name, field in Settings.model_fields.items():
        said = next((value for key, value in os.environ.items() if key.upper() == f"KF2V_{name.upper()}"), None)
        if said is not None and get_origin(field.annotation) is dict:
            try:
                json.loads(said)
            except ValueError as error:
                return f"{name}: should be an object in JSON ({error}) from env KF2V_{name.upper()}"
    return ""


def _secret(annotation: object) -> bool:
    return "SecretStr" in str(annotation) or annotation == dict[str, Any]


@app.command()
def show(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Print every setting, its value and where it comes from. Secrets are starred, those within URLs too."""
    settings = read_settings(data_dir=data_dir)
    sources = _sources() | ({} if data_dir is None else {"data_dir": "the command line"})
    values = settings.shown()
    rows = [(name, _spelled(values[name]), sources.get(name, "default")) for name in type(settings).model_fields]
    if as_json:
        give_json({name: {"value": value, "source": source} for name, value, source in rows})
    else:
        give_table(("setting", "value", "source"), rows)


@app.command()
def path() -> None:
    """Print the settings file that is in effect, or where yours would be."""
    from kf2v.settings import FILES

    found = next((file for file in FILES if file.is_file()), FILES[-1])
    give_path(found.absolute())


def _spelled(value: object) -> str:
    """As it would be written in the environment."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return ",".join(map(str, cast("list[object]", value))) or "-"
    if isinstance(value, dict):
        return json.dumps(value) if value else "-"
    return str(value)


def _sources() -> dict[str, str]:
    """Where each setting that is not a default comes from: the environment, else the first file that names it."""
    from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource

    from kf2v.settings import FILES, Settings

    found = {name: f"env KF2V_{name.upper()}" for name in EnvSettingsSource(Settings)()}
    for file in FILES:
        for name in TomlConfigSettingsSource(Settings, toml_file=file)():
            found.setdefault(name, str(file))
    return found

"""``kf2v env``: the lines that point the official SDKs and tools at the service of this machine."""

from __future__ import annotations

import os
import shlex
from enum import StrEnum
from typing import Annotated

import typer

from kf2v.cli.config import DataDir, read_settings
from kf2v.cli.target import key_of_owner, local_base_url
from kf2v.cli.terminal import CommandFailed, give


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


def env(
    shell: Annotated[Shell, typer.Option(help="Whose syntax to use.")] = Shell.BASH, data_dir: DataDir = None
) -> None:
    """Print lines that point SDKs at this service.

    Use it so: eval "$(kf2v env)"
    """
    settings = read_settings(data_dir=data_dir)
    key = key_of_owner(settings)
    if not key:
        raise CommandFailed(
            "InvalidApiKey",
            f"{settings.owner_key_file} is not there or not yours",
            fix="the first `kf2v serve` makes it; or set KF2V_API_KEY",
        )
    for name, value in {
        "DASHSCOPE_HTTP_BASE_URL": local_base_url(data_dir),
        "DASHSCOPE_API_KEY": key,
        "NO_PROXY": without_proxy(os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""),
    }.items():
        give(_line(shell, name, value))


def without_proxy(present: str) -> str:
    """``NO_PROXY`` with this machine's names in it: the SDKs would send even loopback calls to a proxy."""
    names = [name.strip() for name in present.split(",") if name.strip()]
    return ",".join([*names, *(name for name in ("127.0.0.1", "localhost") if name not in names)])


def _line(shell: Shell, name: str, value: str) -> str:
    match shell:
        case Shell.FISH:
            return f"set -gx {name} {shlex.quote(value)}"
        case Shell.POWERSHELL:
            doubled = value.replace("'", "''")
            return f"$Env:{name} = '{doubled}'"
        case _:
            return f"export {name}={shlex.quote(value)}"

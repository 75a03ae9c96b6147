"""``kf2v completion``: the script that teaches a shell to complete kf2v's words."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


#: how the script, and this command, ask Typer for completion
VARIABLE = "_KF2V_COMPLETE"


def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")],
) -> None:
    """Print the completion script of a shell.

    Use it so: eval "$(kf2v completion bash)"
    """
    os.environ[VARIABLE] = f"source_{shell}"
    context.find_root().command.main([], prog_name="kf2v")

"""``kf2v help``: what the other commands' ``--help`` does not say."""

from __future__ import annotations

from typing import Annotated

import typer

from kf2v.cli.exits import ROWS
from kf2v.cli.terminal import give, give_table

EXIT_CODES = "exit-codes"


def help_alone(context: typer.Context) -> None:
    """What a group of commands does when none of them is named."""
    if context.invoked_subcommand is None:
        give(context.get_help())


def help(
    context: typer.Context,
    topic: Annotated[list[str] | None, typer.Argument(metavar="exit-codes | COMMAND…")] = None,
) -> None:
    """Explain the exit codes, or a command."""
    if topic == [EXIT_CODES]:
        give_table(("exit", "meaning"), ((str(int(row.exit)), row.meaning) for row in ROWS))
        return
    context.find_root().command.main([*(topic or []), "--help"], prog_name="kf2v", standalone_mode=False)

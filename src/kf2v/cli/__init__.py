"""Doors for hands: one file per command. Nothing heavy is imported until a command needs it."""

import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from kf2v.cli import (
    bench,
    chain,
    completion,
    config,
    create,
    doctor,
    env,
    estimate,
    help,
    house,
    inspect,
    keys,
    models,
    moderation,
    rewrite,
    run,
    serve,
    tasks,
    usage,
    validate,
    webhooks,
    worker,
    workspaces,
)
from kf2v.cli.exits import Exit
from kf2v.cli.terminal import CommandFailed, complain, give

#: plain help: Rich would double the time until it appears
app = typer.Typer(name="kf2v", rich_markup_mode=None, pretty_exceptions_enable=False)


def _version(asked: bool) -> None:
    if asked:
        from kf2v import __version__

        give(f"kf2v {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A first frame, a last frame and a prompt become a five-second video.

    \b
      kf2v run first.png last.png -o out.mp4     right here, no server
      kf2v serve                                 the DashScope kf2v API on this machine
      kf2v create first.png last.png -p "…"      through that API

    Results go to stdout, progress and errors to stderr. Exit codes: kf2v help exit-codes
    """
    del version
    help.help_alone(context)


for command in (
    run.run,
    serve.serve,
    create.create,
    chain.chain,
    estimate.estimate,
    validate.validate,
    inspect.inspect,
    rewrite.rewrite,
):
    app.command()(command)
app.add_typer(tasks.app, name="tasks")
app.add_typer(keys.app, name="keys")
app.add_typer(workspaces.app, name="workspaces")
for command in (usage.usage, house.engines, house.ps):
    app.command()(command)
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(models.app, name="models")
app.add_typer(moderation.app, name="moderation")
app.command()(doctor.doctor)
app.add_typer(bench.app, name="bench")
app.add_typer(config.app, name="config")
for command in (env.env, completion.completion, help.help):
    app.command()(command)
app.command(hidden=True)(worker.worker)


def dispatch(arguments: Sequence[str]) -> int:
    """Run one command; its exit code."""
    try:
        code = app(args=list(arguments), prog_name="kf2v", standalone_mode=False)
        return code if isinstance(code, int) else Exit.OK
    except typer.TyperException as error:
        failed = CommandFailed("Usage", error.format_message(), fix=_help_of(error))
    except CommandFailed as error:
        failed = error
    complain(failed, as_json="--json" in arguments)
    return failed.exit


def _help_of(error: typer.TyperException) -> str:
    """Of the command that was misused."""
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'kf2v'} --help"


def main() -> None:
    """The ``kf2v`` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Chinese is told Chinese all the same
    sys.exit(dispatch(sys.argv[1:]))

"""``kf2v rewrite``: what a task's prompt would become, without making the video."""

from __future__ import annotations

from typing import Annotated

import typer

from kf2v.cli.config import DataDir, read_settings
from kf2v.cli.delivery import AsJson
from kf2v.cli.frames import picture
from kf2v.cli.terminal import CommandFailed, give, give_json, say


def rewrite(
    first: Annotated[str, typer.Option("--first", metavar="FILE", help="First frame: a file or an http(s) URL.")],
    last: Annotated[str, typer.Option("--last", metavar="FILE", help="Last frame: a file or an http(s) URL.")],
    prompt: Annotated[str, typer.Argument(help="The prompt; none is fine.")] = "",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show what this machine's settings make of a prompt, with no server.

    Prints the prompt as it came and as the engine would get it.
    """
    settings = read_settings(data_dir=data_dir)
    from kf2v import logs
    from kf2v.errors import ApiError, RewriteFailed
    from kf2v.solo import preview_of_rewrite
    from kf2v.wire.v1.text import PROMPT_LIMIT, cut

    logs.configure("warning")
    orig = cut(prompt, PROMPT_LIMIT)
    try:
        actual = preview_of_rewrite(settings, orig, first=picture(first, settings), last=picture(last, settings))
    except RewriteFailed as error:
        if settings.rewrite_on_failure == "fail":
            raise CommandFailed(error.code, f"{error.message} {error.__cause__ or ''}".strip()) from error
        say(f"{settings.rewriter} failed, a task would keep its prompt: {error.__cause__ or error}")
        actual = orig
    except ApiError as error:
        raise CommandFailed(error.code, error.message) from error
    if as_json:
        give_json({"rewriter": settings.rewriter, "orig_prompt": orig, "actual_prompt": actual})
    else:
        give(f"orig    {orig}")
        give(f"actual  {actual}")

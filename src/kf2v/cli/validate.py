"""``kf2v validate``: everything a task would be refused or fail for, before it is ordered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kf2v.cli.create import MODEL, Model, NegativePrompt, Prompt, PromptExtend, Resolution, Seed, Watermark
from kf2v.cli.delivery import AsJson
from kf2v.cli.exits import Exit, exit_of_error
from kf2v.cli.frames import inline
from kf2v.cli.target import Server, asking
from kf2v.cli.terminal import CommandFailed, give, give_json

if TYPE_CHECKING:
    from kf2v.net.remote_error import Refused


@asking
def validate(
    server: Server,
    first: Annotated[str, typer.Argument(metavar="FIRST", help="First frame: a file or an http(s) URL.")],
    last: Annotated[str, typer.Argument(metavar="LAST", help="Last frame: a file or an http(s) URL.")],
    prompt: Prompt = None,
    negative_prompt: NegativePrompt = None,
    model: Model = MODEL,
    resolution: Resolution = None,
    seed: Seed = None,
    watermark: Watermark = None,
    prompt_extend: PromptExtend = None,
    as_json: AsJson = False,
) -> None:
    """Ask a server for all that is wrong with an order.

    Of a kf2v server only. Frames are looked at as a task would; nothing is ordered. Exits with 2 if anything is wrong,
    with 10 if it is moderation that objects.
    """
    from kf2v.net.dashscope import Request
    from kf2v.net.remote_error import Refused

    request = Request(
        model=model,
        first_frame_url=inline(first),
        last_frame_url=inline(last),
        prompt=prompt,
        negative_prompt=negative_prompt,
        resolution=resolution,
        seed=seed,
        prompt_extend=prompt_extend,
        watermark=watermark,
    )
    with server.connected() as client:
        try:
            answer = client.own_object("POST", "validate", params={"frames": "true"}, json=request.body())
        except Refused as error:
            if "mistakes" not in error.answer:
                raise
            raise _all(error, as_json=as_json) from error
    if as_json:
        give_json(answer)
        return
    sizes = " and ".join(f"{size['width']}x{size['height']}" for size in (answer["first_frame"], answer["last_frame"]))
    give(f"nothing is wrong: {answer['model']} at {answer['resolution']}, frames of {sizes}")


def _all(error: Refused, *, as_json: bool) -> CommandFailed:
    """The first mistake, and the others on lines of their own, or beside it."""
    mistakes: list[dict[str, Any]] = error.answer["mistakes"]
    others = [f"{other.get('code')}: {other.get('message')}" for other in mistakes[1:]]
    return CommandFailed(
        error.code,
        error.message if as_json else "\n".join([error.message, *others]),
        exit=Exit.MODERATION if exit_of_error(error.code) is Exit.MODERATION else Exit.USAGE,
        request_id=error.request_id,
        beside={"mistakes": mistakes},
    )

"""``kf2v create``: order a video from a server and fetch it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kf2v.cli import delivery
from kf2v.cli.delivery import AsJson, Output, Patience, Quiet
from kf2v.cli.destination import destination
from kf2v.cli.frames import file_or_url, upload
from kf2v.cli.target import Server, asking, connected
from kf2v.cli.terminal import CommandFailed, give, give_json, say

#: what the vendor's own command line orders when no model is named
MODEL = "wan2.2-kf2v-flash"

First = Annotated[str | None, typer.Argument(metavar="FIRST", help="First frame: a file or an http(s) URL.")]
Last = Annotated[str | None, typer.Argument(metavar="LAST", help="Last frame: a file or an http(s) URL.")]
Prompt = Annotated[str | None, typer.Option("--prompt", "-p", help="What happens between the frames.")]
NegativePrompt = Annotated[str | None, typer.Option("--negative-prompt", "-n", help="What should not be seen.")]
Model = Annotated[str, typer.Option("--model", "-m", help="See: kf2v models.")]
Resolution = Annotated[str | None, typer.Option("--resolution", "-r", help="480P, 720P or 1080P.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, max=2_147_483_647, help="Same seed, same video.")]
Watermark = Annotated[bool | None, typer.Option("--watermark/--no-watermark", help="Mark it as AI-generated.")]
PromptExtend = Annotated[
    bool | None, typer.Option("--prompt-extend/--no-prompt-extend", help="Let the server rewrite the prompt.")
]
Asynchronous = Annotated[bool, typer.Option("--async", help="Print what is ordered, as task ids, and do not wait.")]


@asking
def create(
    server: Server,
    first: First = None,
    last: Last = None,
    first_frame_url: Annotated[str | None, typer.Option(help="Instead of FIRST.", metavar="URL")] = None,
    last_frame_url: Annotated[str | None, typer.Option(help="Instead of LAST.", metavar="URL")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="End with FIRST: a video without an end.")] = False,
    prompt: Prompt = None,
    negative_prompt: NegativePrompt = None,
    model: Model = MODEL,
    resolution: Resolution = None,
    seed: Seed = None,
    watermark: Watermark = None,
    prompt_extend: PromptExtend = None,
    output: Output = None,
    asynchronous: Asynchronous = False,
    timeout: Patience = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Order a video from a server, wait for it and download it.

    Prints the path of the video; with --async the id of the task. Local files are uploaded first. The server is
    the one of this machine unless --base-url or DASHSCOPE_HTTP_BASE_URL names another.
    """
    from kf2v.net.dashscope import Request

    if loop and (last or last_frame_url):
        raise CommandFailed("Usage", "a loop ends with its first frame, so there is no LAST")
    first_frame = _frame("FIRST", first, first_frame_url)
    last_frame = first_frame if loop else _frame("LAST", last, last_frame_url)
    if not asynchronous:
        destination(output, "task.mp4")
    target = server.target()
    with connected(target) as client:
        first_url = upload(client, first_frame, "first_frame", model)
        last_url = first_url if loop else upload(client, last_frame, "last_frame", model)
        standing = client.create(
            Request(
                model=model,
                first_frame_url=first_url,
                last_frame_url=last_url,
                prompt=prompt,
                negative_prompt=negative_prompt,
                resolution=resolution,
                seed=seed,
                prompt_extend=prompt_extend,
                watermark=watermark,
            )
        )
        if asynchronous:
            give_json(standing.answer) if as_json else give(standing.task_id)
            return
        if not quiet:
            say(f"task {standing.task_id}")
        done = delivery.wait(client, standing.task_id, pace=target.pace, timeout=timeout, quiet=quiet)
        delivery.deliver(client, done, output, quiet=quiet, as_json=as_json)


def _frame(name: str, positional: str | None, option: str | None) -> Path | str:
    """A file to upload, or a URL to pass on. Raises CommandFailed if there is neither or both."""
    given = positional or option
    if not given or (positional and option):
        raise CommandFailed("Usage", f"name the frame {name} once, as a file or a URL")
    return file_or_url(given)

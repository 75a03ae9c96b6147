"""``kf2v run``: one video on this machine, with no server at all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kf2v.cli.config import read_settings
from kf2v.cli.create import MODEL, Model, NegativePrompt, Prompt, PromptExtend, Resolution, Seed, Watermark
from kf2v.cli.delivery import AsJson, Quiet
from kf2v.cli.destination import destination
from kf2v.cli.exits import Exit, exit_of_task
from kf2v.cli.frames import picture
from kf2v.cli.serve import Engine, check_engine
from kf2v.cli.terminal import CommandFailed, give_json, give_path, progress, say

if TYPE_CHECKING:
    from kf2v.tasks import Job, Outcome


def run(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="First frame: a file or an http(s) URL.")],
    last: Annotated[str, typer.Argument(metavar="LAST", help="Last frame: a file or an http(s) URL.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The video file, or a directory for it.")] = Path(
        "out.mp4"
    ),
    prompt: Prompt = None,
    negative_prompt: NegativePrompt = None,
    model: Model = MODEL,
    resolution: Resolution = None,
    seed: Seed = None,
    watermark: Watermark = None,
    prompt_extend: PromptExtend = None,
    engine: Engine = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make one video right here, with no server.

    Prints the path of the video.
    A file that is there already is replaced once the new one is whole.
    """
    path = destination(output, "out.mp4")
    settings = read_settings(engine=engine)
    check_engine(settings)
    from kf2v import logs
    from kf2v.errors import ApiError, InvalidParameter
    from kf2v.solo import make_video
    from kf2v.wire import Submission
    from kf2v.wire.v1.text import NEGATIVE_PROMPT_LIMIT, PROMPT_LIMIT, cut

    logs.configure("error" if quiet else "info")  # unless told otherwise, log lines go to stdout
    submission = Submission(
        model=model,
        first_frame=first,
        last_frame=last,
        prompt=cut(prompt or "", PROMPT_LIMIT),
        negative_prompt=cut(negative_prompt or "", NEGATIVE_PROMPT_LIMIT),
        resolution=resolution,
        seed=seed,
        prompt_extend=prompt_extend is not False,
        watermark=watermark is True,
    )
    started = time.monotonic()
    try:
        with progress(quiet=quiet) as tell:
            job, outcome = make_video(
                settings,
                submission,
                first=picture(first, settings),
                last=picture(last, settings),
                out=path,
                on_progress=tell,
            )
    except ApiError as error:
        refused = isinstance(error, InvalidParameter)
        exit = None if refused else exit_of_task("FAILED", error.code)
        raise CommandFailed(error.code, error.message, exit=exit) from error
    except OSError as error:
        raise CommandFailed("OutputError", f"{path} cannot be written: {error.strerror or error}") from error
    except KeyboardInterrupt:
        raise CommandFailed("Interrupted", "nothing was kept", exit=Exit.INTERRUPTED) from None
    _present(job, outcome, path, seconds=time.monotonic() - started, quiet=quiet, as_json=as_json)


def _present(job: Job, outcome: Outcome, path: Path, *, seconds: float, quiet: bool, as_json: bool) -> None:
    if outcome.failure is not None or outcome.video is None or outcome.usage is None:
        code = outcome.failure.code if outcome.failure else "InternalError"
        message = outcome.failure.message if outcome.failure else "the recipe gave neither a video nor a reason"
        raise CommandFailed(code, message, exit=exit_of_task("FAILED", code))
    if as_json:
        from kf2v.wire.v1.tasks import usage

        told = {"task_status": "SUCCEEDED", "video_path": str(path), "orig_prompt": job.prompt, "seed": job.seed}
        if outcome.actual_prompt is not None:
            told["actual_prompt"] = outcome.actual_prompt
        give_json({"output": told, "usage": usage(outcome.usage)})
        return
    if not quiet:
        video = outcome.video
        say(f"{path}: {video.width}x{video.height}, 5 s, {video.size / 1e6:.1f} MB, seed {job.seed}, {seconds:.1f} s")
    give_path(path)

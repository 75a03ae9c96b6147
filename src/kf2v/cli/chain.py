"""``kf2v chain``: a film of several videos, each beginning with the frame that the one before ends with."""

from __future__ import annotations

import shlex
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kf2v.cli import delivery
from kf2v.cli.create import (
    MODEL,
    Asynchronous,
    Model,
    NegativePrompt,
    PromptExtend,
    Resolution,
    Seed,
    Watermark,
)
from kf2v.cli.delivery import AsJson, Patience, Quiet
from kf2v.cli.destination import destination
from kf2v.cli.exits import Exit, exit_of_error
from kf2v.cli.frames import file_or_url, upload
from kf2v.cli.target import Server, asking, connected
from kf2v.cli.terminal import CommandFailed, give, give_json, give_path, say

if TYPE_CHECKING:
    from kf2v.net.dashscope import DashScope
    from kf2v.net.remote_error import RemoteError

#: seconds before a chain goes on that was refused in the middle, where the server does not say
PAUSE = 15.0
#: seconds that are worth waiting for that
WORTH_WAITING = 600.0

Frames = Annotated[
    list[str], typer.Argument(metavar="FRAME…", help="Three frames or more: files, http(s) or oss:// URLs.")
]
Prompts = Annotated[
    list[str] | None,
    typer.Option("--prompt", "-p", help="What happens between the frames: once for all, or once for each part."),
]
Directory = Annotated[
    Path, typer.Option("--output", "-o", help="The directory for the parts.", exists=True, file_okay=False)
]
Once = Annotated[
    str | None,
    typer.Option("--idempotency-key", help="Go on with the chain ordered under this key [default: a new one]."),
]


@asking
def chain(
    server: Server,
    frames: Frames,
    prompts: Prompts = None,
    negative_prompt: NegativePrompt = None,
    loop: Annotated[bool, typer.Option("--loop", help="One part more, back to the first frame.")] = False,
    model: Model = MODEL,
    resolution: Resolution = None,
    seed: Seed = None,
    watermark: Watermark = None,
    prompt_extend: PromptExtend = None,
    output: Directory = Path(),
    asynchronous: Asynchronous = False,
    timeout: Patience = None,
    idempotency_key: Once = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Order a film of several videos, one from each frame to the next.

    Of a kf2v server only. Waits for the parts, downloads them and prints their paths, in the order of the film; with
    --async the ids of their tasks. Where a limit is met in the middle, it goes on as soon as there is room.
    """
    given = [file_or_url(frame) for frame in (*frames, *frames[:loop])]
    parts = _parts(given, prompts or [])
    destination(output, "part.mp4")
    target = server.target()
    with connected(target) as client:
        urls = _uploaded(client, given, model)
        parameters = {
            "resolution": resolution,
            "seed": seed,
            "prompt_extend": prompt_extend,
            "watermark": watermark,
        }
        members = {"frames": urls, "negative_prompt": negative_prompt, **_said(prompts or [])}
        body = {"model": model, "input": _present(members), "parameters": _present(parameters)}
        key = idempotency_key or str(uuid.uuid4())
        deadline = None if timeout is None else time.monotonic() + timeout
        answer = order(client, body, key=key, parts=parts, deadline=deadline)
        task_ids = [str(task["task_id"]) for task in answer["tasks"]]
        if asynchronous:
            give_json(answer) if as_json else give("\n".join(task_ids))
            return
        _deliver(client, task_ids, output, pace=target.pace, deadline=deadline, as_json=as_json, quiet=quiet)


def order(
    client: DashScope,
    body: Mapping[str, Any],
    *,
    key: str,
    parts: int,
    deadline: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The answer that names all parts. What is refused in the middle for the moment is asked for again under the same
    ``key``, so that no part is ordered twice.

    Raises RemoteError if nothing is ordered, and CommandFailed if a part of it is, or may be, saying how to go on.
    """
    from kf2v.net.remote_error import RemoteError

    frames: list[str] = body["input"]["frames"]
    again = shlex.join(["kf2v", "chain", "--idempotency-key", key, *frames])
    fix = f"to order the rest within 24 hours, with the same options but --loop: {again}"
    made: list[str] = []
    try:
        while True:
            try:
                return client.own_object("POST", "chains", json=body, headers={"Idempotency-Key": key})
            except RemoteError as error:
                made = [str(task["task_id"]) for task in error.answer.get("tasks") or ()]
                if not made and not error.doubtful:
                    raise
                pause = _pause(error)
                if not made or pause is None or (deadline is not None and time.monotonic() + pause > deadline):
                    exit = exit_of_error(error.code, error.status)
                    raise CommandFailed(
                        error.code,
                        f"{error.message} {_ordered(made, parts)}",
                        exit=exit,
                        fix=_reworded(frames[len(made) :]) if exit is Exit.MODERATION else fix,
                        request_id=error.request_id,
                        beside={"tasks": made, "idempotency_key": key},
                    ) from error
                say(f"part {len(made) + 1} of {parts} is refused for now, {error.code}; again in {pause:g} s")
                sleep(pause)
    except KeyboardInterrupt:
        beside = {"tasks": made, "idempotency_key": key}
        raise CommandFailed(
            "Interrupted", _ordered(made, parts), exit=Exit.INTERRUPTED, fix=fix, beside=beside
        ) from None


def _ordered(made: Sequence[str], parts: int) -> str:
    if made:
        return f"{len(made)} of {parts} parts are ordered and continue: {' '.join(made)}"
    return "some parts may be ordered: kf2v tasks list"


def _reworded(frames: Sequence[str]) -> str:
    """How to order what moderation does not let pass: under the same key it would be the same prompt again."""
    from kf2v.wire.ext.chains import LEAST

    order = "create" if len(frames) < LEAST else "chain"
    return f"to order the rest, with another prompt: {shlex.join(['kf2v', order, *frames])}"


def _pause(error: RemoteError) -> float | None:
    """Seconds after which the rest may be taken; None if it is not worth waiting for."""
    from kf2v.net.remote_error import is_passing

    if error.status is None or not is_passing(error):
        return None
    pause = PAUSE if error.retry_after is None else error.retry_after
    return pause if pause <= WORTH_WAITING else None


def _parts(frames: Sequence[object], prompts: Sequence[str]) -> int:
    """How many videos it will be. Raises CommandFailed if it cannot be that many."""
    from kf2v.wire.ext.chains import LEAST, MOST

    if not LEAST <= len(frames) <= MOST:
        raise CommandFailed("Usage", f"a chain has {LEAST} to {MOST} frames, but got {len(frames)}")
    if len(prompts) not in (0, 1, len(frames) - 1):
        raise CommandFailed("Usage", f"--prompt should come once, or {len(frames) - 1} times, but came {len(prompts)}")
    return len(frames) - 1


def _said(prompts: Sequence[str]) -> dict[str, object]:
    return {"prompts": list(prompts)} if len(prompts) > 1 else {"prompt": prompts[0]} if prompts else {}


def _uploaded(client: DashScope, frames: Sequence[Path | str], model: str) -> list[str]:
    """Each file once, however often it is a frame."""
    urls = {frame: upload(client, frame, f"frame{number}", model) for number, frame in enumerate(dict.fromkeys(frames))}
    return [urls[frame] for frame in frames]


def _deliver(
    client: DashScope,
    task_ids: Sequence[str],
    directory: Path,
    *,
    pace: tuple[float, ...],
    deadline: float | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Wait for all parts and download those that succeed. Raises CommandFailed for the first that does not."""
    failures: list[CommandFailed] = []
    answers: list[object] = []
    try:
        for number, task_id in enumerate(task_ids, start=1):
            if not quiet:
                say(f"part {number} of {len(task_ids)}, task {task_id}")
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            path = destination(directory, f"{number:02}-{task_id}.mp4")
            try:
                standing = delivery.wait(client, task_id, pace=pace, timeout=left, quiet=quiet)
                delivery.bring(client, standing, path, quiet=quiet)
            except CommandFailed as failure:
                if "task_status" not in failure.beside:  # it has not ended so: nothing more can be heard or fetched
                    raise _left(failure, task_ids[number - 1 :]) from failure
                say(f"part {number} of {len(task_ids)}: {failure.code}: {failure.message}")
                failures.append(failure)
                continue
            answers.append(delivery.with_path(standing.answer, path))
            if not as_json:
                give_path(path)
        if failures:
            raise failures[0]
    finally:
        if as_json and answers:  # what is here is told, whatever became of the rest
            give_json({"tasks": answers})


def _left(failure: CommandFailed, task_ids: Sequence[str]) -> CommandFailed:
    """As ``failure``, but of all parts that are not here yet."""
    why = "" if failure.exit in (Exit.INTERRUPTED, Exit.TIMEOUT) else f"{failure.message.rstrip('.')}; "
    return CommandFailed(
        failure.code,
        f"{why}tasks {' '.join(task_ids)} continue",
        exit=failure.exit,
        fix="kf2v tasks wait TASK_ID, or: kf2v tasks cancel TASK_ID",
        request_id=failure.request_id,
        beside={"tasks": list(task_ids)},
    )


def _present(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}

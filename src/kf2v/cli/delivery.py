"""Waiting for a task and bringing its video home."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kf2v.cli.destination import destination, whole_file
from kf2v.cli.exits import Exit, exit_of_task
from kf2v.cli.terminal import CommandFailed, give_json, give_path, progress, say, told

if TYPE_CHECKING:
    from kf2v.net.dashscope import DashScope, Standing

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="The video file, or a directory for it [default: <task id>.mp4]."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, with the API's field names.")]
Patience = Annotated[float | None, typer.Option("--timeout", min=0, help="Seconds to wait; the task goes on after.")]


def wait(client: DashScope, task_id: str, *, pace: tuple[float, ...], timeout: float | None, quiet: bool) -> Standing:
    """The task once it SUCCEEDED. Raises CommandFailed if it ends otherwise, or not in ``timeout`` seconds.

    Ctrl-C, and a server that is gone, leave the task alone; how to come back to it is said.
    """
    from kf2v.net.remote_error import RemoteError

    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        with progress(quiet=quiet) as tell:
            for standing in client.follow(task_id, pace=pace, sleep=lambda pause: _sleep(pause, deadline)):
                tell(standing.status, None)
                if standing.ended:
                    return succeeded(standing)
                if deadline is not None and time.monotonic() >= deadline:
                    break
    except KeyboardInterrupt:
        raise CommandFailed(
            "Interrupted",
            f"task {task_id} continues",
            exit=Exit.INTERRUPTED,
            fix=f"kf2v tasks wait {task_id}, or: kf2v tasks cancel {task_id}",
            beside={"task_id": task_id},
        ) from None
    except RemoteError as error:
        raise told(error, then=f"kf2v tasks wait {task_id}", beside={"task_id": task_id}) from error
    raise CommandFailed(
        "Timeout",
        f"task {task_id} has not ended after {timeout:g} seconds and continues",
        fix=f"kf2v tasks wait {task_id}",
        beside={"task_id": task_id},
    )


def succeeded(standing: Standing) -> Standing:
    """``standing`` if there is a video. Raises CommandFailed saying what there is instead."""
    if standing.status == "SUCCEEDED":
        return standing
    reason = {
        "FAILED": standing.message or "the task failed without a reason",
        "CANCELED": f"task {standing.task_id} was canceled",
        "UNKNOWN": f"task {standing.task_id} is unknown here, expired or another account's",
    }.get(standing.status, f"task {standing.task_id} is {standing.status}, there is no video yet")
    raise CommandFailed(
        standing.code or {"CANCELED": "TaskCanceled", "UNKNOWN": "TaskUnknown"}.get(standing.status, "TaskNotEnded"),
        reason,
        exit=exit_of_task(standing.status, standing.code) or Exit.GENERAL,
        request_id=standing.request_id,
        beside={"task_id": standing.task_id, "task_status": standing.status},
    )


def deliver(client: DashScope, standing: Standing, output: Path | None, *, quiet: bool, as_json: bool) -> None:
    """Download the video of a task that SUCCEEDED and print where it is."""
    path = destination(output, f"{standing.task_id}.mp4")
    bring(client, standing, path, quiet=quiet)
    give_json(with_path(standing.answer, path)) if as_json else give_path(path)


def bring(client: DashScope, standing: Standing, path: Path, *, quiet: bool) -> None:
    """Download the video of a task that SUCCEEDED. Raises CommandFailed, saying how to try again."""
    from kf2v.net.remote_error import RemoteError

    started, again = time.monotonic(), f"kf2v tasks download {standing.task_id}"
    try:
        with progress(quiet=quiet) as tell, whole_file(path) as part, part.open("xb") as file:
            size = client.download(
                standing.video_url, file, lambda done, total: tell("downloading", done / total if total else None)
            )
    except KeyboardInterrupt:
        beside = {"task_id": standing.task_id}
        message = f"the video of task {standing.task_id} is not here yet"
        raise CommandFailed("Interrupted", message, exit=Exit.INTERRUPTED, fix=again, beside=beside) from None
    except RemoteError as error:
        raise told(error, then=again, beside={"task_id": standing.task_id}) from error
    if not quiet:
        say(f"{path}: {size / 1e6:.1f} MB in {time.monotonic() - started:.1f} s")


def with_path(answer: Any, path: Path) -> dict[str, Any]:
    """The answer as it came, and ``output.video_path`` beside ``output.video_url``."""
    copy: dict[str, Any] = json.loads(json.dumps(answer))
    copy["output"]["video_path"] = str(path)
    return copy


def _sleep(pause: float, deadline: float | None) -> None:
    time.sleep(pause if deadline is None else max(0.0, min(pause, deadline - time.monotonic())))

"""``kf2v tasks``: look at what was ordered, wait for it, fetch it, call it off."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kf2v.cli import delivery, following
from kf2v.cli.delivery import AsJson, Output, Patience, Quiet
from kf2v.cli.destination import destination, whole_file
from kf2v.cli.help import help_alone
from kf2v.cli.target import Server, asking, connected, segment
from kf2v.cli.terminal import Yes, confirm, give, give_json, give_path, give_table, say

if TYPE_CHECKING:
    from kf2v.net.dashscope import DashScope

app = typer.Typer(
    help="List, inspect, follow, await, download, cancel, keep and delete tasks.",
    callback=help_alone,
    invoke_without_command=True,
)

TaskId = Annotated[str, typer.Argument(metavar="TASK_ID")]


@app.command("list")
@asking
def list_tasks(
    server: Server,
    status: Annotated[str | None, typer.Option(help="PENDING, RUNNING, SUCCEEDED, FAILED or CANCELED.")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Tasks of this model only.")] = None,
    start_time: Annotated[str | None, typer.Option(help="Submitted since, YYYYMMDDhhmmss in UTC+8.")] = None,
    end_time: Annotated[str | None, typer.Option(help="Submitted until, YYYYMMDDhhmmss in UTC+8.")] = None,
    page: Annotated[int, typer.Option("--page", min=1)] = 1,
    page_size: Annotated[int, typer.Option("--page-size", min=1)] = 10,
    as_json: AsJson = False,
) -> None:
    """List tasks, newest first; those of the last 24 hours unless times are given."""
    with server.connected() as client:
        answer = client.list(
            page_no=page,
            page_size=page_size,
            status=status,
            model_name=model,
            start_time=start_time,
            end_time=end_time,
        )
    if as_json:
        give_json(answer)
        return
    rows: list[dict[str, Any]] = answer.get("data") or []
    heads = ("task_id", "status", "model", "submitted", "seconds")
    give_table(heads, ([*_row(row)] for row in rows))
    if answer.get("total", 0) > len(rows):
        say(f"page {page} of {answer.get('total_page')}; {answer['total']} tasks in all")


@app.command()
@asking
def get(
    server: Server,
    task_id: TaskId,
    as_json: AsJson = False,
) -> None:
    """Print where a task stands. Exits with 9 if nobody knows it."""
    with server.connected() as client:
        standing = client.get(task_id)
    if standing.status == "UNKNOWN":
        delivery.succeeded(standing)
    if as_json:
        give_json(standing.answer)
        return
    output: dict[str, Any] = standing.answer["output"]
    usage: dict[str, Any] = standing.answer.get("usage") or {}
    _give_members({**output, **usage})


@app.command()
@asking
def wait(
    server: Server,
    task_id: TaskId,
    output: Output = None,
    timeout: Patience = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Wait for a task, download its video and print the path."""
    destination(output, f"{task_id}.mp4")
    target = server.target()
    with connected(target) as client:
        standing = delivery.wait(client, task_id, pace=target.pace, timeout=timeout, quiet=quiet)
        delivery.deliver(client, standing, output, quiet=quiet, as_json=as_json)


@app.command()
@asking
def download(
    server: Server,
    task_id: TaskId,
    output: Output = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Download the video of a finished task and print the path."""
    with server.connected() as client:
        standing = delivery.succeeded(client.get(task_id))
        delivery.deliver(client, standing, output, quiet=quiet, as_json=as_json)


@app.command()
@asking
def frame(
    server: Server,
    task_id: TaskId,
    number: Annotated[str, typer.Argument(metavar="FRAME", help="0 to 149, first or last.")] = "last",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The PNG file, or a directory for it [default: <task id>-FRAME.png]."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download one frame of a finished video, without loss, and print the path. Of a kf2v server only."""
    path = destination(output, f"{task_id}-{number}.png")
    with _about(task_id, server) as client, whole_file(path) as part:
        part.write_bytes(client.own("GET", f"{_own(task_id)}/frames/{segment(number)}.png"))
    give_json({"task_id": task_id, "frame_path": str(path)}) if as_json else give_path(path)


@app.command()
@asking
def cancel(
    server: Server,
    task_id: TaskId,
    running: Annotated[bool, typer.Option("--running", help="Even if it runs; of a kf2v server only.")] = False,
    as_json: AsJson = False,
) -> None:
    """Call off a task that is still PENDING, with --running any that has not ended, and print its id."""
    with _about(task_id, server) as client:
        if running:
            request_id = client.own_object("POST", f"{_own(task_id)}/cancel").get("request_id", "")
        else:
            request_id = client.cancel(task_id)
    give_json({"task_id": task_id, "request_id": request_id}) if as_json else give(task_id)


@app.command()
@asking
def show(
    server: Server,
    task_id: TaskId,
    as_json: AsJson = False,
) -> None:
    """Print all that a kf2v server knows of a task: how far it is, who is at it, what happened to it."""
    with _about(task_id, server) as client:
        answer = client.own_object("GET", _own(task_id))
    if as_json:
        give_json(answer)
        return
    task: dict[str, Any] = answer.get("task") or {}
    log: list[dict[str, Any]] = task.pop("log", None) or []
    _give_members(task)
    for line in log:
        give(f"{line.get('time')}  {line.get('text')}")


@app.command()
@asking
def watch(
    server: Server,
    task_id: Annotated[str | None, typer.Argument(metavar="TASK_ID")] = None,
    as_json: AsJson = False,
) -> None:
    """Print what happens to all tasks of the account, or to one until it has ended, line by line. Ctrl-C ends it."""
    with _about(task_id, server) as client:
        for kind, told in following.follow(client, task_id):
            if as_json:
                give_json({"event": kind, **told})
            else:
                give(_line(kind, told))


@app.command()
@asking
def keep(
    server: Server,
    task_id: TaskId,
    no_longer: Annotated[bool, typer.Option("--no-longer", help="Let it go when its time is up, after all.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keep a task and its video beyond the usual time, and print its id. Of a kf2v server only."""
    with _about(task_id, server) as client:
        answer = client.own_object("POST", f"{_own(task_id)}/keep", json={"kept": not no_longer})
    give_json(answer) if as_json else give(task_id)


@app.command()
@asking
def delete(
    server: Server,
    task_id: TaskId,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Forget a task that has ended, and all its files, now; print its id. Asks first on a terminal. Of a kf2v server
    only."""
    confirm(f"Delete task {task_id} and its video?", f"task {task_id} is still there", yes=yes)
    with _about(task_id, server) as client:
        answer = client.own_object("DELETE", _own(task_id))
    give_json(answer) if as_json else give(task_id)


def _give_members(told: Mapping[str, Any]) -> None:
    """One a line; what is no text as JSON has it."""
    for name, value in told.items():
        give(f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


@contextmanager
def _about(task_id: str | None, server: Server) -> Generator[DashScope]:
    """A client of ``server``. A task that is not there ends a command as it does where the vendor's API is asked.

    Not everything that is not found is the task: it may be a frame of it, or kf2v's own surface itself.
    """
    from kf2v.net.remote_error import Refused

    with server.connected() as client:
        try:
            yield client
        except Refused as error:
            if task_id is not None and error.code == "NotFound":
                standing = client.get(task_id)
                if standing.status == "UNKNOWN":
                    delivery.succeeded(standing)
            raise


def _own(task_id: str) -> str:
    """Its path on kf2v's own surface, whatever was typed."""
    return f"tasks/{segment(task_id)}"


def _line(kind: str, told: Mapping[str, Any]) -> str:
    if kind == "resync":
        return "something was missed"
    words = [told.get("task_id"), told.get("task_status") or kind]
    if told.get("task_status") == "RUNNING":
        words += [told.get("phase"), f"{told.get('percent', 0)} %"]
    elif "position" in told:
        words += [f"{told['position']} before it"]
    return "  ".join(str(word) for word in words if word is not None)


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    submitted, started, ended = row.get("gmt_create"), row.get("start_time"), row.get("end_time")
    return (
        str(row.get("task_id", "")),
        str(row.get("status", "")),
        str(row.get("model_name", "")),
        "" if submitted is None else f"{datetime.fromtimestamp(submitted / 1000, UTC).astimezone():%Y-%m-%d %H:%M:%S}",
        "" if started is None or ended is None else f"{(ended - started) / 1000:.1f}",
    )

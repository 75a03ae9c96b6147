"""``kf2v estimate``: how large, how dear and how long, before a video is ordered."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kf2v.cli.create import MODEL, Model, Resolution, Seed
from kf2v.cli.delivery import AsJson
from kf2v.cli.frames import inline
from kf2v.cli.target import Server, asking
from kf2v.cli.terminal import CommandFailed, give, give_json
from kf2v.cli.usage import cost


@asking
def estimate(
    server: Server,
    first: Annotated[str | None, typer.Argument(metavar="FIRST", help="First frame: a file or a URL.")] = None,
    width: Annotated[int | None, typer.Option(help="Of the first frame, instead of FIRST.")] = None,
    height: Annotated[int | None, typer.Option(help="Likewise.")] = None,
    model: Model = MODEL,
    resolution: Resolution = None,
    seed: Seed = None,
    as_json: AsJson = False,
) -> None:
    """Ask a server how large a video will be, what it will cost and how long it will take. Orders nothing."""
    if (first is None) == (width is None) or (width is None) != (height is None):
        raise CommandFailed("Usage", "name the first frame, or its --width and --height")
    frame = {"width": width, "height": height} if first is None else {"first_frame_url": inline(first)}
    parameters = {name: value for name, value in (("resolution", resolution), ("seed", seed)) if value is not None}
    with server.connected() as client:
        body = {"model": model, "input": frame, "parameters": parameters}
        answer = client.own_object("POST", "estimate", json=body)
    if as_json:
        give_json(answer)
        return
    price: dict[str, Any] = answer.get("price") or {}
    source = f" ({price['source']}, {price['date']})" if price else ""
    size = f"{answer['width']}x{answer['height']}"
    give(f"video  {size}, {answer['seconds']} s, {answer['model']} at {answer['resolution']}")
    give(f"price  CNY {cost(answer, 'cny')}, USD {cost(answer, 'usd')}{source}")
    give(f"wait   {_seconds(answer, 'wait_seconds')}")
    give(f"run    {_seconds(answer, 'run_seconds')}")


def _seconds(answer: dict[str, Any], name: str) -> str:
    return f"about {answer[name]:g} s" if name in answer else "nobody knows yet"

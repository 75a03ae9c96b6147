"""``kf2v engines`` and ``kf2v ps``: who makes what on a server, and who is at what."""

from __future__ import annotations

from typing import Any

from kf2v.cli.delivery import AsJson
from kf2v.cli.target import Server, asking
from kf2v.cli.terminal import give_json, give_table, say


@asking
def engines(server: Server, as_json: AsJson = False) -> None:
    """List a server's engines and what they can make.

    Of a kf2v server only. Keys with the scope admin are told why an engine cannot.
    """
    with server.connected() as client:
        answer = client.own_object("GET", "engines")
    if as_json:
        give_json(answer)
        return
    rows: list[tuple[str, ...]] = []
    for engine in answer["engines"]:
        models: list[dict[str, Any]] = engine["models"]
        able = [model["model"] for model in models if model["ready"]]
        lacking = [engine, *(model for model in models if not model["ready"])]
        reasons = dict.fromkeys(part["reason"] for part in lacking if "reason" in part)
        rows.append((engine["engine"], _state(engine), ", ".join(able) or "–", " ".join(reasons)))
    give_table(("engine", "state", "models", ""), rows)


@asking
def ps(server: Server, as_json: AsJson = False) -> None:
    """List a server's workers and what they are at.

    Of a kf2v server only. How it is and what waits goes to stderr. Needs a key with the scope admin, such as the
    owner's.
    """
    with server.connected() as client:
        workers = client.own_object("GET", "workers")["workers"]
        system = client.own_object("GET", "system")
    if as_json:
        give_json({**system, "workers": workers})
        return
    give_table(("worker", "state", "task_id", "model", "engine", "phase", "done"), map(_work, workers))
    for queue in system["queues"]:
        place = f"{queue['account']}, {queue['model']} by {queue['engine']}"
        say(f"{place}: {queue['waiting']} waiting, {queue['running']} running")
    for name, ailment in system["ailments"].items():
        say(f"{name}: {ailment}")
    hours, free = system["uptime_seconds"] / 3600, system["disk"]["free_bytes"] / 1e9
    leaving = ", takes nothing new" if system["draining"] else ""
    say(f"kf2v {system['version']}, up {hours:.1f} h, {free:.1f} GB free{leaving}")


def _state(engine: dict[str, Any]) -> str:
    if not engine["ready"]:
        return "cannot"
    if engine["breaker"] != "closed":
        return "out of order" if engine["breaker"] == "open" else "on trial"
    return "stands in" if engine["fallback"] else "ready"


def _work(worker: dict[str, Any]) -> tuple[str, ...]:
    task: dict[str, Any] = worker.get("task") or {}
    told = (str(task.get(name, "")) for name in ("task_id", "model", "engine", "phase"))
    return (worker["worker"], worker["state"], *told, f"{task['percent']} %" if task else "")

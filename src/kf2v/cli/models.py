"""``kf2v models``: what can be asked for, and the weights that the wan engine makes it from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kf2v.cli.config import read_settings
from kf2v.cli.delivery import AsJson
from kf2v.cli.exits import Exit
from kf2v.cli.terminal import CommandFailed, give, give_json, give_path, give_table, progress, say

if TYPE_CHECKING:
    from kf2v.engines.wan.pull import Plan, PullFailed
    from kf2v.engines.wan.weights import Download, Row, Weights

app = typer.Typer(help="Models that can be asked for, and their weights.", invoke_without_command=True)

#: which of the API's exits a failed download is
KINDS = {"network": "NetworkError", "offline": "NetworkError", "refused": "AccessDenied"}

INSTALL = "pip install 'kf2v[wan]'"

Name = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model: what settings have it run on; MODEL:VARIANT of kf2v models list; owner/name[:file] on the hub.",
    ),
]


@app.callback()
def models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the models that this machine's settings serve."""
    if context.invoked_subcommand is not None:
        return
    from kf2v.catalog.models import MODELS
    from kf2v.catalog.regions import REGIONS

    region = REGIONS[read_settings().region]
    rows = [MODELS[name] for name in region.models]
    if as_json:
        give_json(
            {
                "region": region.id,
                "models": [
                    {
                        "model": model.name,
                        "resolutions": model.resolutions,
                        "default_resolution": model.default_resolution,
                        "counted_by": model.counted_by,
                        "aliases": model.aliases,
                    }
                    for model in rows
                ],
            }
        )
        return
    give_table(
        ("model", "resolutions", "default", "counted by", "also called"),
        ((m.name, ", ".join(m.resolutions), m.default_resolution, m.counted_by, ", ".join(m.aliases)) for m in rows),
    )


@app.command("list")
def list_weights(as_json: AsJson = False) -> None:
    """List the weights a model can run on: size, what is here, GPU memory, licence, who trained them for it.

    The first variant of a model is what it runs on unless settings say otherwise. Sizes and memory are computed.
    """
    from kf2v.engines.wan.weights import ROWS

    if as_json:
        give_json({"weights": [_fields(row) for row in ROWS]})
        return
    give_table(
        ("model:variant", "GB", "here", "GPU memory in GB", "licence", "trained"),
        (
            (
                row.name,
                f"{row.gigabytes:.0f}",
                _standing(row),
                ", ".join(f"{profile} {needed:.0f}" for profile, needed in row.vram.items()),
                ", ".join(sorted({download.licence for download in row.downloads})),
                row.origin,
            )
            for row in ROWS
        ),
    )


@app.command()
def pull(name: Name, as_json: AsJson = False) -> None:
    """Fetch the weights of a model from the hub, into huggingface_hub's cache; run again, it goes on where it stopped.

    HF_HOME says where to, HF_TOKEN who asks, HF_ENDPOINT whom, HF_HUB_OFFLINE not to.
    """
    from kf2v.engines.wan import pull as pulling

    title, origin, downloads = _downloads(name)
    if not downloads:
        if as_json:
            give_json({"model": title, "repositories": []})
            return
        say(f"nothing to fetch: {title} is on this machine; see: kf2v models check {name}")
        return
    try:
        plans = pulling.plan(downloads)
        if not as_json:
            _announce(title, origin, plans)
        with progress(quiet=as_json) as tell:
            folders = pulling.fetch(plans, tell)
    except pulling.PullFailed as error:
        raise _failed(error) from error
    except KeyboardInterrupt:
        fix = f"kf2v models pull {name} goes on where it stopped"
        raise CommandFailed("Interrupted", "not everything is here", exit=Exit.INTERRUPTED, fix=fix) from None
    if as_json:
        give_json({"model": title, "repositories": [_plan_fields(p, f) for p, f in zip(plans, folders, strict=True)]})
        return
    for folder in folders:
        give_path(folder)
    if "/" not in title:
        say(f"next: kf2v models check {title}")


@app.command()
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL|DIRECTORY]…", help="What to check; without any, what this machine's settings use."
        ),
    ] = None,
    expert: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Transformers of a DIRECTORY as files, high-noise first.")
    ] = None,
    lora: Annotated[list[str] | None, typer.Option(metavar="FILE", help="LoRAs on a DIRECTORY's transformers.")] = None,
    quick: Annotated[bool, typer.Option(help="Leave out the values: seconds instead of minutes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check weights: files, sizes, names, shapes and, with torch installed, every value. Exits with 1 if any fail."""
    from importlib.util import find_spec

    values = not quick and all(find_spec(package) for package in ("torch", "safetensors", "transformers", "diffusers"))
    wanted = _wanted(names or [], expert or [], lora or [])
    results = [(name, _fault(weights, values=values)) for name, weights in wanted]
    failed = any(fault for _, fault in results)
    if as_json:
        checks = [{"weights": name, "ok": not fault, **({"fault": fault} if fault else {})} for name, fault in results]
        give_json({"ok": not failed, "values": values, "checks": checks})
    else:
        for name, fault in results:
            give(f"{'fail' if fault else 'ok':<4}  {name}" + (f"\n      {fault}" if fault else ""))
        if not values:
            reason = "as asked" if quick else f"for that, install torch and the rest: {INSTALL}"
            say(f"files, sizes, names and shapes were checked; values were not, {reason}")
    if failed:
        raise typer.Exit(Exit.GENERAL)


def _chosen(name: str) -> tuple[str, Weights] | None:
    """A model's weights by the settings, or a variant's, and what they are called; None for any other name."""
    from kf2v.assembly.engines import wan_weights
    from kf2v.engines.wan.weights import CATALOGUE, row_running

    if name in CATALOGUE:
        return name, CATALOGUE[name].weights
    weights = wan_weights(read_settings()).get(name)
    if weights is None:
        return None
    row = row_running(weights)
    return (name if row is None else row.name), weights


def _downloads(name: str) -> tuple[str, str, tuple[Download, ...]]:
    """What ``name`` is called, who trained it as far as that is known, and what of it comes from the hub."""
    from kf2v.engines.wan.weights import CheckpointError, download_of, downloads_of, row_of, row_running

    chosen = _chosen(name)
    try:
        if chosen is not None:
            row = row_running(chosen[1])
            return chosen[0], "as the settings have it" if row is None else row.origin, downloads_of(chosen[1])
        if "/" in name:
            download = download_of(name)
            return name, "", () if download is None else (download,)
        row_of(name)
    except KeyError as error:
        raise CommandFailed("Usage", error.args[0], fix="see: kf2v models list") from None
    except CheckpointError as error:
        raise CommandFailed("Usage", f"{error.where} {error.found}", fix=error.remedy) from None
    raise AssertionError(name)


def _wanted(names: list[str], experts: list[str], loras: list[str]) -> list[tuple[str, Weights]]:
    """What is to be checked, and what it is called."""
    from kf2v.engines.wan.weights import Lora, Weights

    if (experts or loras) and len(names) != 1:
        raise CommandFailed("Usage", "--expert and --lora go with one DIRECTORY")
    if not all(name.strip() for name in (*names, *experts, *loras)):
        raise CommandFailed("Usage", "a name is empty", fix="name a model, a variant or a directory")
    if not names:
        from kf2v.assembly.engines import wan_weights

        return list(wan_weights(read_settings()).items())
    wanted: list[tuple[str, Weights]] = []
    for name in names:
        chosen = None if experts or loras else _chosen(name)
        if chosen is None:
            added = tuple(Lora(file=file) for file in loras)
            chosen = name, Weights(model="", base=name, experts=tuple(experts), loras=added)
        wanted.append(chosen)
    return wanted


def _fault(weights: Weights, *, values: bool) -> str:
    """What is wrong; empty if nothing is."""
    from kf2v.engines.wan.checkpoint import CheckpointError, open_bundle, verify
    from kf2v.engines.wan.checkpoint.components import present
    from kf2v.engines.wan.weights import remedy

    try:
        bundle = open_bundle(weights)
        present(bundle)
        if values:
            verify(bundle)
    except CheckpointError as error:
        return str(CheckpointError(error.where, error.found, remedy(weights, error)))
    return ""


def _standing(row: Row) -> str:
    """Whether it has been fetched, as far as headers show."""
    from kf2v.engines.wan.weights import Reference, snapshot

    references = [row.weights.base, *row.weights.experts, *(lora.file for lora in row.weights.loras)]
    if not any(snapshot(Reference.parse(reference).repository) for reference in references):
        return "no"
    return "in part" if _fault(row.weights, values=False) else "yes"


def _announce(title: str, origin: str, plans: tuple[Plan, ...]) -> None:
    if origin:
        say(f"{title}: {origin}")
    for each in plans:
        licence = each.licence or "none named"
        come = f"{each.to_come / 1e9:.2f} of {each.bytes / 1e9:.2f} GB to come" if each.to_come else "all here"
        say(f"{each.repository}: {len(each.items)} files, {come}, licence {licence}")


def _failed(error: PullFailed) -> CommandFailed:
    return CommandFailed(KINDS.get(error.kind, "WeightsUnavailable"), error.message, fix=error.fix)


def _fields(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "model": row.weights.model,
        "gigabytes": round(row.gigabytes, 1),
        "here": _standing(row),
        "gpu_gigabytes": {name: round(needed, 1) for name, needed in row.vram.items()},
        "distilled": row.weights.distilled,
        "trained": row.origin,
        "downloads": [
            {"repository": each.repository, "gigabytes": each.gigabytes, "licence": each.licence}
            for each in row.downloads
        ],
    }


def _plan_fields(each: Plan, folder: Path) -> dict[str, Any]:
    return {
        "repository": each.repository,
        "commit": each.commit,
        "licence": each.licence,
        "files": len(each.items),
        "bytes": each.bytes,
        "path": str(folder),
    }

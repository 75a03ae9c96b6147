"""``kf2v bench``: how fast an engine is on this machine, and how near it comes to what it is measured against."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from kf2v.cli.config import read_settings
from kf2v.cli.create import MODEL
from kf2v.cli.delivery import AsJson, Quiet
from kf2v.cli.exits import Exit
from kf2v.cli.help import help_alone
from kf2v.cli.terminal import CommandFailed, give, give_json, say

if TYPE_CHECKING:
    from kf2v.engines.wan.comparison import Comparison
    from kf2v.engines.wan.profiles import Options
    from kf2v.engines.wan.weights import Weights
    from kf2v.settings import Settings
    from kf2v.video import Size

app = typer.Typer(help="Measure an engine on this machine.", callback=help_alone, invoke_without_command=True)


class Kind(StrEnum):
    """Whose weights."""

    OWN = "own"
    RANDOM = "random"
    TINY = "tiny"


class Runtime(StrEnum):
    """What to compare with."""

    DIFFUSERS = "diffusers"


#: width, height and frames of a film that a CPU makes in a second
SMALL, SMALL_FRAMES = (64, 48), 9


@app.command()
def wan(
    reference: Annotated[
        Runtime | None, typer.Option(help="Make the same film through this too, and compare.", show_default=False)
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="MODEL, or MODEL:VARIANT of kf2v models list.")] = MODEL,
    weights: Annotated[
        Kind, typer.Option(help="own: the model's; random: of its size; tiny: random and small, to see it run.")
    ] = Kind.OWN,
    resolution: Annotated[
        str | None,
        typer.Option("--resolution", "-r", help="480P, 720P or 1080P, in 16:9; not with tiny weights [default: 480P]."),
    ] = None,
    frames: Annotated[int | None, typer.Option(min=5, help="4k + 1; tiny weights make 9 [default: 81].")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Other than usual, for weights not distilled.")] = None,
    cold: Annotated[bool, typer.Option("--cold", help="Make no film to warm up.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Seconds per stage of one film with the wan engine, speed, and percent of what the GPU can do.

    With --reference diffusers, the same scene, seed, steps and weights go through diffusers' stock pipeline in the
    same run; then the ratio and the largest difference of latents are told too. Pictures are drawn, not asked for.
    """
    from kf2v import logs

    settings = read_settings()
    logs.configure("error" if quiet else settings.log_level)
    runtimes = ("native", *([] if reference is None else [reference.value]))
    chosen, options = _weights(settings, model), _options(settings, weights)
    size = _size(resolution, options, weights)
    if steps is not None and chosen.distilled:
        raise CommandFailed(
            "Usage",
            f"the weights of {model} are distilled: their number of steps is not to be chosen",
            fix="leave out --steps, or name a variant that is not distilled",
        )
    _check(chosen, options, weights)
    from kf2v.engines.wan import comparison
    from kf2v.engines.wan.geometry import FRAMES
    from kf2v.engines.wan.weights import row_of

    film = comparison.Film(
        size=size,
        frames=frames or (SMALL_FRAMES if weights is Kind.TINY else FRAMES),
        prompt="a slow walk",
        warm=not cold,
    )
    tell = _silence if quiet else say
    with _translated(model):
        _ = film.grid  # a number of frames that cannot be made is told before anything is loaded
        if weights is Kind.OWN:
            found = comparison.with_weights(chosen, options, film, runtimes=runtimes, steps=steps, say=tell)
        else:
            family, tiny = row_of(model).family, weights is Kind.TINY
            found = comparison.with_random(
                family,
                options,
                film,
                tiny=tiny,
                distilled_weights=chosen.distilled,
                steps=steps,
                runtimes=runtimes,
                say=tell,
            )
    if as_json:
        give_json({"weights": weights.value, "model": model} | asdict(found))
        return
    for line in _table(found, weights):
        give(line)


@contextmanager
def _translated(model: str) -> Generator[None]:
    """What the engine may say against it, as a sentence."""
    from kf2v.engines import EngineUnavailable
    from kf2v.engines.wan.weights import CheckpointError
    from kf2v.errors import ApiError

    try:
        yield
    except EngineUnavailable as error:
        raise CommandFailed("EngineUnavailable", error.reason, exit=Exit.GENERAL, fix=error.fix) from error
    except ApiError as error:
        raise CommandFailed(error.code, f"{error.message} {error.__cause__ or ''}".strip()) from error
    except CheckpointError as error:
        raise CommandFailed("WeightsUnavailable", str(error), fix=f"kf2v models check {model}") from error
    except ValueError as error:
        raise CommandFailed("Usage", str(error)) from error
    except RuntimeError as error:
        if "out of memory" not in str(error).lower():
            raise
        fix = "a lower --resolution, fewer --frames, or without --reference"
        raise CommandFailed("OutOfMemory", str(error).splitlines()[0], exit=Exit.GENERAL, fix=fix) from error


def _silence(text: str) -> None:
    del text


def _table(found: Comparison, weights: Kind) -> Iterator[str]:
    limits = ", ".join(f"{kind} {rate:.4g} TFLOP/s" for kind, rate in found.limits.items())
    film = f"{found.width}x{found.height}, {found.frames} frames"
    yield f"{found.family}, {found.schedule}, {found.forwards} forwards, {film}"
    yield f"{found.device}, torch {found.torch}, diffusers {found.diffusers}; a large product reaches {limits}"
    stages = list(found.runs[0].stages)
    yield f"{'seconds':10}" + "".join(f"{stage:>9}" for stage in stages) + f"{'film':>9}{'TFLOP/s':>10}{'of limit':>9}"
    for run in found.runs:
        row = f"{run.runtime:10}" + "".join(f"{run.stages[stage]:>9.2f}" for stage in stages)
        held = "" if run.peak_gb is None else f"  {run.peak_gb:.1f} GB"
        yield f"{row}{run.seconds:>9.2f}{run.tflops:>10.4g}{run.share_of_limit:>9.0%}{held}  {run.operations}"
    if found.ratio is not None:
        yield f"{found.runs[1].runtime} takes {found.ratio:.2f} times as long as {found.runs[0].runtime}"
        if found.max_relative is None:
            yield "latents are not compared: two experts do not fit, so that one stood for both in diffusers"
        else:
            yield f"latents: max relative difference {found.max_relative:.1e}, by norms {found.relative:.1e}"
    if weights is Kind.TINY:
        yield "tiny weights: this shows that both run and agree; it is no measure of speed"


def _weights(settings: Settings, asked: str) -> Weights:
    """What the settings say of a model, or a variant by its name. Raises CommandFailed if there is neither."""
    from kf2v.assembly.engines import wan_weights
    from kf2v.engines.wan.weights import row_of

    known = wan_weights(settings)
    if asked in known:
        return known[asked]
    try:
        return row_of(asked).weights
    except KeyError as error:
        raise CommandFailed("Usage", error.args[0], fix="see: kf2v models list") from None


def _options(settings: Settings, weights: Kind) -> Options:
    """As the service would run it; tiny weights run anywhere."""
    from kf2v.assembly.engines import wan_options

    options = wan_options(settings)
    return replace(options, device="cpu") if weights is Kind.TINY else options


def _check(chosen: Weights, options: Options, weights: Kind) -> None:
    """Raises CommandFailed where this machine cannot do it, saying what would help."""
    from kf2v.engines.wan.readiness import missing_device, missing_packages, readiness

    if weights is Kind.OWN:
        lacking = readiness({chosen.model: chosen}, options)
    else:
        lacking = missing_packages() or missing_device(options)
    if lacking is not None:
        raise CommandFailed("EngineUnavailable", lacking.reason, exit=Exit.GENERAL, fix=lacking.fix)


def _size(resolution: str | None, options: Options, weights: Kind) -> Size:
    """What is generated for a film of ``resolution``. Raises CommandFailed where that cannot be had."""
    from kf2v.catalog.models import AREAS
    from kf2v.engines.wan.geometry import generation_size
    from kf2v.video import Size
    from kf2v.video.size import output_size

    if weights is Kind.TINY:
        if resolution is not None:
            size = "x".join(map(str, SMALL))
            raise CommandFailed("Usage", f"tiny weights make {size}", fix="leave out --resolution, or --weights tiny")
        return Size(width=SMALL[0], height=SMALL[1])
    resolution = resolution or "480P"
    if resolution not in AREAS:
        raise CommandFailed("Usage", f"--resolution should be one of {', '.join(AREAS)}, not {resolution}")
    return generation_size(output_size(16, 9, AREAS[resolution]), native=options.native_1080p)

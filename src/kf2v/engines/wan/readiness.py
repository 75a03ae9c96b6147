"""Whether this machine can work as the wan engine, and what to do about it if not.

Loads no torch into the process that asks: the GPU is looked for by another one.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from kf2v.engines import EngineUnavailable
from kf2v.engines.wan.checkpoint import CheckpointError, open_bundle
from kf2v.engines.wan.checkpoint.components import present
from kf2v.engines.wan.profiles import Options
from kf2v.engines.wan.weights import Weights, remedy, row_of, row_running

#: packages this engine imports, without which there is nothing to talk about
PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "safetensors",
    "huggingface_hub",
    "ftfy",
    "sentencepiece",
)
#: seconds that looking for GPUs may take; importing torch from a cold disk takes half a minute
PATIENCE = 120

_PROBE = """
import json, torch
cards = []
if torch.cuda.is_available():
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        cards.append({"name": found.name, "memory": found.total_memory})
print(json.dumps({"torch": torch.__version__, "built_for": torch.version.cuda or torch.version.hip, "cards": cards}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A GPU."""

    name: str
    #: bytes
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What torch sees."""

    #: its version
    torch: str
    #: of CUDA or ROCm; None for a build that knows CPUs only
    built_for: str | None
    cards: tuple[Card, ...]


def look() -> Machine:
    """What a torch in another process sees. Raises EngineUnavailable if that process does not come back well."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise EngineUnavailable(
            f"torch cannot be used: {(said.strip().splitlines() or ['it says nothing'])[-1]}.",
            fix="See what `python -c 'import torch; print(torch.cuda.is_available())'` says.",
        ) from error
    return Machine(
        torch=found["torch"], built_for=found["built_for"], cards=tuple(Card(**card) for card in found["cards"])
    )


def readiness(
    weights: Mapping[str, Weights], options: Options, *, look: Callable[[], Machine] = look
) -> EngineUnavailable | None:
    """Why the engine cannot work here at all; None if it can, for one of the models at least."""
    lacking = missing_packages() or missing_device(options, look) or None
    if lacking is not None:
        return lacking
    absent = missing_weights(weights, gpus_per_video=options.gpus_per_video)
    if len(absent) < len(weights):
        return None
    if not absent:
        return EngineUnavailable(
            "No model has been given to the wan engine.", fix="Name weights: see `kf2v models list`."
        )
    return next(iter(absent.values()))


def missing_packages() -> EngineUnavailable | None:
    """Which packages are not installed."""
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    return EngineUnavailable(
        f"The wan engine needs {', '.join(absent)}, which {'is' if len(absent) == 1 else 'are'} not installed.",
        fix="Install it: pip install 'kf2v[wan]'.",
    )


def missing_device(options: Options, look: Callable[[], Machine] = look) -> EngineUnavailable | None:
    """Why there is nothing to compute on; a CPU that was asked for is always there."""
    if lacking := _apart(options):
        return lacking
    if options.device == "cpu":
        return None
    try:
        machine = look()
    except EngineUnavailable as error:
        return error
    if not machine.cards:
        found = f"torch {machine.torch} knows CPUs only" if machine.built_for is None else "torch finds no GPU"
        return EngineUnavailable(
            f"The wan engine needs a GPU, and {found}.",
            fix="Install torch for your GPU and its driver, or set KF2V_WAN_DEVICE=cpu, which takes hours.",
        )
    _, _, number = options.device.partition(":")
    if number and int(number) >= len(machine.cards):
        return EngineUnavailable(
            f"There is no {options.device}: this machine has {len(machine.cards)}, counted from 0.",
            fix="Set KF2V_WAN_DEVICE to one of them, or to auto.",
        )
    workers, each = options.seat + 1, options.gpus_per_video
    if each > 1 and workers * each > len(machine.cards):
        return EngineUnavailable(
            f"{each} GPUs for each video, {workers} at a time, are {workers * each}; this machine has "
            f"{len(machine.cards)}.",
            fix="Lower KF2V_WORKERS or KF2V_WAN_GPUS_PER_VIDEO.",
        )
    return None


def _apart(options: Options) -> EngineUnavailable | None:
    """Why several GPUs cannot work on one video with these options."""
    if options.gpus_per_video == 1:
        return None
    if options.runtime != "native":
        return EngineUnavailable(
            f"The stock pipeline works on one GPU, not on {options.gpus_per_video}.",
            fix="Set KF2V_WAN_RUNTIME=native, or KF2V_WAN_GPUS_PER_VIDEO=1.",
        )
    if options.device.startswith("cuda"):
        return EngineUnavailable(
            f"{options.gpus_per_video} GPUs for each video cannot all be {options.device}.",
            fix="Set KF2V_WAN_DEVICE=auto, and CUDA_VISIBLE_DEVICES to the GPUs you mean.",
        )
    return None


def missing_weights(weights: Mapping[str, Weights], *, gpus_per_video: int = 1) -> dict[str, EngineUnavailable]:
    """By model, what its files lack and what to do about it; models that have everything are left out.

    Reads headers, not weights. Attention heads are shared by ``gpus_per_video``, so those have to divide them.
    """
    absent: dict[str, EngineUnavailable] = {}
    for model, wanted in weights.items():
        try:
            bundle = open_bundle(wanted)
            present(bundle)
            heads = bundle.shape.heads
            if heads % gpus_per_video:
                absent[model] = EngineUnavailable(
                    f"{model} cannot be made: {gpus_per_video} GPUs cannot share its {heads} attention heads evenly.",
                    fix="Set KF2V_WAN_GPUS_PER_VIDEO to 1, 2, 4 or 8.",
                )
        except CheckpointError as error:
            reason = f"{model} cannot be made: {error.where} {error.found}."
            absent[model] = EngineUnavailable(reason, fix=_fix(wanted, error))
    return absent


def missing_under_any_name(weights: Mapping[str, Weights], *, gpus_per_video: int = 1) -> dict[str, EngineUnavailable]:
    """The same, where several models are names of the same weights: those are looked at once, under the first name."""
    first: dict[Weights, str] = {}
    for model, wanted in weights.items():
        first.setdefault(replace(wanted, model=""), model)
    absent = missing_weights({model: weights[model] for model in first.values()}, gpus_per_video=gpus_per_video)
    named = {model: first[replace(wanted, model="")] for model, wanted in weights.items()}
    return {model: absent[same] for model, same in named.items() if same in absent}


def unlike_their_names(weights: Mapping[str, Weights]) -> dict[str, str]:
    """By model, whose weights they are, where it is not the family that the model's name stands for.

    They make its videos all the same. Reads headers, not weights; models without weights are left out.
    """
    unlike: dict[str, str] = {}
    for model, wanted in weights.items():
        with suppress(CheckpointError):
            found = open_bundle(wanted).family
            if found is not row_of(model).family:
                unlike[model] = f"{model} runs on weights of {found.id}, not of {row_of(model).family.id}"
    return unlike


def _fix(wanted: Weights, error: CheckpointError) -> str:
    row = row_running(wanted)
    if row is not None:
        return f"Fetch its weights ({row.gigabytes:.0f} GB): kf2v models pull {row.name}"
    what = remedy(wanted, error) or "see what is there"
    return f"{what[0].upper()}{what[1:]}; {wanted.model} is set by KF2V_WAN_WEIGHTS."

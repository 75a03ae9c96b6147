"""Everything one model runs on, found and put together; values are read later, by whoever needs them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from kf2v.engines.wan.checkpoint.files import STEM, Files, weights_in
from kf2v.engines.wan.checkpoint.source import TensorSource
from kf2v.engines.wan.checkpoint.structure import check_structure, described
from kf2v.engines.wan.checkpoint.values import Checked
from kf2v.engines.wan.family import A14B, FLF2V, DitShape, Family
from kf2v.engines.wan.fault import CheckpointError, readable
from kf2v.engines.wan.weights import Lora, Weights, located, variants

#: diffusers' and Wan's folders of the transformers, high-noise first
FOLDERS: Mapping[str, tuple[str, str]] = {
    "diffusers": ("transformer", "transformer_2"),
    "wan": ("high_noise_model", "low_noise_model"),
}

#: small tensors that differ between any two trainings
TELLING = ("blocks.0.scale_shift_table", "proj_out.bias")

#: what a transformer has that sees pictures through CLIP
PICTURES = "condition_embedder.image_embedder.norm1.weight"

WHAT_WOULD = "use Wan2.1-FLF2V-14B-720P or Wan2.2-I2V-A14B"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The transformers of one model, and where its encoders and VAE lie."""

    family: Family
    shape: DitShape
    #: high-noise first; one for families with one. Reading a tensor with NaN or nothing in it raises CheckpointError
    experts: tuple[TensorSource, ...]
    #: diffusers': text_encoder, tokenizer, vae, image_encoder; Wan's: its .pth files. See ``components``
    base: Path
    layout: Literal["diffusers", "wan"]
    distilled: bool


def open_bundle(weights: Weights) -> Bundle:
    """Find the files of ``weights``, read their headers, and check that they are what they should be.

    Raises CheckpointError: not here, cut short, another model, shapes that do not fit, two of the same expert.
    """
    with readable(weights.base):
        return _opened(weights, _base(weights))


def _opened(weights: Weights, base: Path) -> Bundle:
    layout, shape, own = _described_base(base)
    places = [(located(expert),) for expert in weights.experts] or own
    family = _family(base, shape, len(places))
    sources = [_expert(paths) for paths in places]
    _check_order(weights.experts)
    for source in sources:
        check_structure(source, family, shape)
    _check_twins(sources)
    merged = [
        _with_loras(source, _loras_of(weights.loras, index, family.experts)) for index, source in enumerate(sources)
    ]
    return Bundle(
        family=family,
        shape=shape,
        experts=tuple(Checked(source) for source in merged),
        base=base,
        layout=layout,
        distilled=weights.distilled,
    )


def _base(weights: Weights) -> Path:
    try:
        return located(weights.base)
    except CheckpointError as error:
        known = variants(weights.model)
        if not known or "/" in weights.base:
            raise
        remedy = f"write {', '.join(known)}, a path, owner/name or owner/name:file"
        raise CheckpointError(error.where, error.found, remedy) from error


def layout_of(base: Path) -> Literal["diffusers", "wan"]:
    """Whose directory ``base`` is. Raises CheckpointError."""
    with readable(base):
        return _layout_of(base)


def _layout_of(base: Path) -> Literal["diffusers", "wan"]:
    if not base.is_dir():
        remedy = "name a directory as base, with encoders and VAE, and this file among the experts"
        raise CheckpointError(base, "is a file, not a directory" if base.exists() else "is not there", remedy)
    if (base / "transformer" / "config.json").exists():
        return "diffusers"
    if (base / "config.json").exists() or (base / "high_noise_model" / "config.json").exists():
        return "wan"
    held = sorted(path.name for path in base.iterdir())
    found = f"holds only {', '.join(held[:6])}" if held else "is empty"
    raise CheckpointError(base, f"{found}, and no transformer/config.json", "fetch it: kf2v models pull")


def _described_base(base: Path) -> tuple[Literal["diffusers", "wan"], DitShape, list[tuple[Path, ...]]]:
    """Layout, sizes, and the folders of the base's own transformers."""
    layout = layout_of(base)
    high, low = FOLDERS[layout]
    if layout == "diffusers":
        folders = [base / high, *([base / low] if (base / low / "config.json").exists() else [])]
    else:
        folders = [base / high, base / low] if (base / high).is_dir() else [base]
    shapes = [_shape(folder / "config.json", layout) for folder in folders]
    if any(shape != shapes[0] for shape in shapes):
        raise CheckpointError(base, "has two transformers of different sizes", WHAT_WOULD)
    shape = shapes[0] if layout == "diffusers" else _with_pictures(folders[0], shapes[0])
    return layout, shape, [(folder,) for folder in folders]


def _with_pictures(folder: Path, shape: DitShape) -> DitShape:
    """Wan's config says ``i2v`` for Wan2.1 with CLIP and for Wan2.2 without: the tensors tell, where they are here."""
    try:
        source = _expert((folder,))
    except CheckpointError:
        return shape
    if shape.image_dim is None and PICTURES in source.names():
        return replace(shape, image_dim=source.shape(PICTURES)[0])
    return shape


def _shape(path: Path, layout: Literal["diffusers", "wan"]) -> DitShape:
    try:
        config = cast("dict[str, object]", json.loads(path.read_bytes()))
        return DitShape.from_config(config) if layout == "diffusers" else DitShape.from_wan_config(config)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(path, f"does not describe a Wan transformer: {error}", WHAT_WOULD) from error


def _family(base: Path, shape: DitShape, experts: int) -> Family:
    """By what goes in: 36 channels, and CLIP with a place for each picture or no CLIP at all."""
    if shape.in_channels != 36 or shape.out_channels != 16:
        raise CheckpointError(base, f"is {described(shape)}, which knows no last frame", WHAT_WOULD)
    if shape.image_dim is not None and shape.image_tokens is None:
        raise CheckpointError(base, "is Wan2.1-I2V, whose picture embedding has no place for a last frame", WHAT_WOULD)
    family = A14B if shape.image_dim is None else FLF2V
    if family.experts != experts:
        found = f"is {family.id}, which has {family.experts} transformers; {experts} found"
        raise CheckpointError(
            base, found, "name high-noise and low-noise, in this order" if experts == 1 else WHAT_WOULD
        )
    return family


def _expert(paths: Sequence[Path]) -> Files:
    """A file; or a folder with weights under diffusers' and Wan's name, or with one file under any."""
    path = paths[0]
    if not path.is_dir():
        return Files.of([path])
    held = sorted(path.glob("*.safetensors"))
    if len(held) == 1 and not held[0].name.startswith(STEM) and not any(path.glob("*.index.json")):
        return Files.of(held)
    return Files.of(weights_in(path))


def side_of(reference: str) -> Literal["high", "low"] | None:
    """Which expert a file is for by its name: ``x_high_noise``, ``HighNoise``; ``slow`` and ``flow`` say nothing.

    A file whose name says nothing goes by its folder, ``high_noise_model`` or ``low``, but not ``low-vram``.
    """
    path = Path(reference.rpartition(":")[2])
    found = set(re.findall(r"(?<![a-z])(high|low)(?=noise|[^a-z]|$)", path.name.lower()))
    if not found:
        folder = path.parent.name.lower()
        named = re.search(r"(?<![a-z])(high|low)[-_ ]?noise(?:[-_ ]?model)?$", folder) or re.match(
            "(high|low)$", folder
        )
        found = {named[1]} if named else set()
    return ("high" if "high" in found else "low") if len(found) == 1 else None


def _check_order(experts: tuple[str, ...]) -> None:
    """Names of files and folders usually say which is which."""
    said = [side_of(expert) for expert in experts]
    if [_diffusers_folder(expert) for expert in experts] == [*reversed(FOLDERS["diffusers"])]:
        said = ["low", "high"]
    if said in (["low", "high"], ["low", "low"], ["high", "high"]):
        raise CheckpointError(", ".join(experts), f"are {said[0]}- and {said[1]}-noise by name", "name high, then low")


def _diffusers_folder(reference: str) -> str:
    """``transformer`` or ``transformer_2``, if the file lies in one or the folder itself is named."""
    path = Path(reference.rpartition(":")[2])
    return next((name for name in (path.name, path.parent.name) if name in FOLDERS["diffusers"]), "")


def _check_twins(sources: Sequence[Files]) -> None:
    """Two experts of one family have the same shapes and never the same values."""
    if len(sources) != 2:
        return
    high, low = sources
    if all(high.raw(name) == low.raw(name) for name in TELLING):
        found = f"holds the same values as {low.where}" if high.where != low.where else "is named for both noise levels"
        raise CheckpointError(high.where, found, "name the high-noise and the low-noise file")


def _loras_of(loras: tuple[Lora, ...], index: int, experts: int) -> list[Lora]:
    """Those that change expert ``index``."""
    role = ("high", "low")[index] if experts == 2 else None
    chosen: list[Lora] = []
    for lora in loras:
        meant = lora.expert or side_of(lora.file)
        if role is None and lora.expert is not None:
            raise CheckpointError(lora.file, f"is meant for the {meant}-noise expert, and there is one", "say nothing")
        if role is None or meant in (None, role):
            chosen.append(lora)
    return chosen


def _with_loras(source: TensorSource, loras: Sequence[Lora]) -> TensorSource:
    if not loras:
        return source
    from kf2v.engines.wan.checkpoint.lora import Merged, read_lora

    return Merged.of(source, [read_lora(located(lora.file), lora.strength) for lora in loras])

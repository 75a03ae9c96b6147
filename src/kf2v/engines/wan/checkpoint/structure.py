"""Whether a file's tensors are those of one transformer: all there, none else, of the right shapes.

Looks at headers only; knows neither torch nor values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kf2v.engines.wan.family import DitShape, Family
from kf2v.engines.wan.fault import CheckpointError

if TYPE_CHECKING:
    from kf2v.engines.wan.checkpoint.files import Files

#: problems told in one message; the rest is counted
TOLD = 6

POSITIONS = "condition_embedder.image_embedder.pos_embed"


def check_structure(source: Files, family: Family, shape: DitShape) -> None:
    """Compare names and shapes with ``shape``. Raises one CheckpointError naming what does not fit."""
    wanted = shape.tensors()
    present = set(source.names())
    unlike = [
        f"{name} is {list(source.shape(name))} instead of {list(wanted[name])}"
        for name in sorted(present & wanted.keys())
        if source.shape(name) != wanted[name]
    ]
    missing = sorted(wanted.keys() - present)
    unexpected = sorted([*(present - wanted.keys()), *source.strangers])
    if not (unlike or missing or unexpected):
        return
    faults = [
        *([f"{len(missing)} tensors are missing: {listed(missing)}"] if missing else []),
        *([f"{len(unexpected)} are unexpected: {listed(unexpected)}"] if unexpected else []),
        *unlike,
    ]
    kind = _kind(source)
    known = f"{kind}, not {family.id} of this size: " if kind else f"not {family.id} of this size: "
    remedy = "name the transformers of this model"
    if missing == [POSITIONS]:
        remedy = "this file lost its position embedding when it was converted (diffusers' converter drops it)"
    raise CheckpointError(source.where, known + told(faults), remedy)


def described(shape: DitShape) -> str:
    """What kind of Wan transformer has this shape, in words."""
    if shape.in_channels == 16:
        return f"a text-to-video transformer (16 input channels, width {shape.width})"
    if shape.in_channels == 48:
        return f"Wan2.2-TI2V-5B (48 input channels, width {shape.width})"
    return f"a transformer with {shape.in_channels} input and {shape.out_channels} output channels"


def told(faults: list[str]) -> str:
    """The first few, and how many more."""
    more = len(faults) - TOLD
    return "; ".join(faults[:TOLD]) + (f"; and {more} more" if more > 0 else "")


def listed(names: list[str]) -> str:
    """The first three names."""
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


def _kind(source: Files) -> str:
    """What the file is, where its tensors give it away."""
    names = set(source.names())
    if any(name.startswith(("vace_blocks.", "model.vace_blocks.")) for name in source.strangers):
        return "a VACE transformer"
    if "patch_embedding.weight" not in names:
        return "part of a transformer"
    width, channels = source.shape("patch_embedding.weight")[:2]
    if channels != 36:
        return described(DitShape(layers=1, heads=1, head_dim=width, ffn=1, in_channels=channels))
    pictures = any("add_k_proj" in name for name in names)
    if pictures and POSITIONS not in names:
        return "a transformer of Wan2.1-I2V (CLIP, and no positions for two pictures)"
    if pictures:
        return "a transformer of Wan2.1-FLF2V (CLIP)"
    return "a transformer without CLIP"

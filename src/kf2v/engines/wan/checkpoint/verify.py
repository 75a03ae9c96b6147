"""Whether tensors are what they should be: all there, none else, of the right shapes, finite, and not empty."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kf2v.engines.wan.checkpoint.error import CheckpointError
from kf2v.engines.wan.checkpoint.source import Scaled, Stored, TensorSource
from kf2v.engines.wan.family import DitShape, Family

if TYPE_CHECKING:
    import torch

    from kf2v.engines.wan.checkpoint.bundle import Bundle
    from kf2v.engines.wan.checkpoint.files import Files

#: problems told in one message; the rest is counted
TOLD = 6

POSITIONS = "condition_embedder.image_embedder.pos_embed"


def verify(bundle: Bundle) -> None:
    """Read every tensor of ``bundle``, encoders and VAE included, once. Raises one CheckpointError naming all faults.

    Minutes for a real model: loading checks what it reads anyway, so this is for ``kf2v models check``.
    """
    from kf2v.engines.wan.checkpoint.components import ailing_components

    faults = [fault for source in bundle.experts for fault in _ailing(source)]
    faults += ailing_components(bundle)
    if faults:
        raise CheckpointError(bundle.base, told(faults), "the files are damaged: fetch them again")


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


@dataclass(frozen=True, slots=True)
class Checked:
    """A TensorSource that looks at what it reads: loading is verifying."""

    source: TensorSource

    @property
    def where(self) -> str:
        return self.source.where

    def names(self) -> Collection[str]:
        return self.source.names()

    def shape(self, name: str) -> tuple[int, ...]:
        return self.source.shape(name)

    def dtype(self, name: str) -> torch.dtype:
        return self.source.dtype(name)

    def read(self, name: str, device: str | torch.device = "cpu") -> Stored:
        stored = self.source.read(name, device)
        if ailment := ailment_of(stored):
            raise CheckpointError(self.where, f"{name} {ailment}", "the file is damaged: fetch it again")
        return stored


def ailment_of(stored: Stored) -> str:
    """What is wrong with the values: NaN or infinity, or a matrix of nothing but zeros. Empty if all is well."""
    import torch

    if isinstance(stored, Scaled):
        return ailment_of(stored.scale) or ailment_of(stored.values)
    if stored.dtype is torch.float8_e4m3fn:
        bits = stored.view(torch.uint8) & 0x7F  # e4m3fn: 0x7F is NaN whatever the sign, and there is no infinity
        low, high = int(bits.min()), int(bits.max())
        return "has NaN in it" if high == 0x7F else "is all zeros" if high == low == 0 else ""
    low, high = torch.aminmax(stored)  # NaN wins
    if not (torch.isfinite(low) and torch.isfinite(high)):
        return "has NaN or infinity in it"
    return "is all zeros" if stored.ndim >= 2 and not low and not high else ""


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


def _ailing(source: TensorSource) -> Iterator[str]:
    for name in source.names():
        try:
            source.read(name)
        except CheckpointError as error:
            yield f"{error.where}: {error.found}"


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

"""Low-rank changes, in everybody's spelling, added to a transformer's tensors while they are read.

A change is ``strength · alpha / rank · up · down`` for a matrix (arXiv 2106.09685), ``strength · diff`` for anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kf2v.engines.wan.checkpoint import names as naming
from kf2v.engines.wan.checkpoint.files import READABLE, Place
from kf2v.engines.wan.checkpoint.header import DAMAGED, read_header
from kf2v.engines.wan.checkpoint.source import Scaled
from kf2v.engines.wan.checkpoint.structure import listed, told
from kf2v.engines.wan.checkpoint.values import ailment_of
from kf2v.engines.wan.fault import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from kf2v.engines.wan.checkpoint.source import Stored, TensorSource

#: how the end of a name says what the tensor is
ENDINGS: Mapping[str, str] = {
    ".lora_A.weight": "down",
    ".lora_A.default.weight": "down",
    ".lora_down.weight": "down",
    ".lora.down.weight": "down",
    ".lora_B.weight": "up",
    ".lora_B.default.weight": "up",
    ".lora_up.weight": "up",
    ".lora.up.weight": "up",
    ".lora_B.bias": "bias",
    ".lora_B.default.bias": "bias",
    ".diff_b": "bias",
    ".diff_m": "modulation",
    ".diff": "weight",
    ".alpha": "alpha",
}

#: endings of changes that are not low-rank matrices in this sense
OTHERS = (
    "dora_scale",
    "hada_w1_a",
    "lokr_w1",
    "lora_mid.weight",
    "lora_magnitude_vector",
    "set_weight",
    "reshape_weight",
)

#: kohya's trainers write every name with underscores behind one of these
_FLAT = ("lora_unet__", "lora_unet_", "lora_transformer_", "lycoris_")

REMEDY = "use a LoRA made for this transformer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is added to one tensor: ``up · down`` times ``alpha / rank``, or ``diff`` as it is."""

    up: Place | None = None
    down: Place | None = None
    alpha: Place | None = None
    diff: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraFile:
    """One LoRA: changes by the names of the tensors they change."""

    path: Path
    strength: float
    changes: Mapping[str, Change]


def read_lora(path: Path, strength: float = 1.0) -> LoraFile:
    """Read the header of ``path`` and sort its tensors. Raises CheckpointError."""
    if not math.isfinite(strength):
        raise CheckpointError(path, f"is asked for at strength {strength}", "give it a finite number")
    header = read_header(path)
    modules: dict[str, dict[str, Place]] = {}
    strangers: list[str] = []
    for name, entry in header.entries.items():
        target, kind = _target(name)
        if not target or entry.dtype not in READABLE[:3]:
            strangers.append(name)
        elif kind in modules.setdefault(target, {}):
            raise CheckpointError(path, f"says twice what {target} is changed by ({kind})", REMEDY)
        else:
            modules[target][kind] = Place(path, name, entry)
    if strangers:
        other = next((ending for ending in OTHERS if any(name.endswith(ending) for name in strangers)), "")
        found = f"has {len(strangers)} tensors that mean nothing to a Wan transformer: {listed(sorted(strangers))}"
        raise CheckpointError(path, f"{found} ({other} is not read)" if other else found, REMEDY)
    changes = _changes(path, modules)
    if not changes:
        raise CheckpointError(path, "changes nothing", REMEDY)
    return LoraFile(path=path, strength=strength, changes=changes)


def _target(name: str) -> tuple[str, str]:
    """The module or parameter in diffusers' spelling, and what the tensor is to it; empty if it is nobody's."""
    ending = next((ending for ending in ENDINGS if name.endswith(ending)), "")
    if not ending:
        return "", ""
    kind, bare = ENDINGS[ending], name.removesuffix(ending)
    for flat in _FLAT:
        if bare.startswith(flat):
            return _unflattened(bare.removeprefix(flat)), kind
    while outer := next((p for p in naming.PREFIXES if bare.startswith(p)), ""):
        bare = bare.removeprefix(outer)
    if kind == "modulation":
        return naming.parameter(f"{bare}.modulation") or "", kind
    if kind == "weight" and naming.module(bare) is None:
        return naming.parameter(bare) or "", "whole"  # .modulation.diff, img_emb.emb_pos.diff
    return naming.module(bare) or "", kind


def _unflattened(flat: str) -> str:
    """``blocks_3_self_attn_q`` and its like."""
    if found := re.fullmatch(r"blocks_(\d+)_(.+)", flat):
        inner = _FLAT_IN_BLOCKS.get(found[2])
        return f"blocks.{found[1]}.{inner}" if inner else ""
    return _FLAT_OUTSIDE.get(flat, "")


def _flattened(names: Mapping[str, str]) -> dict[str, str]:
    both = {**{ours: ours for ours in names.values()}, **names}
    return {name.replace(".", "_"): ours for name, ours in both.items()}


_FLAT_IN_BLOCKS = _flattened(naming.BLOCK_MODULES)
_FLAT_OUTSIDE = _flattened(naming.MODULES)


def _changes(path: Path, modules: Mapping[str, Mapping[str, Place]]) -> dict[str, Change]:
    changes: dict[str, Change] = {}
    for target, parts in modules.items():
        if ("up" in parts) != ("down" in parts):
            raise CheckpointError(path, f"has half of the change to {target}", DAMAGED)
        if "up" in parts:
            if "weight" in parts:
                raise CheckpointError(path, f"changes {target} both by matrices and as a whole", REMEDY)
            changes[f"{target}.weight"] = Change(up=parts["up"], down=parts["down"], alpha=parts.get("alpha"))
        elif "weight" in parts:
            changes[f"{target}.weight"] = Change(diff=parts["weight"])
        if "bias" in parts:
            changes[f"{target}.bias"] = Change(diff=parts["bias"])
        for whole in ("modulation", "whole"):
            if whole in parts:
                changes[target] = Change(diff=parts[whole])
    return changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """A TensorSource whose tensors are changed as they are read.

    What is changed is computed in float32 and rounded once to the tensor's own dtype; an eight-bit matrix comes out
    as bfloat16, for its scale no longer fits.
    """

    source: TensorSource
    loras: tuple[LoraFile, ...]

    @classmethod
    def of(cls, source: TensorSource, loras: Sequence[LoraFile]) -> Merged:
        """Raises CheckpointError if a LoRA changes what is not there, or in another shape."""
        for lora in loras:
            _check_fit(source, lora)
        return cls(source=source, loras=tuple(loras))

    @property
    def where(self) -> str:
        return self.source.where

    def names(self) -> Collection[str]:
        return self.source.names()

    def shape(self, name: str) -> tuple[int, ...]:
        return self.source.shape(name)

    def dtype(self, name: str) -> torch.dtype:
        import torch

        dtype = self.source.dtype(name)
        changed = any(name in lora.changes for lora in self.loras)
        return torch.bfloat16 if changed and dtype is torch.float8_e4m3fn else dtype

    def read(self, name: str, device: str | torch.device = "cpu") -> Stored:
        import torch

        stored = self.source.read(name, device)
        changes = [(lora, lora.changes[name]) for lora in self.loras if name in lora.changes]
        if not changes:
            return stored
        if isinstance(stored, Scaled):
            stored = stored.dequantised(torch.float32)
        total = stored.to(torch.float32)
        for lora, change in changes:
            total = total + lora.strength * _delta(change, total)
        merged = total.to(self.dtype(name))
        if (ailment := ailment_of(merged)) and not ailment_of(stored):
            blamed = " and ".join(f"{lora.path} at strength {lora.strength:g}" for lora, _ in changes)
            raise CheckpointError(blamed, f"changes {name} so that it {ailment}", "use another LoRA, or less of it")
        return merged


def _check_fit(source: TensorSource, lora: LoraFile) -> None:
    present = set(source.names())
    missing = sorted(name for name in lora.changes if name not in present)
    unlike = [
        fault
        for name, change in sorted(lora.changes.items())
        if name in present and (fault := _misfit(name, source.shape(name), change))
    ]
    faults = [*([f"{len(missing)} tensors it changes are not there: {listed(missing)}"] if missing else []), *unlike]
    if faults:
        raise CheckpointError(lora.path, f"does not fit {source.where}: {told(faults)}", REMEDY)


def _misfit(name: str, shape: tuple[int, ...], change: Change) -> str:
    """What keeps ``change`` from being added to a tensor of ``shape``; empty if nothing does."""
    if change.alpha is not None and math.prod(change.alpha.entry.shape) != 1:
        return f"{change.alpha.name} is {list(change.alpha.entry.shape)}, not one number"
    if change.diff is None:
        assert change.up is not None and change.down is not None
        up, down = change.up.entry.shape, change.down.entry.shape
        if len(up) < 2 or len(down) < 2 or up[1] != down[0] or not up[1] or any(side != 1 for side in up[2:]):
            return f"{name} is {list(shape)}, the change {list(up)} times {list(down)}"
    changed = _shape(change)
    return "" if changed == _flat_shape(shape, change) else f"{name} is {list(shape)}, the change {list(changed)}"


def _shape(change: Change) -> tuple[int, ...]:
    """Of matrices that can be multiplied."""
    if change.diff is not None:
        return change.diff.entry.shape
    assert change.up is not None and change.down is not None
    return (change.up.entry.shape[0], math.prod(change.down.entry.shape[1:]))


def _flat_shape(shape: tuple[int, ...], change: Change) -> tuple[int, ...]:
    """As matrices see it: convolutions have one row for each output."""
    if change.diff is not None or len(shape) < 2:
        return shape
    return (shape[0], math.prod(shape[1:]))


def _delta(change: Change, like: Tensor) -> Tensor:
    """In ``like``'s shape, device and float32."""
    if change.diff is not None:
        return _value(change.diff, like)
    assert change.up is not None and change.down is not None
    up = _value(change.up, like).flatten(1)  # (out, rank)
    down = _value(change.down, like).flatten(1)  # (rank, in)
    scale = 1.0 if change.alpha is None else float(_value(change.alpha, like)) / up.shape[1]
    return (scale * (up @ down)).reshape(like.shape)


def _value(place: Place, like: Tensor) -> Tensor:
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(place.path), framework="pt", device=str(like.device)) as file:
            value: Tensor = file.get_tensor(place.name)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(place.path, f"{place.name} cannot be read: {error}", DAMAGED) from error
    if (ailment := ailment_of(value)) and ailment != "is all zeros":
        raise CheckpointError(place.path, f"{place.name} {ailment}", DAMAGED)
    return value.to(torch.float32)

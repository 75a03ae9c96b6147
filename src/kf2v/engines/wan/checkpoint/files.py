"""Transformers in safetensors files: one file, or several that belong together, in anybody's spelling."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kf2v.engines.wan.checkpoint import names as naming
from kf2v.engines.wan.checkpoint.header import DAMAGED, Entry, read_header
from kf2v.engines.wan.checkpoint.source import Scaled
from kf2v.engines.wan.fault import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from kf2v.engines.wan.checkpoint.source import Stored

#: what diffusers and Wan both call a transformer's weights
STEM = "diffusion_pytorch_model"

#: dtypes that are read; the names are safetensors'
READABLE = ("F32", "F16", "BF16", "F8_E4M3")

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.safetensors$")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one tensor lies."""

    path: Path
    name: str
    entry: Entry


def weights_in(folder: Path, stem: str = STEM) -> tuple[Path, ...]:
    """The files of one model in ``folder``: by its index, else all shards, else the single file.

    Raises CheckpointError if there are none, one is missing, or the index names a file elsewhere.
    """
    index = folder / f"{stem}.safetensors.index.json"
    if index.exists():
        return _indexed(index)
    single = folder / f"{stem}.safetensors"
    if single.exists():
        return (single,)
    shards = sorted(folder.glob(f"{stem}-*-of-*.safetensors"))
    if not shards:
        found = _glimpse(folder)
        raise CheckpointError(folder, f"has no {stem}.safetensors, only {found}", "fetch it: kf2v models pull")
    _complain_of_missing(folder, stem, shards)
    return tuple(shards)


def _glimpse(folder: Path) -> str:
    if not folder.is_dir():
        return "no such directory"
    held = sorted(path.name if path.exists() else f"{path.name} (a link to nothing)" for path in folder.iterdir())
    return ", ".join(held[:6]) + (" …" if len(held) > 6 else "") if held else "nothing at all"


def _indexed(index: Path) -> tuple[Path, ...]:
    try:
        told = json.loads(index.read_bytes())
        named = {str(value) for value in cast("dict[str, object]", told["weight_map"]).values()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(index, f"is no index of weights ({error})", DAMAGED) from error
    for name in named:
        if Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise CheckpointError(index, f"names {name!r}, which is no file beside it", "do not use this checkpoint")
    missing = sorted(name for name in named if not (index.parent / name).exists())
    if missing or not named:
        raise CheckpointError(index, _missing(missing, len(named)), "fetch the rest: kf2v models pull")
    return tuple(index.parent / name for name in sorted(named))


def _complain_of_missing(folder: Path, stem: str, shards: list[Path]) -> None:
    totals = {int(found[2]) for shard in shards if (found := _SHARD.search(shard.name))}
    if len(totals) != 1:
        raise CheckpointError(folder, f"mixes shards of several models: {_glimpse(folder)}", "keep one of them")
    total = totals.pop()
    wanted = [f"{stem}-{number:05}-of-{total:05}.safetensors" for number in range(1, total + 1)]
    missing = [name for name in wanted if folder / name not in shards]
    if missing:
        raise CheckpointError(folder, _missing(missing, total), "fetch the rest: kf2v models pull")


def _missing(missing: list[str], total: int) -> str:
    return f"{len(missing)} of {total} files are missing: {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """A TensorSource over safetensors files."""

    where: str
    places: Mapping[str, Place]
    #: of eight-bit matrices, by the matrix's name
    scales: Mapping[str, Place]
    #: names that mean nothing to a Wan transformer
    strangers: tuple[str, ...] = ()
    _open: _Handles = field(default_factory=lambda: _Handles(), repr=False, compare=False)

    @classmethod
    def of(cls, paths: Collection[Path]) -> Files:
        """Read the headers of ``paths``, which together are one transformer. Raises CheckpointError."""
        if not paths:
            raise CheckpointError("no file", "was named", "name the transformer's safetensors file")
        found: dict[str, Place] = {}
        for path in paths:
            for name, entry in read_header(path).entries.items():
                if name in found:
                    raise CheckpointError(
                        path, f"holds {name} again, after {found[name].path.name}", "keep one of them"
                    )
                found[name] = Place(path, name, entry)
        first = next(iter(paths))
        where = str(first if len(paths) == 1 else first.parent)
        return _sorted_out(where, found)

    def names(self) -> Collection[str]:
        return self.places.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._place(name).entry.shape

    def dtype(self, name: str) -> torch.dtype:
        import torch

        place = self._place(name)
        return {
            "F32": torch.float32,
            "F16": torch.float16,
            "BF16": torch.bfloat16,
            "F8_E4M3": torch.float8_e4m3fn if len(place.entry.shape) == 2 else torch.bfloat16,
        }[place.entry.dtype]

    def read(self, name: str, device: str | torch.device = "cpu") -> Stored:
        import torch

        place = self._place(name)
        values = self._open.read(place, device)
        if place.entry.dtype != "F8_E4M3":
            return values
        stored = self.scales.get(name)
        scale = torch.ones((), device=values.device) if stored is None else self._open.read(stored, device).float()
        scaled = Scaled(values=values, scale=_shaped(scale))
        return scaled if values.ndim == 2 else scaled.dequantised(torch.bfloat16)

    def raw(self, name: str) -> bytes:
        """The tensor as it lies in the file, read without torch."""
        place = self._place(name)
        with place.path.open("rb") as file:
            file.seek(place.entry.begin)
            return file.read(place.entry.bytes)

    def _place(self, name: str) -> Place:
        try:
            return self.places[name]
        except KeyError:
            raise CheckpointError(self.where, f"has no tensor {name}", "is it another model?") from None


class _Handles:
    """Open files, one per path and device, opened when they are first read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: dict[tuple[Path, str], Any] = {}

    def read(self, place: Place, device: str | torch.device) -> Tensor:
        try:
            return self._handle(place.path, str(device)).get_tensor(place.name)
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(place.path, f"{place.name} cannot be read: {error}", DAMAGED) from error
        except Exception as error:
            if type(error).__name__ != "SafetensorError":  # derives from nothing narrower
                raise
            raise CheckpointError(place.path, f"{place.name} cannot be read: {error}", DAMAGED) from error

    def _handle(self, path: Path, device: str) -> Any:
        from safetensors import safe_open

        with self._lock:
            if (path, device) not in self._handles:
                self._handles[path, device] = safe_open(str(path), framework="pt", device=device)
            return self._handles[path, device]


def _shaped(scale: Tensor) -> Tensor:
    """() or (out, 1), whichever of the usual spellings it came in."""
    return scale.reshape(()) if scale.numel() == 1 else scale.reshape(-1, 1)


def _sorted_out(where: str, found: Mapping[str, Place]) -> Files:
    """Tell tensors, scales, markers and strangers apart."""
    outer = naming.prefix(found.keys())
    places: dict[str, Place] = {}
    scales: dict[str, Place] = {}
    strangers: list[str] = []
    for name, place in found.items():
        bare = name.removeprefix(outer)
        owner, _, leaf = bare.rpartition(".")
        if bare.endswith(naming.IGNORED):
            continue
        if leaf in naming.SCALES and (module := naming.module(owner)):
            scales[f"{module}.weight"] = place
        elif known := naming.parameter(bare):
            places[known] = place
        else:
            strangers.append(name)
    if not any(name.startswith("blocks.") for name in places):
        shown = ", ".join(sorted(found)[:3])
        raise CheckpointError(where, f"is no Wan transformer; it holds {shown} …", "name the transformer's weights")
    _check_quantisation(where, places, scales)
    return Files(where=where, places=places, scales=scales, strangers=tuple(strangers))


def _check_quantisation(where: str, places: Mapping[str, Place], scales: Mapping[str, Place]) -> None:
    for name, place in places.items():
        if place.entry.dtype not in READABLE:
            found = f"{name} is {place.entry.dtype}, and only {', '.join(READABLE)} are read"
            raise CheckpointError(where, found, "use the bf16 or the fp8 (e4m3) file of these weights")
    for name, scale in scales.items():
        weight = places.get(name)
        if weight is None or weight.entry.dtype != "F8_E4M3":
            raise CheckpointError(where, f"has {scale.name} without a matrix in fp8", "the file is incomplete")
        rows = weight.entry.shape[0]
        if scale.entry.shape not in ((), (1,), (1, 1), (rows,), (rows, 1)) or scale.entry.dtype not in READABLE[:3]:
            found = f"{scale.name} is {scale.entry.dtype} {list(scale.entry.shape)}, for {rows} rows"
            raise CheckpointError(where, found, "one scale for the matrix or one for each row is read")
    matrices = sorted(
        n for n, place in places.items() if place.entry.dtype == "F8_E4M3" and len(place.entry.shape) == 2
    )
    bare = [name for name in matrices if name not in scales]
    if scales and bare:
        found = f"{len(bare)} of {len(matrices)} matrices in fp8 have no scale, as {bare[0]}"
        raise CheckpointError(where, found, "the file is incomplete: fetch it again")

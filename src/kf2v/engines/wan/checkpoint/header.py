"""The header of a safetensors file: what tensors it says it holds, believed only as far as the file's size bears out.

Knows nothing of torch, so that files can be checked where there is none.
Format: https://huggingface.co/docs/safetensors (8 bytes length, little-endian; JSON; the tensors, without gaps).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

from kf2v.engines.wan.fault import CheckpointError

#: bytes of one element
WIDTHS = {
    "F64": 8, "I64": 8, "U64": 8, "C64": 8,
    "F32": 4, "I32": 4, "U32": 4,
    "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip

#: the format's own limit
LONGEST_HEADER = 100_000_000

DAMAGED = "download it again, the rest is kept: kf2v models pull"

#: how files begin that are something else under the same name
IMPOSTORS = {
    b"version https://git-lfs": ("is a Git LFS pointer, not the file", "fetch it: git lfs pull, or: kf2v models pull"),
    b"GGUF": ("is GGUF, which is not read", "use bf16 or fp8 safetensors"),
    b"PK\x03\x04": ("is a zip or a PyTorch file", "use the safetensors file of these weights"),
    b"<!DOCTYPE": ("is a web page", DAMAGED),
    b"<html": ("is a web page", DAMAGED),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor as the header describes it."""

    dtype: str
    shape: tuple[int, ...]
    #: the first byte of its values, counted from the beginning of the file
    begin: int = 0

    @property
    def bytes(self) -> int:
        """How long its values are."""
        return math.prod(self.shape) * WIDTHS[self.dtype]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """All tensors of one file, and what its maker noted."""

    path: Path
    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Read and check the header of ``path``. Raises CheckpointError."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(32)
            _refuse_impostors(path, start, size)
            length = int.from_bytes(start[:8], "little")
            if length > size - 8 or length > LONGEST_HEADER:
                raise CheckpointError(
                    path, f"says that its header has {length} bytes, and has {size} bytes in all", DAMAGED
                )
            file.seek(8)
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(path, _plainly(error), "see what is there: kf2v models check") from error
    return _parse(path, text, size - 8 - length)


def _refuse_impostors(path: Path, start: bytes, size: int) -> None:
    for beginning, (what, remedy) in IMPOSTORS.items():
        if start.lower().startswith(beginning.lower()):
            raise CheckpointError(path, what, remedy)
    if size < 8:
        raise CheckpointError(path, f"has {size} bytes and cannot be a safetensors file", DAMAGED)


def _plainly(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is not there"
    return f"cannot be read: {error.strerror or error}"


def _parse(path: Path, text: bytes, room: int) -> Header:
    try:
        told = json.loads(text)
        if not isinstance(told, dict):
            raise TypeError("not an object")
        notes = told.pop("__metadata__", {})
        metadata = {str(key): str(value) for key, value in dict(notes).items()}
        spans = {str(name): _span(entry, 8 + len(text)) for name, entry in cast("dict[str, object]", told).items()}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(path, f"has a header that cannot be read ({error})", DAMAGED) from error
    _check_spans(path, spans, room)
    return Header(path=path, entries={name: entry for name, (entry, _, _) in spans.items()}, metadata=metadata)


def _span(told: object, after: int) -> tuple[Entry, int, int]:
    if not isinstance(told, dict):
        raise TypeError("an entry that is no object")
    fields = cast("dict[str, object]", told)
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if dtype not in WIDTHS:
        raise ValueError(f"unknown dtype {dtype!r}")
    numbers = [*cast("list[object]", shape), *cast("list[object]", offsets)]
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers):
        raise ValueError("a size that is no count")
    begin, end = cast("list[int]", offsets)
    entry = Entry(dtype=str(dtype), shape=tuple(cast("list[int]", shape)), begin=after + begin)
    if end - begin != entry.bytes:
        raise ValueError(f"{entry.dtype} {list(entry.shape)} in {end - begin} bytes")
    return entry, begin, end


def _check_spans(path: Path, spans: Mapping[str, tuple[Entry, int, int]], room: int) -> None:
    order = sorted((begin, end) for _, begin, end in spans.values())
    end = order[-1][1] if order else 0
    if end > room:
        raise CheckpointError(path, f"is cut short: {end - room} of {end} bytes of tensors are missing", DAMAGED)
    if end != room or (order and order[0][0] != 0) or any(one[1] != next_[0] for one, next_ in pairwise(order)):
        raise CheckpointError(path, "has tensors that overlap or leave gaps", DAMAGED)

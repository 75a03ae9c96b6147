"""Where the weights of a transformer's blocks wait: on the device, or in host memory and copied ahead of their use.

Knows no layers: a block is named tensors, and they come out as they went in. Not run on a GPU yet; on a CPU the same
slots turn with plain copies.
"""

from __future__ import annotations

import contextlib
import logging
import math
import weakref
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Block: TypeAlias = Mapping[str, Tensor]

#: tensors in a packed block begin at multiples of so many bytes: what cuBLAS and vector loads like
ALIGNMENT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Offload:
    """How much stays on the device."""

    #: so many first blocks never leave it
    resident: int = 0
    #: so many blocks are copied ahead of the one in use; each costs its size on the device
    ahead: int = 1

    def __post_init__(self) -> None:
        if self.resident < 0 or self.ahead < 1:
            raise ValueError(f"resident ≥ 0 and ahead ≥ 1, not {self}")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a packed block a tensor lies."""

    start: int
    shape: torch.Size
    dtype: torch.dtype

    def of(self, packed: Tensor) -> Tensor:
        size = math.prod(self.shape) * self.dtype.itemsize
        return packed[self.start : self.start + size].view(self.dtype).view(self.shape)


@dataclass(frozen=True, slots=True)
class _Packed:
    """A block as one run of bytes, so that it is copied at once."""

    #: [bytes] uint8, on the host
    bytes: Tensor
    places: Mapping[str, _Place]

    def within(self, room: Tensor) -> Block:
        return {name: place.of(room) for name, place in self.places.items()}


class Lane(Protocol):
    """How copies run beside the work."""

    def copy(self, slot: int, room: Tensor, packed: Tensor) -> None:
        """Begin to copy ``packed`` into ``room``, once the work that was last given ``slot`` is done."""
        ...

    def arrive(self, slot: int) -> None:
        """Make the work that follows wait for the last copy into ``slot``."""
        ...

    def leave(self, slot: int) -> None:
        """The work begun so far is the last that needs ``slot``."""
        ...


class Blocks:
    """All blocks of one transformer, in order."""

    def __init__(self, device: torch.device | str, offload: Offload | None = None, lane: Lane | None = None) -> None:
        """``offload`` None keeps everything on the device."""
        self._device = torch.device(device)
        self._offload = offload
        self._here: list[Block] = []
        self._away: list[_Packed] = []
        self._rooms: list[Tensor] = []
        self._lane = lane or (_CudaLane(self._device) if self._device.type == "cuda" else _PlainLane())
        #: copies begun since the last interruption: copy number n is of block n mod count, in slot n mod slots
        self._begun = 0
        self._used = 0

    def __len__(self) -> int:
        return len(self._here) + len(self._away)

    @property
    def device_bytes(self) -> int:
        """What is taken on the device by blocks and slots."""
        kept = sum(t.numel() * t.element_size() for block in self._here for t in block.values())
        return kept + sum(room.numel() for room in self._rooms)

    @property
    def host_bytes(self) -> int:
        return sum(packed.bytes.numel() for packed in self._away)

    def add(self, block: Block) -> None:
        """Take the next block; its tensors are on the device."""
        if self._offload is None or len(self) < self._offload.resident:
            self._here.append(dict(block))
            return
        self._away.append(_packed(block, pin=self._device.type == "cuda"))
        size = self._away[-1].bytes.numel()
        if not self._rooms or self._rooms[0].numel() < size:
            slots = self._offload.ahead + 1
            self._rooms = [torch.empty(size, dtype=torch.uint8, device=self._device) for _ in range(slots)]

    def each(self) -> Generator[Block]:
        """The blocks one after the other, on the device; each is there until the next one is asked for.

        One pass at a time. A pass may be left in the middle.
        """
        yield from self._here
        finished = False
        try:
            for packed in self._away:
                self._copy_ahead()
                slot = self._used % len(self._rooms)
                self._lane.arrive(slot)
                self._used += 1
                try:
                    yield packed.within(self._rooms[slot])
                finally:  # also where a pass is left here: the next one fills other slots first
                    self._lane.leave(slot)
            finished = True
        finally:
            if not finished:
                self._restart()

    def _restart(self) -> None:
        """The next pass begins with the first block, in slots that nothing is on its way to."""
        for number in range(self._used, self._begun):
            slot = number % len(self._rooms)
            self._lane.arrive(slot)
            self._lane.leave(slot)
        self._begun = self._used = 0

    def _copy_ahead(self) -> None:
        """Begin copies for every slot that is free: the next pass's first blocks follow this one's last."""
        while self._begun < self._used + len(self._rooms):
            slot = self._begun % len(self._rooms)
            packed = self._away[self._begun % len(self._away)]
            self._lane.copy(slot, self._rooms[slot], packed.bytes)
            self._begun += 1


class _PlainLane:
    """Copies that are done when they return."""

    def copy(self, slot: int, room: Tensor, packed: Tensor) -> None:  # noqa: ARG002
        room[: packed.numel()].copy_(packed)

    def arrive(self, slot: int) -> None: ...

    def leave(self, slot: int) -> None: ...


class _CudaLane:
    """Copies on a stream of their own; work and copies wait for each other by events."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._copied: dict[int, torch.cuda.Event] = {}
        self._left: dict[int, torch.cuda.Event] = {}

    def copy(self, slot: int, room: Tensor, packed: Tensor) -> None:
        if slot in self._left:
            self._stream.wait_event(self._left[slot])
        else:  # the room itself was made by the working stream, which may still be busy with what lay there before
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
        self._copied.setdefault(slot, torch.cuda.Event())
        with torch.cuda.stream(self._stream):
            room[: packed.numel()].copy_(packed, non_blocking=True)
            self._copied[slot].record(self._stream)

    def arrive(self, slot: int) -> None:
        torch.cuda.current_stream(self._device).wait_event(self._copied[slot])

    def leave(self, slot: int) -> None:
        self._left.setdefault(slot, torch.cuda.Event()).record(torch.cuda.current_stream(self._device))


def _packed(block: Block, *, pin: bool) -> _Packed:
    places: dict[str, _Place] = {}
    end = 0
    for name, tensor in block.items():
        places[name] = _Place(end, tensor.shape, tensor.dtype)
        end += math.ceil(tensor.numel() * tensor.element_size() / ALIGNMENT) * ALIGNMENT
    room = torch.empty(end, dtype=torch.uint8)
    if pin:
        _pin(room)
    for name, place in places.items():
        place.of(room).copy_(block[name])
    return _Packed(room, places)


def _pin(room: Tensor) -> None:
    """Lock ``room`` in memory, so that copies run beside the work; without the right to, they are only slower.

    torch's own pinned tensors are rounded up to a power of two, which for a block of 340 MB is half as much again.
    """
    runtime: Any = torch.cuda.cudart()
    with contextlib.suppress(RuntimeError):
        if int(runtime.cudaHostRegister(room.data_ptr(), room.numel(), 0)) == 0:
            weakref.finalize(room, runtime.cudaHostUnregister, room.data_ptr())
            return
    _forgive()
    log.warning("host memory could not be pinned; blocks will be copied more slowly")


def _forgive() -> None:
    """Have CUDA report a call that failed now: it would be told of the next kernel, which has done nothing wrong.

    torch offers no way to ask for it but to start one.
    """
    with contextlib.suppress(RuntimeError):
        torch.zeros(1, device="cuda").item()

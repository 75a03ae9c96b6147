"""Blocks that wait in host memory: the same results, and nothing used before it came or overwritten before it was."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from kf2v.engines.wan import offload as offloading
from kf2v.engines.wan.dit import Dit
from kf2v.engines.wan.offload import Block, Blocks, Offload
from kf2v.engines.wan.ops import Ops
from wan import tiny
from wan.drawn import DrawnSource, drawn_block_shape
from wan.test_wan_dit import HeldSource, inputs

SHAPE = replace(tiny.FLF2V_SHAPE, layers=5)


def block(index: int, *, size: int = 7) -> Block:
    """Of several dtypes and sizes, none a multiple of anything."""
    return {
        "weight": torch.full((size, 3), index, dtype=torch.bfloat16),
        "coded": torch.full((5, 5), index, dtype=torch.float32).to(torch.float8_e4m3fn),
        "scale": torch.tensor(float(index)),
        "bias": torch.full((3,), float(index)),
    }


def numbers_of(blocks: Blocks) -> list[float]:
    """Each block's index, checked to be the same in all its tensors at the time it is handed out."""
    seen = []
    with closing(blocks.each()) as each:
        for one in each:
            (index,) = {float(value) for tensor in one.values() for value in tensor.float().flatten().unique()}
            seen.append(index)
    return seen


@pytest.mark.parametrize("resident", [0, 1, 3, 9])
@pytest.mark.parametrize("ahead", [1, 2, 7])
@pytest.mark.parametrize("count", [1, 4, 5])
def test_blocks_come_in_order_pass_after_pass(resident: int, ahead: int, count: int) -> None:
    blocks = Blocks("cpu", Offload(resident=resident, ahead=ahead))
    for index in range(count):
        blocks.add(block(index, size=7 + index % 2))
    assert len(blocks) == count
    for _ in range(3):
        assert numbers_of(blocks) == list(range(count))


def test_a_pass_left_in_the_middle_does_not_disturb_the_next() -> None:
    blocks = Blocks("cpu", Offload(ahead=2))
    for index in range(5):
        blocks.add(block(index))
    for stop in range(5):
        with closing(blocks.each()) as each:
            for index, _ in enumerate(each):
                if index == stop:
                    break
        assert numbers_of(blocks) == [0, 1, 2, 3, 4]


def test_tensors_come_out_as_they_went_in() -> None:
    blocks = Blocks("cpu", Offload())
    blocks.add(block(3))
    with closing(blocks.each()) as each:
        found = next(each)
        for name, tensor in block(3).items():
            assert found[name].dtype == tensor.dtype
            assert found[name].shape == tensor.shape
            assert torch.equal(found[name].float(), tensor.float())


def test_without_offload_the_blocks_are_the_tensors_themselves() -> None:
    blocks, given = Blocks("cpu"), block(1)
    blocks.add(given)
    with closing(blocks.each()) as each:
        assert next(each)["weight"] is given["weight"]
    assert blocks.host_bytes == 0


def test_only_slots_and_residents_are_on_the_device() -> None:
    everything, few = Blocks("cpu"), Blocks("cpu", Offload(resident=1, ahead=1))
    for index in range(10):
        everything.add(block(index))
        few.add(block(index))
    one = everything.device_bytes // 10
    assert few.device_bytes < 4 * one + 8 * 256
    assert few.host_bytes >= 9 * one


class Slow:
    """A lane whose copies arrive only when they are waited for, and which knows what is still being read."""

    def __init__(self) -> None:
        self.pending: dict[int, tuple[Tensor, Tensor]] = {}
        self.reading: set[int] = set()

    def copy(self, slot: int, room: Tensor, packed: Tensor) -> None:
        assert slot not in self.reading, "overwritten while in use"
        assert slot not in self.pending, "overwritten before it arrived"
        room.fill_(255)
        self.pending[slot] = (room, packed)

    def arrive(self, slot: int) -> None:
        room, packed = self.pending.pop(slot)
        room[: packed.numel()].copy_(packed)
        self.reading.add(slot)

    def leave(self, slot: int) -> None:
        self.reading.remove(slot)


@pytest.mark.parametrize("ahead", [1, 3])
def test_blocks_are_waited_for_and_left_before_their_slot_is_filled_again(ahead: int) -> None:
    lane = Slow()
    blocks = Blocks("cpu", Offload(ahead=ahead), lane)
    for index in range(4):
        blocks.add(block(index))
    for _ in range(3):
        assert numbers_of(blocks) == [0, 1, 2, 3]
    # what comes first next time is on its way already
    assert len(lane.pending) == ahead


@pytest.mark.parametrize("ahead", [1, 2, 3])
@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_a_pass_left_in_the_middle_leaves_its_slots(ahead: int, stop: int) -> None:
    blocks = Blocks("cpu", Offload(ahead=ahead), lane := Slow())
    for index in range(4):
        blocks.add(block(index))
    with closing(blocks.each()) as each:
        for index, _ in enumerate(each):
            if index == stop:
                break
    assert not lane.reading
    assert numbers_of(blocks) == [0, 1, 2, 3]


@pytest.mark.parametrize(("status", "forgiven"), [(0, 0), (712, 1)])
def test_memory_that_cannot_be_pinned_is_not_held_against_the_next_kernel(
    status: int, forgiven: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Runtime:
        cudaHostRegister = staticmethod(lambda *_: status)
        cudaHostUnregister = staticmethod(lambda *_: 0)

    asked: list[int] = []
    monkeypatch.setattr("torch.cuda.cudart", Runtime)
    monkeypatch.setattr("kf2v.engines.wan.offload._forgive", lambda: asked.append(1))
    offloading._pin(torch.empty(4, dtype=torch.uint8))
    assert len(asked) == forgiven


@pytest.mark.parametrize("offload", [Offload(), Offload(ahead=3), Offload(resident=2)])
def test_a_transformer_in_host_memory_gives_the_same_velocity(offload: Offload) -> None:
    torch.manual_seed(2)
    state = tiny.transformer(SHAPE).state_dict()
    latents, text, image = inputs(SHAPE)
    velocities = []
    for where in (None, offload):
        dit = Dit(SHAPE, HeldSource(state), Ops.reference(), "cpu", torch.float32, offload=where)
        context = dit.prepare(text, image)
        velocities += [dit.forward(latents, t, context) for t in (900.0, 500.0)]
    assert torch.equal(velocities[0], velocities[2])
    assert torch.equal(velocities[1], velocities[3])


def test_a_forward_called_off_leaves_an_offloaded_transformer_as_it_was() -> None:
    dit = Dit(SHAPE, HeldSource(tiny.transformer(SHAPE).state_dict()), Ops.reference(), "cpu", offload=Offload())
    latents, text, image = inputs(SHAPE)
    context = dit.prepare(text, image)
    whole = dit.forward(latents, 900.0, context)

    def stop(index: int) -> None:
        if index == 2:
            raise KeyboardInterrupt

    held = None
    try:
        dit.forward(latents, 900.0, context, stop)
    except KeyboardInterrupt as error:
        held = error  # with its traceback, as a logger would
    assert torch.equal(dit.forward(latents, 900.0, context), whole)
    assert held is not None


def test_fp8_weights_are_offloaded_in_fp8() -> None:
    shape = drawn_block_shape(heads=1, ffn=256, layers=2)
    ops = Ops.best("cpu", linear="fp8_row")
    latents, text, _ = inputs(shape)
    found = []
    for offload in (None, Offload()):
        dit = Dit(shape, DrawnSource(shape), ops, "cpu", offload=offload)
        found.append(dit.forward(latents, 900.0, dit.prepare(text)))
    assert torch.equal(*found)
    assert dit.host_bytes < 1.3 * sum(t.numel() for t in matrices(shape))


def matrices(shape: tiny.DitShape) -> list[Tensor]:
    shapes = [s for name, s in shape.tensors().items() if name.startswith("blocks.") and len(s) == 2]
    return [torch.empty(s, device="meta") for s in shapes]


@pytest.mark.parametrize("wrong", [{"resident": -1}, {"ahead": 0}])
def test_odd_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="not Offload"):
        Offload(**wrong)

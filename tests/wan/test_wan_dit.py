"""The transformer against diffusers' own, in both families."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from kf2v.engines.wan.checkpoint import Scaled
from kf2v.engines.wan.dit import Dit
from kf2v.engines.wan.family import A14B, FLF2V, DitShape
from kf2v.engines.wan.flops import flops
from kf2v.engines.wan.guidance import Nag
from kf2v.engines.wan.ops import Ops
from kf2v.engines.wan.pace import Pace
from wan import tiny
from wan.drawn import DrawnSource, drawn_block_shape

SHAPES = {"wan2.1-flf2v": tiny.FLF2V_SHAPE, "wan2.2-a14b": tiny.A14B_SHAPE}


class HeldSource:
    """A TensorSource over tensors in memory, which counts what is read."""

    where = "memory"

    def __init__(self, tensors: Mapping[str, Tensor | Scaled]) -> None:
        self._tensors = dict(tensors)
        self.reads: list[str] = []

    def names(self) -> Collection[str]:
        return self._tensors.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name].shape)

    def dtype(self, name: str) -> torch.dtype:
        found = self._tensors[name]
        return found.dtype if isinstance(found, Tensor) else found.values.dtype

    def read(self, name: str, device: str | torch.device = "cpu") -> Tensor | Scaled:
        self.reads.append(name)
        found = self._tensors[name]
        return found.to(device) if isinstance(found, Tensor) else found


def inputs(shape: DitShape, seed: int = 3) -> tuple[Tensor, Tensor, Tensor | None]:
    """Latents, text and image for a small video of an odd shape."""
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(1, 36, 3, 6, 10, generator=generator)
    text = torch.randn(1, 512, shape.text_dim, generator=generator)
    text[:, 7:] = 0
    image = None if shape.image_dim is None else torch.randn(1, 514, shape.image_dim, generator=generator)
    return latents, text, image


def apart(found: Tensor, expected: Tensor) -> float:
    """Relative distance."""
    return ((found.float() - expected.float()).norm() / expected.float().norm()).item()


def theirs(model: torch.nn.Module, latents: Tensor, t: float, text: Tensor, image: Tensor | None) -> Tensor:
    # two pictures of 257 tokens each, as the pipeline hands them over
    pictures = None if image is None else image.reshape(2, 257, -1)
    with torch.no_grad():
        return model(latents, torch.tensor([t]), text, pictures, return_dict=False)[0]


@pytest.mark.parametrize("family", SHAPES)
@pytest.mark.parametrize("t", [999.0, 833.3333, 74.0])
def test_a_forward_is_that_of_diffusers(family: str, t: float) -> None:
    shape = SHAPES[family]
    torch.manual_seed(1)
    model = tiny.transformer(shape)
    latents, text, image = inputs(shape)
    dit = Dit(shape, HeldSource(model.state_dict()), Ops.reference(), "cpu", torch.float32)
    found = dit.forward(latents, t, dit.prepare(text, image))
    expected = theirs(model, latents, t, text, image)
    assert found.shape == expected.shape == (1, 16, 3, 6, 10)
    assert apart(found, expected) <= 1e-5


@pytest.mark.parametrize("family", SHAPES)
def test_a_forward_in_bf16_is_near_that_in_fp32(family: str) -> None:
    shape = SHAPES[family]
    torch.manual_seed(1)
    state = tiny.transformer(shape).state_dict()
    latents, text, image = inputs(shape)
    exact = Dit(shape, HeldSource(state), Ops.reference(), "cpu", torch.float32)
    half = Dit(shape, HeldSource(state), Ops.reference(), "cpu", torch.bfloat16)
    expected = exact.forward(latents, 900.0, exact.prepare(text, image))
    found = half.forward(latents, 900.0, half.prepare(text, image))
    assert found.dtype == torch.bfloat16
    assert apart(found, expected) <= 2e-2


@pytest.mark.parametrize("family", SHAPES)
def test_every_tensor_is_read_once_and_none_is_left_out(family: str) -> None:
    shape = SHAPES[family]
    source = HeldSource(tiny.transformer(shape).state_dict())
    Dit(shape, source, Ops.reference(), "cpu", torch.float32)
    assert sorted(source.reads) == sorted(shape.tensors())


def test_weights_are_read_block_by_block() -> None:
    shape = replace(tiny.A14B_SHAPE, layers=3)
    source = HeldSource(tiny.transformer(shape).state_dict())
    told: list[int] = []
    Dit(shape, source, Ops.reference(), "cpu", torch.float32, on_block=told.append)
    order = [name.split(".")[1] for name in source.reads if "blocks." in name and "table" not in name]
    assert order == sorted(order)
    assert told == [0, 1, 2]


def test_a_forward_tells_of_every_block_and_can_be_stopped_at_any() -> None:
    shape = tiny.A14B_SHAPE
    dit = Dit(shape, HeldSource(tiny.transformer(shape).state_dict()), Ops.reference(), "cpu", torch.float32)
    latents, text, _ = inputs(shape)
    context, heard = dit.prepare(text), []
    whole = dit.forward(latents, 500.0, context, heard.append)
    assert heard == [0, 1]

    def stop(index: int) -> None:
        raise KeyboardInterrupt(index)

    with pytest.raises(KeyboardInterrupt):
        dit.forward(latents, 500.0, context, stop)
    assert torch.equal(dit.forward(latents, 500.0, context), whole)


def test_a_context_serves_any_number_of_steps() -> None:
    shape = tiny.FLF2V_SHAPE
    source = HeldSource(tiny.transformer(shape).state_dict())
    dit = Dit(shape, source, Ops.reference(), "cpu", torch.float32)
    latents, text, image = inputs(shape)
    context = dit.prepare(text, image)
    first = dit.forward(latents, 500.0, context)
    dit.forward(latents * 2, 100.0, context)
    assert torch.equal(dit.forward(latents, 500.0, context), first)
    assert context.nbytes == shape.layers * 2 * (512 + 514) * shape.width * 4


@pytest.mark.parametrize(
    ("text", "image", "wrong"),
    [
        ((1, 511, 32), (1, 514, 16), "text is"),
        ((1, 512, 32), None, "exactly where"),
        ((1, 512, 32), (1, 257, 16), "514 tokens, not 257"),
        ((1, 512, 32), (1, 514, 17), "image is"),
    ],
)
def test_contexts_of_other_shapes_are_refused(text: tuple[int, ...], image: tuple[int, ...] | None, wrong: str) -> None:
    dit = Dit(tiny.FLF2V_SHAPE, HeldSource(tiny.transformer(tiny.FLF2V_SHAPE).state_dict()), Ops.reference(), "cpu")
    with pytest.raises(ValueError, match=wrong):
        dit.prepare(torch.zeros(text), None if image is None else torch.zeros(image))


@pytest.mark.parametrize("shape", [(1, 36, 2, 5, 4), (1, 16, 2, 4, 4), (2, 36, 2, 4, 4), (36, 2, 4, 4)])
def test_latents_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    dit = Dit(tiny.A14B_SHAPE, HeldSource(tiny.transformer(tiny.A14B_SHAPE).state_dict()), Ops.reference(), "cpu")
    context = dit.prepare(torch.zeros(1, 512, 32))
    with pytest.raises(ValueError, match="latents"):
        dit.forward(torch.zeros(shape), 500.0, context)


class Marks:
    """A queue of work whose marks say when they are waited for."""

    def __init__(self) -> None:
        self.made = 0
        self.waited: list[int] = []

    def __call__(self) -> SimpleNamespace:
        self.made += 1
        number = self.made
        return SimpleNamespace(synchronize=lambda: self.waited.append(number))


def test_the_host_never_runs_more_than_one_block_ahead() -> None:
    marks = Marks()
    pace = Pace(torch.device("cpu"), ahead=1, mark=marks)
    ahead = []
    for _ in range(5):
        pace.step()
        ahead.append(marks.made - len(marks.waited))
    assert ahead == [1, 1, 1, 1, 1]
    assert marks.waited == [1, 2, 3, 4]


def test_slow_blocks_are_waited_for_one_by_one_and_fast_ones_no_longer() -> None:
    """So that calling off costs one block."""
    marks, times = Marks(), iter([0.0, 2.0, 4.0, 6.0, 6.1, 6.2, 6.3, 6.4])
    pace = Pace(torch.device("cpu"), ahead=1, mark=marks, clock=lambda: next(times))
    ahead = []
    for _ in range(7):
        pace.step()
        ahead.append(marks.made - len(marks.waited))
    assert ahead == [1, 1, 0, 0, 0, 1, 1]


def test_a_pass_left_in_the_middle_leaves_nothing_to_wait_for() -> None:
    marks, times = Marks(), iter([0.0, 2.0, 9.0])
    pace = Pace(torch.device("cpu"), ahead=1, mark=marks, clock=lambda: next(times))
    pace.step()
    pace.begin()
    pace.step()
    assert marks.waited == []
    pace.step()
    assert marks.waited == [2]


@pytest.mark.parametrize(("family", "total"), [(FLF2V, 1.694e15), (A14B, 1.678e15)], ids=lambda x: getattr(x, "id", ""))
def test_a_forward_at_480p_has_the_published_number_of_operations(family: object, total: float) -> None:
    shape = family.shape  # type: ignore[attr-defined]
    assert flops(shape, (21, 30, 52)).total == pytest.approx(total, rel=2e-3)


@pytest.mark.parametrize("shape", [FLF2V.shape, A14B.shape], ids=["wan2.1-flf2v", "wan2.2-a14b"])
def test_operations_are_counted_as_torch_counts_them(shape: DitShape) -> None:
    small = replace(shape, layers=2)
    grid = (3, 8, 10)
    with torch.device("meta"):
        model = tiny.WanTransformer3DModel(**small.as_config())
        latents, text = torch.empty(1, 36, 3, 16, 20), torch.empty(1, 512, 4096)
        image = None if small.image_dim is None else torch.empty(2, 257, small.image_dim)
        t = torch.empty(1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(latents, t, text, image)
    assert flops(small, grid).total == pytest.approx(counter.get_total_flops(), rel=1e-3)


def test_our_own_forward_has_the_operations_it_says() -> None:
    shape = tiny.FLF2V_SHAPE
    # torch counts attention on the meta device, but not that of CPUs
    dit = Dit(shape, HeldSource(tiny.transformer(shape).state_dict()), Ops.reference(), "meta", torch.float32)
    latents, text, image = (x if x is None else x.to("meta") for x in inputs(shape))
    with FlopCounterMode(display=False) as counter:
        context = dit.prepare(text, image)
        prepared = counter.get_total_flops()
        dit.forward(latents, 500.0, context)
    said = flops(shape, (3, 3, 5))
    assert prepared == said.context
    assert counter.get_total_flops() - prepared == said.forward


def test_guidance_in_attention_costs_one_cross_attention() -> None:
    grid = (21, 30, 52)
    plain, guided = flops(A14B.shape, grid), flops(A14B.shape, grid, nag=True)
    assert guided.forward - plain.forward == 40 * 4 * 32_760 * 512 * 5120
    assert guided.forward / plain.forward < 1.01


REAL_WIDTHS = {"a quarter of the heads": drawn_block_shape(heads=10, ffn=3456)}


@pytest.mark.parametrize("linear", ["fp8_row", "fp8_tensor"])
@pytest.mark.parametrize("attention", ["sdpa", "emulated_fp8"])
def test_one_block_in_fp8_points_where_the_block_in_fp32_does(linear: str, attention: str) -> None:
    """One block of 10 heads of 128 (a quarter of the width), 48 tokens, with and without fp8 attention."""
    shape = REAL_WIDTHS["a quarter of the heads"]
    source = DrawnSource(shape, seed=4)
    latents, text, _ = inputs(shape)
    latents = latents[:, :, :, :4, :8]
    exact = Dit(shape, source, Ops.reference(), "cpu", torch.float32)
    coded = Dit(shape, source, Ops.best("cpu", linear=linear, attention=attention), "cpu", torch.bfloat16)
    expected = exact.forward(latents, 900.0, exact.prepare(text))
    found = coded.forward(latents, 900.0, coded.prepare(text))
    assert torch.nn.functional.cosine_similarity(found.float().flatten(), expected.flatten(), dim=0) >= 0.99


def test_nag_with_scale_one_is_no_guidance_and_with_more_it_is_some() -> None:
    shape = tiny.FLF2V_SHAPE
    dit = Dit(shape, HeldSource(tiny.transformer(shape).state_dict()), Ops.reference(), "cpu", torch.float32)
    latents, text, image = inputs(shape)
    positive, negative = dit.prepare(text, image), dit.prepare(text.flip(2), image)
    plain = dit.forward(latents, 900.0, positive)
    assert torch.equal(dit.forward(latents, 900.0, positive.avoiding(negative, Nag(scale=1))), plain)
    guided = dit.forward(latents, 900.0, positive.avoiding(negative, Nag()))
    assert apart(guided, plain) > 1e-3
    assert torch.isfinite(guided).all()
    # away from itself is nowhere
    assert apart(dit.forward(latents, 900.0, positive.avoiding(positive, Nag())), plain) <= 1e-6


def test_contexts_of_the_same_pictures_share_them() -> None:
    shape = tiny.FLF2V_SHAPE
    dit = Dit(shape, HeldSource(tiny.transformer(shape).state_dict()), Ops.reference(), "cpu", torch.float32)
    latents, text, image = inputs(shape)
    first, again = dit.prepare(text.flip(2), image), dit.prepare(text, image)
    shared = dit.prepare(text, like=first)
    assert shared.layers[1].image is first.layers[1].image
    assert torch.equal(dit.forward(latents, 900.0, shared), dit.forward(latents, 900.0, again))


def test_blocks_at_both_ends_can_be_kept_exact() -> None:
    shape = drawn_block_shape(heads=1, ffn=256, layers=3)
    source = DrawnSource(shape, seed=4)
    latents, text, _ = inputs(shape)
    latents = latents[:, :, :, :4, :8]
    found = {}
    for ends in (0, 1, 2):
        ops = Ops.best("cpu", attention="emulated_fp8", exact_ends=ends)
        dit = Dit(shape, source, ops, "cpu", torch.float32)
        found[ends] = dit.forward(latents, 900.0, dit.prepare(text))
    exact = Dit(shape, source, Ops.reference(), "cpu", torch.float32)
    expected = exact.forward(latents, 900.0, exact.prepare(text))
    assert torch.equal(found[2], expected)
    assert 0 < apart(found[1], expected) < apart(found[0], expected)

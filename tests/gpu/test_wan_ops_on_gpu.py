"""Every GPU variant of the wan engine's operations against plain torch, at real widths. Needs an NVIDIA card."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="the wan engine's operations need torch, which is not installed")

if TYPE_CHECKING:
    from torch import Tensor

    from kf2v.engines.wan.ops import AttentionName, LinearKind

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT TESTED: no CUDA device; GPU kernels stay unproven"),
]

WIDTH, HEADS, TOKENS = 5120, 40, 4096


@pytest.fixture(autouse=True)
def _freed() -> Iterator[None]:
    yield
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype | None = None) -> Tensor:
    generator = torch.Generator("cuda").manual_seed(seed)
    return torch.randn(*shape, generator=generator, device="cuda").to(dtype or torch.bfloat16)


def alike(found: Tensor, expected: Tensor) -> float:
    return torch.nn.functional.cosine_similarity(found.float().flatten(), expected.float().flatten(), dim=0).item()


@pytest.mark.parametrize(("outputs", "inputs"), [(3 * WIDTH, WIDTH), (13824, WIDTH), (WIDTH, 13824)])
@pytest.mark.parametrize(("kind", "least"), [("native", 0.9999), ("fp8_row", 0.999), ("fp8_tensor", 0.999)])
def test_a_linear_layer(kind: LinearKind, least: float, outputs: int, inputs: int) -> None:
    from kf2v.engines.wan.ops.linear import Weights, apply, quantised, quantised_rows

    if kind != "native" and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("this card has no fp8")
    weight, bias, x = numbers(outputs, inputs, seed=1) / inputs**0.5, numbers(outputs, seed=2), numbers(TOKENS, inputs)
    if kind == "native":
        weights = Weights(weight, None, bias)
    elif kind == "fp8_row":
        rows = quantised_rows(weight)
        weights = Weights(rows.values, rows.scale.t().contiguous(), bias)
    else:
        weights = Weights(*quantised(weight), bias)
    expected = torch.nn.functional.linear(x.float(), weight.float(), bias.float())
    assert alike(apply(x, weights, torch.bfloat16), expected) >= least
    if kind != "native":
        assert alike(apply(quantised_rows(x), weights, torch.bfloat16), expected) >= least


@pytest.mark.parametrize("name", ["cudnn", "cudnn_fp8", "flash", "sage"])
@pytest.mark.parametrize("read", [TOKENS, 512, 514])
def test_attention(name: AttentionName, read: int) -> None:
    from kf2v.engines.wan.ops import Unusable, attention
    from kf2v.engines.wan.ops.linear import dense

    found, passed = attention.attention(name, "cuda")
    if found.name != name:
        pytest.skip(f"NOT TESTED: {passed[0]}")
    # as the transformer has them: thirds of a row, with something in common among keys
    qkv = numbers(TOKENS, 3, HEADS, 128, seed=3)
    q, k, v = qkv[:, 0], qkv[:read, 1] + 5 * numbers(1, HEADS, 128, seed=4), qkv[:read, 2]
    variant = found.__dict__.get("_variants", [found])[0]
    try:
        out = variant(q, k, v)
    except Unusable as why:
        pytest.skip(f"NOT TESTED: {why}")
    expected = torch.nn.functional.scaled_dot_product_attention(*(x.float().transpose(0, 1)[None] for x in (q, k, v)))[
        0
    ]
    assert alike(dense(out, torch.float32), expected.transpose(0, 1).flatten(-2)) >= 0.99


def test_fused_norms() -> None:
    pytest.importorskip("triton", reason="NOT TESTED: Triton is not installed")
    from kf2v.engines.wan.ops import Rows
    from kf2v.engines.wan.ops.attention import cast_in_torch
    from kf2v.engines.wan.ops.kernels import TritonNorms, cast_tokens
    from kf2v.engines.wan.ops.norm import TorchNorms
    from kf2v.engines.wan.ops.rope import rope

    grid = (4, 16, 64)
    turns, x, y = rope(128, grid, "cuda"), numbers(TOKENS, WIDTH, seed=1), numbers(TOKENS, WIDTH, seed=2)
    factor, offset, gate = (numbers(WIDTH, seed=s, dtype=torch.float32) for s in (3, 4, 5))
    qkv, q_weight, k_weight = numbers(TOKENS, 3 * WIDTH, seed=6), numbers(WIDTH, seed=7), numbers(WIDTH, seed=8)
    wide = numbers(TOKENS, 13824, seed=9)
    runs: dict[str, Callable[[TorchNorms | TritonNorms], tuple[Tensor | Rows, ...]]] = {
        "turned": lambda n: n.turned(qkv.clone(), q_weight, k_weight, turns, 1e-6),
        "rms": lambda n: (n.rms(x, q_weight, 1e-6),),
        "steered": lambda n: (n.steered(x.clone(), y, 9.0, 2.5, 0.25),),
    }
    for rows in (False, True) if torch.cuda.get_device_capability() >= (8, 9) else (False,):
        runs |= {
            f"modulated {rows}": lambda n, r=rows: (n.modulated(x, factor, offset, 1e-6, rows=r),),
            f"added {rows}": lambda n, r=rows: n.added(x.clone(), y, gate, factor, offset, 1e-6, rows=r),
            f"added plainly {rows}": lambda n, r=rows: n.added(x.clone(), y, None, factor, offset, 1e-6, rows=r),
            f"gelu {rows}": lambda n, r=rows: (n.gelu(wide.clone(), rows=r),),
        }
    for name, run in runs.items():
        for ours, theirs in zip(run(TritonNorms()), run(TorchNorms()), strict=True):
            found, expected = (
                z.dequantised(torch.float32) if isinstance(z, Rows) else z.float() for z in (ours, theirs)
            )
            assert (found - expected).norm() / expected.norm() <= 2e-2, name
    if torch.cuda.get_device_capability() >= (8, 9):
        heads = qkv.unflatten(1, (3, HEADS, 128))[:, 1]
        mean, descale = heads.mean(0, dtype=torch.float32), torch.tensor(0.02, device="cuda")
        found, expected = (cast(heads, mean, descale).float() for cast in (cast_tokens, cast_in_torch))
        assert (found != expected).float().mean() <= 1e-3


def drawn(layers: int) -> tuple[object, object]:
    from kf2v.engines.wan.family import DitShape
    from wan.drawn import DrawnSource

    shape = DitShape(layers=layers, heads=HEADS, head_dim=128, ffn=13824, text_dim=64)
    return shape, DrawnSource(shape, dtype=torch.bfloat16)


def test_one_block_of_real_width_in_the_fastest_variants() -> None:
    from kf2v.engines.wan.dit import Dit
    from kf2v.engines.wan.ops import Ops

    shape, source = drawn(1)
    latents, text = numbers(1, 36, 5, 32, 56), numbers(1, 512, 64)
    exact = Dit(shape, source, Ops.reference(), "cuda", torch.float32)  # type: ignore[arg-type]
    expected = exact.forward(latents.float(), 900.0, exact.prepare(text.float()))
    del exact
    fast = Dit(shape, source, Ops.best("cuda"), "cuda")  # type: ignore[arg-type]
    context = fast.prepare(text)
    found = fast.forward(latents, 900.0, context)
    assert alike(found, expected) >= 0.99, str(fast.ops)
    assert torch.equal(found, fast.forward(latents, 900.0, context)), "the same twice"


def test_blocks_in_host_memory_give_the_same_bits() -> None:
    from kf2v.engines.wan.dit import Dit
    from kf2v.engines.wan.offload import Offload
    from kf2v.engines.wan.ops import Ops

    shape, source = drawn(3)
    ops = Ops.best("cuda")
    latents, text = numbers(1, 36, 3, 16, 16), numbers(1, 512, 64)
    found = []
    for offload in (None, Offload(), Offload(resident=1, ahead=1)):
        dit = Dit(shape, source, ops, "cuda", offload=offload)  # type: ignore[arg-type]
        context = dit.prepare(text)
        found += [dit.forward(latents, t, context) for t in (900.0, 500.0, 900.0)]
        del dit
    assert all(torch.equal(found[i], found[i % 3]) for i in range(len(found)))
    assert torch.equal(found[0], found[2])


def test_work_called_off_ends_within_two_seconds() -> None:
    """At 480P, with blocks that run one after the other and a listener that has had enough at the second."""
    from kf2v.engines.wan.dit import Dit
    from kf2v.engines.wan.ops import Ops

    shape, source = drawn(4)
    dit = Dit(shape, source, Ops.best("cuda"), "cuda")  # type: ignore[arg-type]
    context, latents = dit.prepare(numbers(1, 512, 64)), numbers(1, 36, 21, 60, 104)
    dit.forward(latents, 900.0, context)
    torch.cuda.synchronize()
    asked = 0.0

    def stop(index: int) -> None:
        nonlocal asked
        if index == 1:
            asked = time.monotonic()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dit.forward(latents, 900.0, context, stop)
    torch.cuda.synchronize()
    assert time.monotonic() - asked < 2

"""(a) What the GPU can do at all: the transformer's matrix products and its attention, alone, in every variant.

The products are those of one block at the real shapes; fp8 is timed on inputs that are coded already and, beside it,
with the coding, which the engine fuses into what comes before. Attention is timed whole, as it is called.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.wan.card import Taken, emptied, timed
from bench.wan.scale import Scale
from kf2v.engines.wan.limits import H100
from kf2v.engines.wan.ops import Unusable, Weights, linear
from kf2v.engines.wan.ops.attention import attention, coded

#: the order in which they are tried
VARIANTS = ("sdpa", "cudnn", "cudnn_fp8", "flash", "sage")


def measure(scale: Scale, device: torch.device) -> dict[str, Any]:
    """Everything of this step."""
    return {
        "ceilings": _ceilings(scale, device),
        "products": [row for tokens in scale.tokens.values() for row in _products(scale, tokens, device)],
        "attention": [row for tokens in scale.tokens.values() for row in _attention(scale, tokens, device)],
    }


def _ceilings(scale: Scale, device: torch.device) -> dict[str, float]:
    """A square product and a copy: what this very card reaches on what suits it best."""
    side = scale.square
    one, other = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = timed(lambda: one @ other, device)
    source = torch.randn(side * side * 8, device=device, dtype=torch.bfloat16)
    target = torch.empty_like(source)
    copy = timed(lambda: target.copy_(source), device)
    return {
        "bf16_tflops": 2 * side**3 / product.median / 1e12,
        "copy_tb_per_s": 2 * source.nbytes / copy.median / 1e12,
    }


def _products(scale: Scale, tokens: int, device: torch.device) -> Iterator[dict[str, Any]]:
    d, f = scale.shape.width, scale.shape.ffn
    shapes = {"q, k, v": (3 * d, d), "out": (d, d), "up": (f, d), "down": (d, f)}
    for name, (outputs, inputs) in shapes.items():
        x = torch.randn(tokens, inputs, device=device, dtype=torch.bfloat16)
        weight = torch.randn(outputs, inputs, device=device, dtype=torch.bfloat16) * inputs**-0.5
        bias = torch.randn(outputs, device=device, dtype=torch.bfloat16)
        for kind, work in _kinds(x, weight, bias).items():
            flops = 2.0 * tokens * outputs * inputs
            row = {"tokens": tokens, "product": name, "outputs": outputs, "inputs": inputs, "kind": kind}
            yield row | _told(work, flops, "fp8" if kind.startswith("fp8") else "bf16", device)
        emptied(device)


def _kinds(x: Tensor, weight: Tensor, bias: Tensor) -> dict[str, Callable[[], object]]:
    by_row, rows = linear.quantised_rows(weight), linear.quantised_rows(x)
    columns = by_row.scale.t().contiguous()  # [1, N]
    values, scale = linear.quantised(weight)
    x_values, x_scale = linear.quantised(x)
    plain = Weights(weight, None, bias)
    row_wise = Weights(by_row.values, columns, bias)
    tensor_wise = Weights(values, scale, bias)
    return {
        "bf16": lambda: linear.apply(x, plain, x.dtype),
        "fp8_row": lambda: linear.apply(rows, row_wise, x.dtype),
        "fp8_row, coded in torch": lambda: linear.apply(x, row_wise, x.dtype),
        "fp8_tensor": lambda: torch._scaled_mm(
            x_values, values.t(), scale_a=x_scale, scale_b=scale, bias=bias, out_dtype=x.dtype, use_fast_accum=True
        ),
        "fp8_tensor, coded in torch": lambda: linear.apply(x, tensor_wise, x.dtype),
    }


def _attention(scale: Scale, tokens: int, device: torch.device) -> Iterator[dict[str, Any]]:
    heads, channels = scale.shape.heads, scale.shape.head_dim
    q, k, v = (torch.randn(tokens, heads, channels, device=device, dtype=torch.bfloat16) for _ in range(3))
    flops = 4.0 * tokens * tokens * heads * channels
    facts = {"tokens": tokens}
    if device.type == "cuda":
        yield facts | {"kind": "sdpa, flash"} | _told(lambda: _flash(q, k, v), flops, "bf16", device)
    for name in VARIANTS:
        row = facts | {"kind": name}
        try:
            variant, passed = attention(name, device)  # type: ignore[arg-type]
        except Unusable as why:
            yield row | {"unusable": str(why)}
            continue
        if variant.name != name:
            yield row | {"unusable": "; ".join(passed)}
            continue
        told = _told(lambda variant=variant: variant(q, k, v), flops, "fp8" if "fp8" in name else "bf16", device)
        yield row | told | ({} if variant.name == name else {"unusable": f"{variant.name} stood in while it was timed"})
        emptied(device)
    coding = _told(lambda: coded(q, k, v), 1.0, "fp8", device)
    yield facts | {"kind": "coding q, k, v for fp8", "ms": coding.get("ms"), "unusable": coding.get("unusable")}


def _flash(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """FlashAttention 2, as torch carries it: what most pipelines run on."""
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        heads_first = (x.transpose(0, 1)[None] for x in (q, k, v))  # [1, N, L, D]
        return torch.nn.functional.scaled_dot_product_attention(*heads_first)


def _told(work: Callable[[], object], flops: float, limit: str, device: torch.device) -> dict[str, Any]:
    """Seconds of ``work``, or why it cannot be done here."""
    try:
        taken: Taken = timed(work, device)
    except (RuntimeError, Unusable) as why:
        return {"unusable": (str(why).splitlines() or [type(why).__name__])[0][:200]}
    return taken.told(flops, H100[limit])


def table(result: dict[str, Any]) -> Iterator[str]:
    """For reading."""
    ceilings = result["ceilings"]
    yield f"a square product {ceilings['bf16_tflops']:.0f} TFLOP/s, a copy {ceilings['copy_tb_per_s']:.2f} TB/s"
    yield f"{'tokens':>7}  {'what':28}{'ms':>9}{'TFLOP/s':>9}{'of limit':>9}"
    for row in [*result["products"], *result["attention"]]:
        name = f"{row['product']}: {row['kind']}" if "product" in row else f"attention: {row['kind']}"
        if row.get("unusable"):
            yield f"{row['tokens']:>7}  {name:28}  not here: {row['unusable']}"
        elif "tflops" in row:
            yield f"{row['tokens']:>7}  {name:28}{row['ms']:>9.2f}{row['tflops']:>9.0f}{row['share']:>9.0%}"
        else:
            yield f"{row['tokens']:>7}  {name:28}{row['ms']:>9.2f}"

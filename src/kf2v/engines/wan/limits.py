"""What a forward cannot be faster than: its operations over what a card reaches on a product that suits it best.

Knows no model; a card's limits are measured on it, or, for comparison with others' numbers, an H100's from the table.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch

from kf2v.engines.wan.ops.linear import Weights, apply, quantised_rows

if TYPE_CHECKING:
    from kf2v.engines.wan.flops import Flops

#: FLOP/s taken as an H100's ceiling, by kind of number: what results are shares of. bf16's was seen, fp8's is assumed
H100: Mapping[str, float] = {"bf16": 790e12, "fp8": 1500e12}
#: side of the square matrices that measure a GPU, and a CPU
SIDE, SMALL_SIDE = 8192, 512
#: attention whose products are in eight bits
FP8_ATTENTION = ("cudnn_fp8", "sage")


def least_seconds(count: Flops, *, linear: str, attention: str, limits: Mapping[str, float]) -> float:
    """Of a forward: products and attention each at the limit of the numbers they work in; ``limits`` by kind."""
    usual = limits["bf16"] if "bf16" in limits else limits["fp32"]
    fast = limits.get("fp8", usual)
    products = fast if linear.startswith("fp8") else usual
    among = fast if attention in FP8_ATTENTION else usual
    others = count.forward - count.linear - count.self_attention
    return count.linear / products + count.self_attention / among + others / usual


def measured(device: torch.device) -> dict[str, float]:
    """FLOP/s of a square product of random matrices on ``device``, by kind: bf16 and, where it has it, fp8; or fp32."""
    if device.type != "cuda":
        one, other = (torch.randn(SMALL_SIDE, SMALL_SIDE) for _ in range(2))
        return {"fp32": _rate(lambda: one @ other, SMALL_SIDE, device)}
    one, other = (torch.randn(SIDE, SIDE, device=device, dtype=torch.bfloat16) for _ in range(2))
    found = {"bf16": _rate(lambda: one @ other, SIDE, device)}
    if torch.version.hip is None and torch.cuda.get_device_capability(device) >= (8, 9):
        rows, columns = quantised_rows(one), quantised_rows(other)
        weights = Weights(columns.values, columns.scale.t().contiguous(), None)
        try:
            found["fp8"] = _rate(lambda: apply(rows, weights, torch.bfloat16), SIDE, device)
        except RuntimeError:  # a card that could, and a torch that cannot
            return found
    return found


def now(device: torch.device) -> float:
    """In seconds, once everything asked of ``device`` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _rate(product: Callable[[], object], side: int, device: torch.device, *, times: int = 10) -> float:
    for _ in range(3):
        product()
    begin = now(device)
    for _ in range(times):
        product()
    return 2.0 * side**3 * times / (now(device) - begin)

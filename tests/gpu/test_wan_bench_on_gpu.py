"""The GPU bench on small shapes, every step, on a GPU; and kf2v's fastest operations beside diffusers' pipeline."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch", reason="the GPU bench needs torch, which is not installed")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT TESTED: no CUDA device; the bench stays unproven"),
]


@pytest.fixture(autouse=True)
def _freed() -> Iterator[None]:
    yield
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@pytest.mark.parametrize("step", ["roofline", "dit", "vae", "video", "diffusers"])
def test_a_step_is_walked_and_told(step: str) -> None:
    from bench.wan.__main__ import run, table
    from bench.wan.scale import SMALL

    result = run(step, SMALL, torch.device("cuda", 0))
    assert json.loads(json.dumps(result))["machine"]["gpu"]["name"] == torch.cuda.get_device_name(0)
    assert len(table(result).splitlines()) > 2


def test_the_fastest_operations_make_what_diffusers_makes() -> None:
    """Random weights, four steps; in eight bits where the card has them."""
    from bench.wan.film import scene
    from bench.wan.scale import SMALL, SMALL_SIZES

    from kf2v.engines.wan.comparison import Stopwatch
    from kf2v.engines.wan.ops import Ops
    from kf2v.engines.wan.rehearsal import diffused, native
    from kf2v.engines.wan.schedule import distilled

    device, schedule = torch.device("cuda", 0), distilled(SMALL.family)
    ours = native(SMALL.family, schedule, sizes=SMALL_SIZES, ops=Ops.best(device), device=device)
    theirs = diffused(SMALL.family, schedule, sizes=SMALL_SIZES, device=device)
    given = scene(SMALL.films["larger"])
    one, other = (model.latents(given, Stopwatch(device), frames=9).flatten() for model in (ours, theirs))
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) >= 0.99, str(ours.experts[0].ops)


def test_with_the_same_operations_latents_are_the_same_to_the_rounding_of_bf16() -> None:
    from bench.wan.film import scene
    from bench.wan.scale import SMALL, SMALL_SIZES

    from kf2v.engines.wan.comparison import Stopwatch, apart
    from kf2v.engines.wan.ops import Ops
    from kf2v.engines.wan.rehearsal import diffused, native
    from kf2v.engines.wan.schedule import distilled

    device, schedule = torch.device("cuda", 0), distilled(SMALL.family)
    ops = Ops.best(device, linear="native", attention="sdpa", norm="torch")
    ours = native(SMALL.family, schedule, sizes=SMALL_SIZES, ops=ops, device=device)
    theirs = diffused(SMALL.family, schedule, sizes=SMALL_SIZES, device=device)
    given = scene(SMALL.films["small"])
    one, other = (model.latents(given, Stopwatch(device), frames=9) for model in (ours, theirs))
    assert apart(one, other)[1] <= 2e-2

"""The wan engine on a GPU: the same film twice, from anywhere, called off in time, and memory given back."""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kf2v.engines import Scene
from kf2v.engines.wan import Options, Wan, Weights
from kf2v.engines.wan.profiles import choose
from kf2v.errors import Canceled
from kf2v.video import Frame, Size
from scenery import landscape

torch = pytest.importorskip("torch", reason="the wan engine needs torch, which is not installed")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT TESTED: no CUDA device; the engine stays unproven"),
]

SIZE = Size(width=192, height=112)
#: heads of the tiny checkpoints are too narrow for fp8 and fused kernels
OPTIONS = Options(device="cuda:0", frames=33, linear="native", attention="sdpa", norm="torch")


class Notes:
    def report(self, phase: str, done: float) -> None: ...

    def show(self, preview: Frame) -> None: ...


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Weights]:
    from wan import tiny

    made = tmp_path_factory.mktemp("wan")
    bases: dict[str, Path] = {
        "plus": tiny.save(made / "flf2v", "wan2.1-flf2v"),
        "flash": tiny.save(made / "a14b", "wan2.2-a14b"),
    }
    return {model: Weights(model=model, base=str(base), distilled=True) for model, base in bases.items()}


@pytest.fixture(autouse=True)
def _freed() -> Iterator[None]:
    yield
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def scene(model: str) -> Scene:
    last = landscape(SIZE, shift=12)
    return Scene(first=landscape(SIZE), last=last, prompt="a ride", negative_prompt="fog", seed=7, model=model)


def film(engine: Wan, model: str) -> str:
    return hashlib.sha256(b"".join(f.tobytes() for f in engine.generate(scene(model), Notes()).frames)).hexdigest()


@pytest.mark.parametrize("model", ["plus", "flash"])
def test_a_scene_is_the_same_film_twice(model: str, weights: dict[str, Weights]) -> None:
    engine = Wan(weights, OPTIONS)
    once = film(engine, model)
    assert film(engine, model) == once
    assert film(Wan(weights, OPTIONS), model) == once


@pytest.mark.parametrize("model", ["plus", "flash"])
def test_blocks_that_wait_in_the_hosts_memory_make_the_same_latents(model: str, weights: dict[str, Weights]) -> None:
    from kf2v.engines.wan.checkpoint import open_bundle
    from kf2v.engines.wan.resident import Native

    bundle = open_bundle(weights[model])
    whole = choose(200 << 30, bundle.family, distilled=True, eight_bits=False)
    waiting = replace(whole, placement=replace(whole.placement, offload=True))
    device = torch.device("cuda", 0)
    one, other = (
        Native.load(bundle, plan, OPTIONS, device=device, on_load=lambda _: None).latents(
            scene(model), Notes(), frames=9
        )
        for plan in (whole, waiting)
    )
    assert torch.equal(one, other)


def test_memory_is_given_back(weights: dict[str, Weights]) -> None:
    before = torch.cuda.memory_allocated()
    engine = Wan(weights, OPTIONS)
    film(engine, "flash")
    assert torch.cuda.memory_allocated() > before
    engine.unload()
    gc.collect()
    assert torch.cuda.memory_allocated() <= before + (1 << 20)


@torch.inference_mode()
def test_decoding_latent_by_latent_is_decoding_all_of_them() -> None:
    from kf2v.engines.wan.vae import Vae
    from wan import tiny

    vae = Vae(tiny.vae(), device=torch.device("cuda"), dtype=torch.bfloat16)
    latents = torch.randn(1, 16, 5, 14, 24)
    whole = vae._model.decode(vae._placed(latents.cuda() * vae._spread + vae._mean)).sample
    assert torch.equal(torch.cat(list(vae.decode(latents)), dim=2), whole)


def test_work_at_720p_is_called_off_within_two_seconds() -> None:
    """Blocks of the real width and length; a sixth of them, for the others would not matter."""
    from kf2v.engines.wan.dit import Dit
    from kf2v.engines.wan.family import DitShape
    from kf2v.engines.wan.ops import Ops
    from kf2v.engines.wan.synthetic import RandomTensors

    shape = DitShape(layers=7, heads=40, head_dim=128, ffn=13824)
    dit = Dit(shape, RandomTensors(shape), Ops.best("cuda"), "cuda")
    context = dit.prepare(torch.randn(1, 512, shape.text_dim, device="cuda", dtype=torch.bfloat16))
    latents = torch.randn(1, 36, 21, 90, 160, device="cuda", dtype=torch.bfloat16)
    dit.forward(latents, 900.0, context)
    called_off = 0.0

    def enough(index: int) -> None:
        nonlocal called_off
        if index == 2:
            called_off = time.perf_counter()
            raise Canceled

    with pytest.raises(Canceled):
        dit.forward(latents, 900.0, context, enough)
    torch.cuda.synchronize()
    assert time.perf_counter() - called_off < 2.0

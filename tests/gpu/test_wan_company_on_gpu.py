"""One video on two GPUs, through nccl: what one GPU makes, called off together, and no memory kept by anybody."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kf2v.engines import Scene
from kf2v.engines.wan import Options, Wan, Weights
from kf2v.errors import AlgorithmError, Canceled
from kf2v.video import Frame, Size
from scenery import landscape

torch = pytest.importorskip("torch", reason="the wan engine needs torch, which is not installed")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        torch.cuda.device_count() < 2, reason="NOT TESTED: fewer than two CUDA devices; nccl stays unproven"
    ),
]

#: heads of the tiny checkpoints are too narrow for fp8 and fused kernels
ALONE = Options(frames=9, linear="native", attention="sdpa", norm="torch")
TOGETHER = replace(ALONE, gpus_per_video=2)


class Notes:
    def __init__(self, at: int = 0, pid: int = 0) -> None:
        self._at, self._pid, self._blocks = at, pid, 0

    def report(self, phase: str, done: float) -> None:
        if phase == "denoise" and done > 0:
            self._blocks += 1
            if self._blocks == self._at and self._pid:
                os.kill(self._pid, signal.SIGKILL)
            elif self._blocks == self._at:
                raise Canceled

    def show(self, preview: Frame) -> None: ...


def scene(model: str) -> Scene:
    size = Size(width=176, height=112)
    last = landscape(size, shift=12)
    return Scene(first=landscape(size), last=last, prompt="a ride", negative_prompt="fog", seed=7, model=model)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Weights]:
    from wan import tiny

    made = tmp_path_factory.mktemp("wan")
    bases: dict[str, Path] = {
        "plus": tiny.save(made / "flf2v", "wan2.1-flf2v"),
        "flash": tiny.save(made / "a14b", "wan2.2-a14b"),
    }
    return {model: Weights(model=model, base=str(base), distilled=True) for model, base in bases.items()}


@pytest.fixture(scope="module")
def engine(weights: dict[str, Weights]) -> Iterator[Wan]:
    engine = Wan(weights, TOGETHER)
    yield engine
    engine.unload()


def film(engine: Wan, model: str) -> bytes:
    return b"".join(frame.tobytes() for frame in engine.generate(scene(model), Notes()).frames)


@pytest.mark.parametrize("model", ["plus", "flash"])
def test_two_gpus_make_the_latents_that_one_makes(engine: Wan, weights: dict[str, Weights], model: str) -> None:
    found = []
    for each in (engine, Wan(weights, ALONE)):
        each.generate(scene(model), Notes())
        with each._current():
            resident = each._loaded[replace(weights[model], model="")]
            found.append(resident.latents(scene(model), Notes(), frames=9).cpu())
    assert float((found[0] - found[1]).norm() / found[1].norm()) < 2e-2  # bf16


def test_a_scene_is_the_same_film_twice(engine: Wan) -> None:
    assert film(engine, "flash") == film(engine, "flash")


def test_work_is_called_off_on_both_and_goes_on_with_the_next_take(engine: Wan) -> None:
    expected = film(engine, "flash")
    with pytest.raises(Canceled):
        engine.generate(scene("flash"), Notes(at=3))
    assert film(engine, "flash") == expected


def test_a_follower_that_is_killed_ends_the_take_within_seconds(engine: Wan) -> None:
    expected = film(engine, "flash")
    assert engine._company is not None
    (pid,) = engine._company.pids
    began = time.monotonic()
    with pytest.raises(AlgorithmError):
        engine.generate(scene("flash"), Notes(at=3, pid=pid))
    assert time.monotonic() - began < 20
    assert film(engine, "flash") == expected


def test_memory_of_both_is_given_back(engine: Wan) -> None:
    before = [torch.cuda.mem_get_info(index)[0] for index in range(2)]
    film(engine, "flash")
    engine.unload()
    assert torch.cuda.mem_get_info(1)[0] >= before[1]

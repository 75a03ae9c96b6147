"""The wan engine on tiny weights: what it loads, tells, remembers and gives back."""

from __future__ import annotations

import gc
import hashlib
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog.testing
import torch
from PIL import Image
from torch import Tensor

from kf2v.engines import EngineUnavailable, Scene, wan
from kf2v.engines.wan import Options, Wan, Weights
from kf2v.engines.wan import resident as residents
from kf2v.engines.wan.checkpoint import CheckpointError, open_bundle
from kf2v.engines.wan.checkpoint.bundle import Bundle
from kf2v.engines.wan.family import A14B, FLF2V
from kf2v.engines.wan.guidance import Cfg, Nag, Unguided
from kf2v.engines.wan.profiles import choose
from kf2v.engines.wan.readiness import PACKAGES, Card, Machine, look, missing_device, missing_weights, readiness
from kf2v.engines.wan.resident import Diffused, Native, guided
from kf2v.engines.wan.schedule import schedule_of
from kf2v.engines.wan.weights import row_of
from kf2v.errors import AlgorithmError, Canceled, ProcessRuined
from kf2v.video import Frame, Size
from kf2v.video.frames import size_of
from scenery import Held, landscape
from wan import tiny

CPU = torch.device("cpu")
SMALL = Size(width=64, height=48)
OPTIONS = Options(device="cpu", frames=5)


class Notes:
    """A watch that writes down everything."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, float]] = []
        self.seen: list[Frame] = []

    def report(self, phase: str, done: float) -> None:
        self.heard.append((phase, done))

    def note(self, text: str) -> None:
        del text

    def show(self, preview: Frame) -> None:
        self.seen.append(preview)

    @property
    def phases(self) -> list[str]:
        return list(dict.fromkeys(phase for phase, _ in self.heard))

    def times(self, phase: str) -> int:
        return sum(heard == phase for heard, _ in self.heard)


def scene(
    size: Size = SMALL, *, model: str = "plus", negative: str = "", seed: int = 7, prompt: str = "a cat"
) -> Scene:
    first, last = landscape(size), landscape(size, shift=6)
    return Scene(first=first, last=last, prompt=prompt, negative_prompt=negative, seed=seed, model=model)


@pytest.fixture(scope="module")
def weights(flf2v_dir: Path, a14b_dir: Path) -> dict[str, Weights]:
    return {
        "plus": Weights(model="plus", base=str(flf2v_dir)),
        "plus-4": Weights(model="plus-4", base=str(flf2v_dir), distilled=True),
        "flash": Weights(model="flash", base=str(a14b_dir), distilled=True),
        "flash-40": Weights(model="flash-40", base=str(a14b_dir)),
    }


@pytest.fixture(scope="module")
def engine(weights: dict[str, Weights]) -> Wan:
    return Wan(weights, OPTIONS, room=lambda _: 1 << 50)


def digest(engine: Wan, scene: Scene) -> str:
    return hashlib.sha256(b"".join(frame.tobytes() for frame in engine.generate(scene, Notes()).frames)).hexdigest()


@pytest.mark.parametrize("model", ["plus", "plus-4", "flash", "flash-40"])
def test_every_family_and_kind_of_weights_makes_a_clip(engine: Wan, model: str) -> None:
    notes, asked = Notes(), scene(model=model, negative="a dog")
    clip = engine.generate(asked, notes)
    frames = list(clip.frames)
    assert (clip.count, clip.fps, clip.size) == (5, 16, SMALL)
    assert len(frames) == 5
    assert np.array_equal(frames[0], asked.first)
    assert np.array_equal(frames[-1], asked.last)
    assert frames[2].std() > 1


def test_phases_are_told_in_their_order(weights: dict[str, Weights]) -> None:
    notes = Notes()
    list(Wan(weights, OPTIONS).generate(scene(), notes).frames)
    assert notes.phases == ["load", "encode", "denoise", "decode"]
    for phase in notes.phases:
        course = [done for heard, done in notes.heard if heard == phase]
        assert course == sorted(course)
        assert (course[0], course[-1]) == (0.0, 1.0)


def test_denoising_is_told_block_by_block(engine: Wan) -> None:
    list(engine.generate(scene(model="flash"), notes := Notes()).frames)
    assert notes.times("denoise") == 1 + 4 * tiny.A14B_SHAPE.layers
    list(engine.generate(scene(model="plus"), notes := Notes()).frames)
    assert notes.times("denoise") == 1 + 2 * FLF2V.steps * tiny.FLF2V_SHAPE.layers


def test_each_step_but_the_last_is_shown(engine: Wan) -> None:
    list(engine.generate(scene(model="flash"), notes := Notes()).frames)
    assert [preview.shape for preview in notes.seen] == [(24, 32, 3)] * 3
    assert all(preview.dtype == np.uint8 for preview in notes.seen)
    assert not np.array_equal(notes.seen[0], notes.seen[-1])


def test_what_is_loaded_stays(weights: dict[str, Weights]) -> None:
    engine, notes = Wan(weights, OPTIONS), Notes()
    assert engine.loaded == 0
    list(engine.generate(scene(), Notes()).frames)
    list(engine.generate(scene(seed=8), notes).frames)
    assert engine.loaded == 1
    assert "load" not in notes.phases


def test_two_names_of_one_model_are_loaded_once(weights: dict[str, Weights]) -> None:
    plus = weights["plus"]
    engine = Wan({"plus": plus, "other": replace(plus, model="other")}, OPTIONS, room=lambda _: 1 << 50)
    list(engine.generate(scene(model="plus"), Notes()).frames)
    engine.generate(scene(model="other"), notes := Notes())
    assert (engine.loaded, "load" in notes.phases) == (1, False)


@pytest.mark.parametrize(("room", "kept"), [(1 << 50, 2), (10 << 30, 1), (None, 1)])
def test_models_stay_side_by_side_where_there_is_room(weights: dict[str, Weights], room: int | None, kept: int) -> None:
    engine = Wan(weights, OPTIONS, room=lambda _: room)
    engine.generate(scene(model="plus"), Notes())
    engine.generate(scene(model="flash"), Notes())
    assert engine.loaded == kept
    engine.generate(scene(model="flash"), notes := Notes())
    assert "load" not in notes.phases


def test_the_same_scene_is_the_same_and_another_seed_another(engine: Wan) -> None:
    same = digest(engine, scene(model="flash"))
    assert digest(engine, scene(model="flash")) == same
    assert digest(engine, scene(model="flash", seed=8)) != same
    assert digest(engine, scene(model="flash", prompt="a bridge at night")) != same


@pytest.mark.parametrize("model", ["plus", "flash"])
def test_a_negative_prompt_changes_the_film_with_and_without_distilled_weights(engine: Wan, model: str) -> None:
    assert digest(engine, scene(model=model)) != digest(engine, scene(model=model, negative="a dog at night"))


@pytest.mark.parametrize("model", ["plus", "flash-40"])
def test_latents_are_the_stock_pipelines(engine: Wan, weights: dict[str, Weights], model: str) -> None:
    """All of it together, from pictures and prompt on, at fp32."""
    family = FLF2V if model == "plus" else A14B
    pipeline: Any = tiny.load(Path(weights[model].base))
    pipeline.scheduler = tiny.scheduler(family.shift)
    asked = scene(model=model, negative="a dog")
    loaded = _loaded(weights[model])
    if family.clip:
        loaded = replace(loaded, clip=_stock_framing(weights[model]))
    made = loaded.latents(asked, Notes(), frames=5)
    expected = pipeline(
        image=Image.fromarray(asked.first),
        last_image=Image.fromarray(asked.last),
        prompt=asked.prompt,
        negative_prompt=asked.negative_prompt,
        height=SMALL.height,
        width=SMALL.width,
        num_frames=5,
        num_inference_steps=family.steps,
        guidance_scale=family.guidance[0],
        generator=torch.Generator().manual_seed(asked.seed),
        output_type="latent",
    ).frames
    assert _apart(made, expected) < 1e-5


def test_the_stock_pipeline_as_a_runtime_makes_the_same_latents(weights: dict[str, Weights]) -> None:
    bundle, asked = open_bundle(weights["flash"]), scene(model="flash")
    plan = choose(None, bundle.family, distilled=True)
    stock = Diffused.load(bundle, plan, OPTIONS, device=CPU, on_load=lambda _: None)
    own = _loaded(weights["flash"])
    assert _apart(own.latents(asked, Notes(), frames=5), stock.latents(asked, Notes(), frames=5)) < 1e-5


def test_the_stock_pipeline_is_an_engine_too(weights: dict[str, Weights]) -> None:
    engine, notes = Wan(weights, replace(OPTIONS, runtime="diffusers")), Notes()
    frames = list(engine.generate(scene(model="flash"), notes).frames)
    assert len(frames) == 5
    assert notes.phases == ["load", "encode", "denoise", "decode"]


def test_who_is_guided_how() -> None:
    """Distilled weights: by NAG, if there is anything to avoid. Others: always, by the family's own list at least."""
    four, forty = schedule_of(A14B, distilled_weights=True), schedule_of(A14B, distilled_weights=False)
    assert guided(A14B, four, " ") == (Unguided(), None)
    assert guided(A14B, four, "a dog") == (Nag(), "a dog")
    assert guided(A14B, forty, "a dog") == (Cfg(), "a dog")
    assert guided(A14B, forty, "") == (Cfg(), A14B.default_negative)
    assert guided(FLF2V, schedule_of(FLF2V, distilled_weights=False), "")[1] == FLF2V.default_negative
    assert FLF2V.default_negative == "镜头切换，镜头晃动，" + A14B.default_negative


def test_longer_clips_are_made_as_they_are_asked_for(weights: dict[str, Weights]) -> None:
    engine, held, notes = Wan(weights, replace(OPTIONS, frames=49)), Held(), Notes()
    asked = scene(model="flash")
    clip = engine.generate(asked, notes)
    assert "decode" not in notes.phases
    for index, frame in enumerate(held.passing(clip.frames)):
        if index == 5:
            assert notes.times("decode") < 40  # of 49: only those that the last picture's drift reaches are held back
        del frame
    assert held.most < 12
    assert notes.times("decode") == 50


@pytest.mark.parametrize("stop", ["load", "encode", "denoise", "decode"])
def test_work_called_off_in_any_phase_leaves_nothing_behind(weights: dict[str, Weights], stop: str) -> None:
    engine = Wan(weights, OPTIONS)

    class Enough(Notes):
        def report(self, phase: str, done: float) -> None:
            super().report(phase, done)
            if phase == stop and done > 0:
                raise Canceled

    notes = Enough()
    with pytest.raises(Canceled):
        list(engine.generate(scene(model="flash"), notes).frames)
    assert notes.heard[-1][0] == stop
    assert engine.loaded == (0 if stop == "load" else 1)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("wan")]
    assert len(list(engine.generate(scene(model="flash"), Notes()).frames)) == 5


def test_two_clips_may_be_taken_by_turns(engine: Wan) -> None:
    asked = [scene(model="flash", seed=seed) for seed in (1, 2)]
    apart = [list(engine.generate(each, Notes()).frames) for each in asked]
    clips = [engine.generate(each, Notes()).frames for each in asked]
    for index, pair in enumerate(zip(*clips, strict=True)):
        for frames, frame in zip(apart, pair, strict=True):
            assert np.array_equal(frames[index], frame)


def test_1080p_is_generated_at_two_thirds_and_enlarged(engine: Wan, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the trained area lowered to this test's size."""
    monkeypatch.setattr("kf2v.engines.wan.geometry.TRAINED_AREA", 64 * 48)
    film = Size(width=96, height=80)
    asked = scene(film, model="flash")
    assert size_of(next(engine.generate(asked, notes := Notes()).frames)) == film
    assert notes.seen[0].shape[:2] == (48 // 2, 64 // 2)
    frames = list(engine.generate(asked, Notes()).frames)
    assert np.array_equal(frames[0], asked.first)
    assert np.array_equal(frames[-1], asked.last)


def test_1080p_is_generated_as_it_is_by_setting(weights: dict[str, Weights], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kf2v.engines.wan.geometry.TRAINED_AREA", 64 * 48)
    engine = Wan(weights, replace(OPTIONS, native_1080p=True))
    engine.generate(scene(Size(width=96, height=80), model="flash"), notes := Notes())
    assert notes.seen[0].shape[:2] == (80 // 2, 96 // 2)


def test_what_was_found_and_how_long_it_took_is_logged(engine: Wan) -> None:
    asked = scene(model="flash", prompt="a secret of somebody's", negative="another one")
    with structlog.testing.capture_logs() as logs:
        list(engine.generate(asked, Notes()).frames)
    (made,) = [line for line in logs if line["event"] == "clip made"]
    assert made["model"] == "flash"
    assert set(made["seconds"]) - {"load"} == {"encode", "denoise", "decode"}
    assert 5 < made["first_psnr"] < 60
    assert made["last_delta_e"] > 1
    assert "secret" not in str(logs)


def test_the_choice_is_said_in_one_sentence(weights: dict[str, Weights]) -> None:
    with structlog.testing.capture_logs() as logs:
        Wan(weights, OPTIONS).generate(scene(model="flash"), Notes())
    assert [line["plan"] for line in logs if line["event"] == "model is being loaded"] == [
        "fast for wan2.2-a14b on the CPU"
    ]
    (line,) = [line for line in logs if line["event"] == "operations are chosen"]
    assert line["operations"].startswith("linear native, attention sdpa, norms torch")


def test_eight_bits_are_planned_only_where_their_products_work(monkeypatch: pytest.MonkeyPatch) -> None:
    auto, asked, native = (Options(linear=kind) for kind in ("auto", "fp8_row", "native"))
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr("kf2v.engines.wan.ops._try_linear", lambda kind, device: None)
    assert [wan._eight_bits(options, gpu) for options in (auto, asked, native)] == [None, True, False]

    def failing(kind: str, device: torch.device) -> None:
        raise RuntimeError("no kernel for this card")

    monkeypatch.setattr("kf2v.engines.wan.ops._try_linear", failing)
    with structlog.testing.capture_logs() as logs:
        assert [wan._eight_bits(options, gpu) for options in (auto, asked, native)] == [False, False, False]
    assert "no kernel for this card" in str(logs)


def test_a_plan_goes_by_what_is_free(weights: dict[str, Weights], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (40 << 30, 80 << 30))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda _: 8 << 30)
    monkeypatch.setattr("kf2v.engines.wan.ops._try_linear", lambda kind, device: None)
    bundle, gpu = open_bundle(weights["flash"]), torch.device("cuda", 0)
    plan = wan._plan(bundle, Options(), gpu)
    assert "of the card's 52 GB" in plan.sentence
    assert plan == choose((48 << 30) + 600_000_000, bundle.family, distilled=True)
    assert wan._plan(bundle, Options(native_1080p=True), gpu).sentence.count("at 1080P") == 1


def test_colour_can_be_left_alone(weights: dict[str, Weights]) -> None:
    options = replace(OPTIONS, frames=17)
    plain = list(Wan(weights, replace(options, colour=False)).generate(scene(model="flash"), Notes()).frames)
    drawn = list(Wan(weights, options).generate(scene(model="flash"), Notes()).frames)
    for index, (one, other) in enumerate(zip(plain, drawn, strict=True)):
        assert np.array_equal(one, other) == (index in (0, 8, 16))


def test_low_vram_makes_the_same_film(weights: dict[str, Weights]) -> None:
    """On a CPU offloading turns into plain copies; where blocks wait must not show."""
    bundle, asked = open_bundle(weights["plus"]), scene()
    whole = choose(None, FLF2V, distilled=False)
    offloaded = choose(12 << 30, FLF2V, distilled=False, eight_bits=False)
    assert offloaded.placement.offload
    made = [
        Native.load(bundle, plan, OPTIONS, device=CPU, on_load=lambda _: None).latents(asked, Notes(), frames=5)
        for plan in (whole, offloaded)
    ]
    assert torch.equal(*made)


@pytest.mark.parametrize("model", ["plus-4", "flash"])
def test_half_precision_stays_close(model: str, weights: dict[str, Weights], tmp_path: Path) -> None:
    """What a GPU computes in: the same weights in bf16 all through, but for the VAE."""
    family: tiny.FamilyName = "wan2.2-a14b" if model == "flash" else "wan2.1-flf2v"
    half = _loaded(replace(weights[model], base=str(tiny.save(tmp_path, family, dtype=torch.bfloat16))))
    assert {expert.dtype for expert in half.experts} == {torch.bfloat16}
    asked = scene(model=model, negative="a dog")
    exact, rough = (each.latents(asked, Notes(), frames=5) for each in (_loaded(weights[model]), half))
    assert rough.dtype == torch.float32
    assert 1e-5 < _apart(rough, exact) < 2e-2


def waiting(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def idlers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "wan-idle"]


def test_memory_is_given_back_when_nothing_is_asked_for(weights: dict[str, Weights]) -> None:
    engine = Wan(weights, replace(OPTIONS, idle_unload=0.2))
    clip = engine.generate(scene(model="flash"), Notes())
    assert next(clip.frames) is not None
    time.sleep(0.3)
    assert engine.loaded == 1  # somebody is still taking frames
    assert len(list(clip.frames)) == 4
    assert waiting(lambda: engine.loaded == 0)
    assert waiting(lambda: not idlers())
    assert len(list(engine.generate(scene(model="flash"), Notes()).frames)) == 5


def test_without_that_setting_nothing_waits(engine: Wan) -> None:
    assert waiting(lambda: not idlers())
    list(engine.generate(scene(model="flash"), Notes()).frames)
    assert not idlers()
    assert engine.loaded > 0


def test_nobody_waits_for_an_engine_that_is_gone(weights: dict[str, Weights]) -> None:
    engine = Wan(weights, replace(OPTIONS, idle_unload=3600))
    engine.generate(scene(model="flash"), Notes())
    assert idlers()
    del engine
    assert waiting(lambda: not idlers())


def test_an_engine_can_be_told_to_give_memory_back(weights: dict[str, Weights]) -> None:
    engine = Wan(weights, OPTIONS)
    engine.generate(scene(model="flash"), Notes())
    engine.unload()
    assert engine.loaded == 0


def test_a_clip_under_way_outlives_its_model(weights: dict[str, Weights]) -> None:
    engine = Wan(weights, OPTIONS)
    clip = engine.generate(scene(model="flash"), Notes())
    engine.unload()
    assert len(list(clip.frames)) == 5


def test_nothing_of_a_model_stays_behind(weights: dict[str, Weights]) -> None:
    """Not even where a clip was left in the middle."""
    engine = Wan(weights, OPTIONS)
    clip = engine.generate(scene(model="plus-4", negative="a dog"), Notes())
    next(clip.frames)
    (model,) = engine._loaded.values()
    assert isinstance(model, Native)
    parts = [model.vae, model.text, model.clip, *model.experts]
    alive = [weakref.ref(part) for part in parts if part is not None]
    del model, parts
    engine.unload()
    assert sum(part() is not None for part in alive) == 1  # the VAE, which the clip still needs
    del clip
    gc.collect()
    assert not any(part() is not None for part in alive)


def test_a_model_that_nobody_named_is_refused(engine: Wan) -> None:
    for name in ("wan9-kf2v", ""):
        with pytest.raises(EngineUnavailable, match="Ask for one of"):
            engine.generate(scene(model=name), Notes())


def test_one_model_needs_no_name(weights: dict[str, Weights]) -> None:
    engine = Wan({"flash": weights["flash"]}, OPTIONS)
    assert len(list(engine.generate(scene(model=""), Notes()).frames)) == 5


class Failing:
    """A runtime whose loading ends in ``error``."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def load(self, *_: object, **__: object) -> Native:
        raise self._error


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), "out of memory"),
        (MemoryError(), "out of memory"),
        (CheckpointError("a/file", "is cut short", "fetch it again"), "weights cannot be used"),
    ],
    ids=["gpu", "cublas", "host", "python", "weights"],
)
def test_too_little_memory_and_bad_weights_are_told_to_the_owner(
    error: Exception, event: str, weights: dict[str, Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Wan(weights, OPTIONS)
    with monkeypatch.context() as patched:
        patched.setitem(residents.RUNTIMES, "native", Failing(error))  # type: ignore[arg-type]
        with structlog.testing.capture_logs() as logs, pytest.raises(AlgorithmError) as raised:
            engine.generate(scene(model="flash"), Notes())
    assert raised.value.message == AlgorithmError.sentence  # nothing of our insides for the caller
    (line,) = [line for line in logs if line["log_level"] == "error"]
    assert (line["event"], line["model"]) == (event, "flash")
    assert line["fix"]
    assert ("KF2V_WAN_PROFILE" in line["fix"]) == ("CUDA" in str(error))
    assert len(list(engine.generate(scene(model="flash"), Notes()).frames)) == 5


def test_memory_that_runs_out_while_decoding_is_told_too(
    weights: dict[str, Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = Wan(weights, OPTIONS).generate(scene(model="flash"), Notes())

    def exhausted(*_: object, **__: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("kf2v.engines.wan.vae.Vae._decoded", exhausted)
    with structlog.testing.capture_logs() as logs, pytest.raises(AlgorithmError):
        list(clip.frames)
    assert [line["event"] for line in logs] == ["out of memory"]


def test_a_decoder_that_gives_no_numbers_is_told_with_its_weights(
    weights: dict[str, Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = Wan(weights, OPTIONS).generate(scene(model="flash"), Notes())
    monkeypatch.setattr("kf2v.engines.wan.vae.Vae._decoded", lambda *_, **__: torch.full((1, 3, 1, 48, 64), torch.nan))
    with structlog.testing.capture_logs() as logs, pytest.raises(AlgorithmError):
        list(clip.frames)
    (line,) = [line for line in logs if line["log_level"] == "error"]
    assert (line["model"], line["weights"]) == ("flash", [weights["flash"].base])
    assert "no number" in line["said"]


ILLEGAL = RuntimeError("CUDA error: an illegal memory access was encountered")


def test_a_gpu_that_never_answers_again_ends_the_process(
    weights: dict[str, Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Wan(weights, OPTIONS, answers=lambda _: False)
    monkeypatch.setitem(residents.RUNTIMES, "native", Failing(ILLEGAL))  # type: ignore[arg-type]
    with structlog.testing.capture_logs() as logs, pytest.raises(ProcessRuined, match="illegal memory access"):
        engine.generate(scene(model="flash"), Notes())
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["a GPU has failed"]


def test_so_does_one_that_fails_while_decoding(weights: dict[str, Weights], monkeypatch: pytest.MonkeyPatch) -> None:
    clip = Wan(weights, OPTIONS, answers=lambda _: False).generate(scene(model="flash"), Notes())

    def failed(*_: object, **__: object) -> Tensor:
        raise ILLEGAL

    monkeypatch.setattr("kf2v.engines.wan.vae.Vae._decoded", failed)
    with pytest.raises(ProcessRuined):
        list(clip.frames)


def test_other_errors_are_not_called_memory(weights: dict[str, Weights], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Wan(weights, OPTIONS)
    monkeypatch.setitem(residents.RUNTIMES, "native", Failing(RuntimeError("shapes differ")))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="shapes differ"):
        engine.generate(scene(model="flash"), Notes())


# Whether it can work at all.


def machine(*gib: int, built_for: str | None = "13.0") -> Machine:
    cards = tuple(Card(name="card", memory=size << 30) for size in gib)
    return Machine(torch="2.11", built_for=built_for, cards=cards)


def test_an_engine_without_a_gpu_says_so_when_it_is_built(weights: dict[str, Weights]) -> None:
    with pytest.raises(EngineUnavailable, match="needs a GPU") as raised:
        Wan(weights, Options(), look=lambda: machine(built_for=None))
    assert "CPUs only" in raised.value.reason
    assert "KF2V_WAN_DEVICE=cpu" in raised.value.fix


def test_a_gpu_that_is_not_there_is_told() -> None:
    assert missing_device(Options(), lambda: machine(80)) is None
    assert missing_device(Options(device="cuda:1"), lambda: machine(80, 80)) is None
    lacking = missing_device(Options(device="cuda:1"), lambda: machine(80))
    assert lacking is not None
    assert "cuda:1" in lacking.reason


def test_a_cpu_is_taken_at_its_word() -> None:
    def never() -> Machine:
        raise AssertionError("nobody needs to look for a GPU")

    assert missing_device(Options(device="cpu"), never) is None


def test_looking_for_gpus_happens_in_another_process() -> None:
    found = look()
    assert found.torch == torch.__version__
    assert len(found.cards) == (torch.cuda.device_count() if torch.cuda.is_available() else 0)


def test_a_torch_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kf2v.engines.wan.readiness._PROBE", "raise ImportError('libcudart.so.13: cannot open')")
    lacking = missing_device(Options())
    assert lacking is not None
    assert "libcudart.so.13" in lacking.reason


def test_missing_packages_are_named(weights: dict[str, Weights], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kf2v.engines.wan.readiness.PACKAGES", (*PACKAGES, "no_such_package"))
    lacking = readiness(weights, OPTIONS)
    assert lacking is not None
    assert "no_such_package" in lacking.reason
    assert "pip install" in lacking.fix


def test_weights_that_were_not_fetched_come_with_the_command_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    row = row_of("wan2.2-kf2v-flash")
    lacking = readiness({"wan2.2-kf2v-flash": row.weights}, OPTIONS)
    assert lacking is not None
    assert row.weights.base in lacking.reason
    assert f"kf2v models pull {row.name}" in lacking.fix


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    lost = Weights(model="plus", base=str(tmp_path / "nowhere"))
    lacking = missing_weights({"plus": lost})["plus"]
    assert str(tmp_path / "nowhere") in lacking.reason
    assert "KF2V_WAN_WEIGHTS" in lacking.fix


def test_one_model_with_weights_is_enough(weights: dict[str, Weights], tmp_path: Path) -> None:
    lost = Weights(model="plus", base=str(tmp_path / "nowhere"))
    with structlog.testing.capture_logs() as logs:
        engine = Wan({"plus": lost, "flash": weights["flash"]}, OPTIONS)
    assert engine.models == {"flash"}
    assert [line["model"] for line in logs] == ["plus"]
    with pytest.raises(EngineUnavailable, match="nowhere"):
        engine.generate(scene(model="plus"), Notes())


def test_asking_whether_it_can_work_loads_no_torch(weights: dict[str, Weights]) -> None:
    code = (
        "import sys\n"
        "from kf2v.engines.wan import Options, Wan, Weights\n"
        "wanted = {str(base): Weights(model=str(base), base=base) for base in sys.argv[1:]}\n"
        "assert Wan(wanted, Options(device='cpu')).models == set(sys.argv[1:])\n"
        "assert 'torch' not in sys.modules\n"
    )
    bases = [weights["plus"].base, weights["flash"].base]
    done = subprocess.run([sys.executable, "-c", code, *bases], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_models_at_all_is_told() -> None:
    with pytest.raises(EngineUnavailable, match="No model"):
        Wan({}, OPTIONS)


def _loaded(weights: Weights) -> Native:
    bundle: Bundle = open_bundle(weights)
    plan = choose(None, bundle.family, distilled=bundle.distilled)
    return Native.load(bundle, plan, OPTIONS, device=CPU, on_load=lambda _: None)


def _stock_framing(weights: Weights) -> residents.ClipEncoder:
    return residents.ClipEncoder.load(open_bundle(weights), framing="diffusers", device=CPU, dtype=torch.float32)


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())

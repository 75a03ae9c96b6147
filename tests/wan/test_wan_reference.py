"""Diffusers' pipeline, set up by us, does what it does when anyone sets it up; and what it cannot be asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kf2v.engines import Scene
from kf2v.engines.wan import reference, synthetic
from kf2v.engines.wan.checkpoint import open_bundle
from kf2v.engines.wan.family import A14B, FLF2V
from kf2v.engines.wan.reference import Stock
from kf2v.engines.wan.schedule import ByIndex, distilled, quality
from kf2v.engines.wan.weights import Weights
from kf2v.errors import Canceled
from wan import tiny

CPU = torch.device("cpu")


def scene(seed: int = 7) -> Scene:
    generator = np.random.default_rng(3)
    first, last = (generator.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(2))
    return Scene(first=first, last=last, prompt="a cat walks", negative_prompt="night", seed=seed)


def stock(path: Path, framing: str = "wan") -> Stock:
    bundle = open_bundle(Weights(model="", base=str(path)))
    return Stock.load(bundle, device=CPU, dtype=torch.float32, framing=framing)  # type: ignore[arg-type]


class Notes:
    """What a watch heard."""

    def __init__(self, until: int = 10**9) -> None:
        self.heard: list[tuple[str, float]] = []
        self._until = until

    def report(self, phase: str, done: float) -> None:
        self.heard.append((phase, done))
        if len(self.heard) > self._until:
            raise Canceled

    def note(self, text: str) -> None:
        del text


@pytest.mark.parametrize("family", [FLF2V, A14B], ids=lambda family: family.id)
def test_it_is_what_from_pretrained_gives(family, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue("flf2v_dir" if family is FLF2V else "a14b_dir")
    given, schedule = scene(), quality(family, steps=6).with_guidance(4.0)
    pipeline = tiny.load(path)
    wanted = pipeline(
        image=Image.fromarray(given.first),
        last_image=Image.fromarray(given.last),
        prompt=given.prompt,
        negative_prompt=given.negative_prompt,
        height=48,
        width=64,
        num_frames=9,
        num_inference_steps=6,
        guidance_scale=4.0,
        generator=torch.Generator("cpu").manual_seed(given.seed),
        output_type="latent",
    ).frames
    assert torch.equal(stock(path, "diffusers").latents(given, schedule, frames=9), wanted)


def test_pictures_reach_clip_whole_where_diffusers_would_crop_them(flf2v_dir: Path) -> None:
    given, schedule = scene(), distilled(FLF2V)
    wan, cropped = (stock(flf2v_dir, framing).latents(given, schedule, frames=5) for framing in ("wan", "diffusers"))
    assert not torch.allclose(wan, cropped, rtol=1e-4)


@pytest.mark.parametrize("family", [FLF2V, A14B], ids=lambda family: family.id)
@pytest.mark.parametrize("shift", [5.0, 16.0])
def test_the_distilled_steps_are_walked_and_not_the_ones_diffusers_would_choose(
    family, shift: float, request: pytest.FixtureRequest
) -> None:
    made = stock(request.getfixturevalue("flf2v_dir" if family is FLF2V else "a14b_dir"))
    schedule = distilled(family).with_shift(shift)
    seen: list[tuple[int, float]] = []

    def note(index: int, module: object, args: object, kwargs: dict[str, torch.Tensor]) -> None:
        seen.append((index, kwargs["timestep"].item()))

    experts = [made.pipeline.transformer, made.pipeline.transformer_2][: family.experts]
    for index, expert in enumerate(experts):
        expert.register_forward_pre_hook(partial(note, index), with_kwargs=True)
    made.latents(scene(), schedule, frames=5)
    assert [expert for expert, _ in seen] == [schedule.expert(step) for step in range(4)]
    assert [time for _, time in seen] == pytest.approx(schedule.timesteps, rel=1e-6)


def test_an_expert_may_do_no_step_or_all_of_them() -> None:
    schedule = distilled(A14B)
    for steps in range(5):
        changed = replace(schedule, switch=ByIndex(steps=steps))
        boundary = reference._boundary(changed) * 1000
        assert [time >= boundary for time in changed.timesteps] == [index < steps for index in range(4)]


def test_a_schedule_diffusers_does_not_know_is_refused(flf2v_dir: Path) -> None:
    schedule = quality(FLF2V, steps=4)
    bent = replace(schedule, knots=(1.0, 0.9, 0.3, 0.1))
    with pytest.raises(ValueError, match="other noise levels"):
        stock(flf2v_dir).latents(scene(), bent, frames=5)


def test_only_the_second_expert_cannot_be_guided(a14b_dir: Path) -> None:
    with pytest.raises(ValueError, match="only the second"):
        stock(a14b_dir).latents(scene(), distilled(A14B).with_guidance(1.0, 3.0), frames=5)


def test_frames_are_pictures_and_progress_is_heard_in_order(flf2v_dir: Path) -> None:
    notes = Notes()
    frames = list(stock(flf2v_dir).frames(scene(), distilled(FLF2V), frames=5, watch=notes))
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 5
    assert all(frame.dtype == np.uint8 for frame in frames)
    assert list(dict.fromkeys(phase for phase, _ in notes.heard)) == ["encode", "denoise", "decode"]
    denoised = [done for phase, done in notes.heard if phase == "denoise"]
    assert denoised == [count / 8 for count in range(9)]


def test_it_can_be_called_off_in_the_middle_of_a_step_and_used_again(flf2v_dir: Path) -> None:
    made = stock(flf2v_dir)
    with pytest.raises(Canceled):
        made.latents(scene(), distilled(FLF2V), frames=5, watch=Notes(until=4))
    notes = Notes()
    made.latents(scene(), distilled(FLF2V), frames=5, watch=notes)
    assert len([phase for phase, _ in notes.heard if phase == "denoise"]) == 9


def test_random_weights_are_the_same_whenever_they_are_read_and_never_zero() -> None:
    shape = synthetic.TINY.shape(FLF2V)
    source, again, other = (synthetic.RandomTensors(shape, seed=seed) for seed in (1, 1, 2))
    assert set(source.names()) == set(shape.tensors())
    for name in source.names():
        tensor = source.read(name)
        assert tuple(tensor.shape) == source.shape(name)
        assert tensor.dtype == source.dtype(name) == torch.bfloat16
        assert tensor.count_nonzero() > 0.9 * tensor.numel()
        assert torch.equal(tensor, again.read(name))  # type: ignore[arg-type]
        assert not torch.equal(tensor, other.read(name))  # type: ignore[arg-type]


def test_random_weights_of_two_kinds_of_number_differ_by_rounding_alone() -> None:
    shape = synthetic.TINY.shape(FLF2V)
    exact, rounded = (synthetic.RandomTensors(shape, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    for name in exact.names():
        assert torch.equal(exact.read(name).to(torch.bfloat16), rounded.read(name))


def test_random_weights_keep_what_passes_through_them_at_its_size() -> None:
    for name, shape in {"blocks.0.ffn.net.2.weight": (64, 256), "blocks.0.norm2.weight": (512,)}.items():
        drawn = synthetic.drawn(name, shape, torch.Generator().manual_seed(0), dtype=torch.float32)
        out = drawn @ torch.randn(256, 1000) if len(shape) == 2 else drawn
        assert out.square().mean().sqrt().item() == pytest.approx(1, abs=0.1)


def test_what_diffusers_keeps_exact_stays_exact(a14b_dir: Path) -> None:
    shape = synthetic.TINY.shape(A14B)
    model = reference.transformer(shape, synthetic.RandomTensors(shape), device=CPU, dtype=torch.bfloat16)
    kinds = {name: parameter.dtype for name, parameter in model.named_parameters()}
    assert kinds["blocks.0.scale_shift_table"] == kinds["blocks.0.norm2.weight"] == torch.float32
    assert kinds["condition_embedder.time_embedder.linear_1.weight"] == torch.float32
    assert kinds["blocks.0.attn1.to_q.weight"] == torch.bfloat16

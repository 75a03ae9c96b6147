"""The whole loop against the stock pipeline, on its own conditioning: both families, real schedules, both guidances."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline
from PIL import Image
from torch import Tensor

from kf2v.engines.wan.checkpoint import Bundle, open_bundle
from kf2v.engines.wan.dit import Context, Dit
from kf2v.engines.wan.family import A14B, FLF2V
from kf2v.engines.wan.guidance import Cfg, Nag, Unguided
from kf2v.engines.wan.ops import Ops
from kf2v.engines.wan.sampler import Prompts, denoise, initial_noise
from kf2v.engines.wan.schedule import Schedule, distilled, quality
from wan import tiny

FRAMES, HEIGHT, WIDTH, STEPS, SEED = 9, 48, 64, 6, 7
PROMPT, NEGATIVE = "a cat walks over a bridge", "night"


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8))


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stock pipeline, what it conditions on, and our transformers with the same weights."""

    pipeline: WanImageToVideoPipeline
    experts: list[Dit]
    condition: Tensor
    text: tuple[Tensor, Tensor]
    image: Tensor | None

    def prompts(self) -> list[Prompts]:
        return [
            Prompts(positive=dit.prepare(self.text[0], self.image), negative=dit.prepare(self.text[1], self.image))
            for dit in self.experts
        ]

    def expected(self, *, steps: int, **guidance: float) -> Tensor:
        return self.pipeline(
            image=picture(1),
            last_image=picture(2),
            prompt=PROMPT,
            negative_prompt=NEGATIVE,
            height=HEIGHT,
            width=WIDTH,
            num_frames=FRAMES,
            num_inference_steps=steps,
            generator=torch.Generator().manual_seed(SEED),
            output_type="latent",
            **guidance,
        ).frames


def stage(pipeline: WanImageToVideoPipeline) -> Stage:
    pipeline.set_progress_bar_config(disable=True)
    models = [model for model in (pipeline.transformer, pipeline.transformer_2) if model is not None]
    experts = [Dit(shape_of(model), HeldState(model), Ops.reference(), "cpu", torch.float32) for model in models]
    with torch.no_grad():
        first, last = (
            pipeline.video_processor.preprocess(picture(seed), height=HEIGHT, width=WIDTH) for seed in (1, 2)
        )
        _, condition = pipeline.prepare_latents(
            first, 1, 16, HEIGHT, WIDTH, FRAMES, torch.float32, torch.device("cpu"), None, None, last
        )
        text = pipeline.encode_prompt(PROMPT, NEGATIVE, max_sequence_length=512)
        image = None
        if pipeline.image_encoder is not None:
            image = pipeline.encode_image([picture(1), picture(2)], torch.device("cpu")).reshape(1, 514, -1)
    return Stage(pipeline=pipeline, experts=experts, condition=condition, text=text, image=image)


def shape_of(model: torch.nn.Module) -> tiny.DitShape:
    return tiny.DitShape.from_config(dict(model.config))  # type: ignore[arg-type]


class HeldState:
    """A TensorSource over a module."""

    where = "memory"

    def __init__(self, model: torch.nn.Module) -> None:
        self._tensors = model.state_dict()

    def names(self) -> list[str]:
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name].shape)

    def dtype(self, name: str) -> torch.dtype:
        return self._tensors[name].dtype

    def read(self, name: str, device: str | torch.device = "cpu") -> Tensor:
        return self._tensors[name].to(device)


@pytest.fixture(scope="module")
def flf2v() -> Stage:
    return stage(tiny.build("wan2.1-flf2v", seed=11))


@pytest.fixture(scope="module")
def a14b() -> Stage:
    return stage(tiny.build("wan2.2-a14b", seed=12))


def apart(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def noise() -> Tensor:
    return initial_noise(3, HEIGHT // 8, WIDTH // 8, seed=SEED)


def test_first_and_last_frame_to_latents_with_unipc_and_guidance_as_the_stock_pipeline(flf2v: Stage) -> None:
    schedule = quality(FLF2V, steps=STEPS)
    found = denoise(flf2v.experts, schedule, Cfg(), noise(), flf2v.condition, flf2v.prompts())
    expected = flf2v.expected(steps=STEPS, guidance_scale=5.0)
    assert found.dtype == torch.float32
    assert apart(found, expected) <= 1e-5


def test_two_experts_with_two_guidance_scales_as_the_stock_pipeline(a14b: Stage) -> None:
    schedule = quality(A14B, steps=STEPS).with_guidance(4.0, 3.0)
    assert 0 < schedule.high_noise_steps < STEPS
    found = denoise(a14b.experts, schedule, Cfg(), noise(), a14b.condition, a14b.prompts())
    expected = a14b.expected(steps=STEPS, guidance_scale=4.0, guidance_scale_2=3.0)
    assert apart(found, expected) <= 1e-5


def test_without_guidance_as_the_stock_pipeline(a14b: Stage) -> None:
    found = denoise(a14b.experts, quality(A14B, steps=STEPS), Unguided(), noise(), a14b.condition, a14b.prompts())
    assert apart(found, a14b.expected(steps=STEPS, guidance_scale=1.0)) <= 1e-5


def test_the_loop_runs_on_weights_read_from_a_checkpoint(a14b_dir: Path) -> None:
    """The same through files: what the engine will do."""
    pipeline = tiny.load(a14b_dir)
    ours = stage(pipeline)
    bundle: Bundle = open_bundle(tiny_weights(a14b_dir))
    experts = [Dit(bundle.shape, source, Ops.reference(), "cpu", torch.float32) for source in bundle.experts]
    prompts = [Prompts(positive=dit.prepare(ours.text[0])) for dit in experts]
    schedule = distilled(A14B)
    found = denoise(experts, schedule, Unguided(), noise(), ours.condition, prompts)
    expected = denoise(ours.experts, schedule, Unguided(), noise(), ours.condition, ours.prompts())
    assert torch.equal(found, expected)


def tiny_weights(path: Path) -> object:
    from kf2v.engines.wan.weights import Weights

    return Weights(model="wan2.2-kf2v-flash", base=str(path))


def test_a_distilled_run_is_four_forwards_two_by_each_expert() -> None:
    first, second = Counted(), Counted()
    denoise([first, second], distilled(A14B), Unguided(), noise(), zeros(20), [prompts_of("a"), prompts_of("b")])
    assert [t for t, _ in first.asked] == pytest.approx([1000, 937.5])
    assert [t for t, _ in second.asked] == pytest.approx([833.3, 625], abs=0.05)
    assert {context for _, context in first.asked} == {"a"}


def test_guidance_on_an_interval_runs_the_negative_only_there() -> None:
    expert = Counted()
    schedule = quality(FLF2V, steps=10)
    denoise([expert], schedule, Cfg(low=0.9, high=0.99), noise(), zeros(20), [prompts_of("a", "not a")])
    guided = [t for t, context in expert.asked if context == "not a"]
    assert guided == [t for t, s in zip(schedule.timesteps, schedule.sigmas, strict=False) if 0.9 <= s <= 0.99]
    assert 0 < len(guided) < 10


def test_nag_asks_for_one_forward_a_step_whatever_the_negative(a14b: Stage) -> None:
    contexts = a14b.prompts()
    counted = [Counting(dit) for dit in a14b.experts]
    schedule = distilled(A14B)
    found = denoise(counted, schedule, Nag(), noise(), a14b.condition, contexts)
    assert [c.count for c in counted] == [2, 2]
    plain = denoise(a14b.experts, schedule, Unguided(), noise(), a14b.condition, contexts)
    same = denoise(a14b.experts, schedule, Nag(scale=1), noise(), a14b.condition, contexts)
    assert torch.equal(same, plain)
    assert apart(found, plain) > 1e-3


def test_every_block_is_told_as_a_share_of_the_whole() -> None:
    heard: list[float] = []
    schedule = quality(FLF2V, steps=3)
    denoise([Counted()], schedule, Cfg(), noise(), zeros(20), [prompts_of("a", "not a")], on_block=heard.append)
    assert heard == pytest.approx([(i + 1) / 12 for i in range(12)])


def test_every_step_shows_what_the_video_would_be(a14b: Stage) -> None:
    seen: list[tuple[int, Tensor]] = []
    schedule = distilled(A14B)
    latents = denoise(
        a14b.experts,
        schedule,
        Unguided(),
        noise(),
        a14b.condition,
        a14b.prompts(),
        on_step=lambda index, clean: seen.append((index, clean)),
    )
    assert [index for index, _ in seen] == [0, 1, 2, 3]
    assert torch.allclose(seen[-1][1], latents, atol=1e-6)


@pytest.mark.parametrize("place", ["on_step", "on_block"])
def test_a_run_ends_where_its_listener_raises(place: str) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    expert = Counted()
    with pytest.raises(KeyboardInterrupt):
        denoise([expert], distilled(FLF2V), Unguided(), noise(), zeros(20), [prompts_of("a")], **{place: stop})
    assert len(expert.asked) == 1


def test_missing_experts_and_negatives_are_told_before_anything_runs() -> None:
    expert = Counted()
    with pytest.raises(ValueError, match="needs 2 experts"):
        denoise([expert], distilled(A14B), Unguided(), noise(), zeros(20), [prompts_of("a")])
    with pytest.raises(ValueError, match="Nag needs a negative"):
        denoise([expert], distilled(FLF2V), Nag(), noise(), zeros(20), [prompts_of("a")])
    with pytest.raises(ValueError, match="Cfg needs a negative"):
        denoise([expert], quality(FLF2V), Cfg(), noise(), zeros(20), [prompts_of("a")])
    assert expert.asked == []


def test_noise_is_the_seeds_alone() -> None:
    first, second = initial_noise(2, 4, 4, seed=1), initial_noise(2, 4, 4, seed=1)
    assert torch.equal(first, second)
    assert not torch.equal(first, initial_noise(2, 4, 4, seed=2))
    assert (first.dtype, first.device.type) == (torch.float32, "cpu")


def zeros(channels: int) -> Tensor:
    return torch.zeros(1, channels, 3, HEIGHT // 8, WIDTH // 8)


def prompts_of(positive: object, negative: object = None) -> Prompts:
    return Prompts(positive=positive, negative=negative)  # type: ignore[arg-type]


@dataclass
class Counted:
    """An expert that predicts nothing and writes down what it is asked."""

    asked: list[tuple[float, object]] = field(default_factory=list)
    dtype: torch.dtype = torch.float32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    blocks: int = 2

    def forward(self, latents: Tensor, timestep: float, context: Context, on_block: object) -> Tensor:
        assert latents.shape[1] == 36
        self.asked.append((timestep, context))
        for index in range(self.blocks):
            on_block(index)  # type: ignore[operator]
        return torch.zeros_like(latents[:, :16])


class Counting(SimpleNamespace):
    """A real expert whose forwards are counted."""

    def __init__(self, dit: Dit) -> None:
        super().__init__(dit=dit, count=0, dtype=dit.dtype, device=dit.device, blocks=dit.blocks)

    def forward(self, *arguments: object) -> Tensor:
        self.count += 1
        return self.dit.forward(*arguments)


def test_a_schedule_is_all_that_decides_about_steps() -> None:
    """Two schedules, one engine: nothing is read from a checkpoint's scheduler."""
    one, two = Counted(), Counted()
    schedule: Schedule = quality(FLF2V, steps=5)
    denoise([one], schedule, Unguided(), noise(), zeros(20), [prompts_of("a")])
    denoise([two], schedule.with_shift(3.0), Unguided(), noise(), zeros(20), [prompts_of("a")])
    assert [t for t, _ in one.asked] == list(schedule.timesteps)
    assert [t for t, _ in two.asked] == list(schedule.with_shift(3.0).timesteps)

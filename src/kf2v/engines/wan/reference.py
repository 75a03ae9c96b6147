"""The same film through diffusers' own ``WanImageToVideoPipeline``: to check against, to compare with, to fall back on.

Nothing is computed here. What the stock pipeline cannot be asked for is set up around it, without touching its loop:
the distilled noise levels and the step at which experts change hands, both from our table; Wan's way of showing
pictures to CLIP; progress. Weights are read as kf2v reads them, so any format will do.
It knows no NAG: where guidance is off, ``negative_prompt`` does nothing. Pictures are not brought back to the given
ends. Not run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import init_empty_weights
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanTransformer3DModel,
)
from PIL import Image
from torch import Tensor, nn
from transformers import (
    BatchFeature,
    CLIPVisionModel,
    UMT5EncoderModel,
)

from kf2v.engines import Scene
from kf2v.engines.wan.checkpoint import components
from kf2v.engines.wan.checkpoint.bundle import Bundle
from kf2v.engines.wan.checkpoint.source import TensorSource
from kf2v.engines.wan.clip import Framing, stretched
from kf2v.engines.wan.family import DitShape, Family
from kf2v.engines.wan.fault import CheckpointError
from kf2v.engines.wan.geometry import FRAMES
from kf2v.engines.wan.pace import Pace
from kf2v.engines.wan.schedule import TRAIN_STEPS, Schedule
from kf2v.video import Frame
from kf2v.video.frames import size_of

#: how far noise levels of the stock scheduler may be from our table: one rounding to fp32 near 1, in either of two ways
SAME_LEVEL = 2e-6
#: transformer blocks that may wait in the GPU's queue; calling off takes as long as these
AHEAD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """Everything of the stock pipeline but its transformers and scheduler."""

    #: called with texts, as umT5's tokenizer is
    tokenizer: Any
    text_encoder: UMT5EncoderModel
    vae: AutoencoderKLWan
    #: None where pictures enter only through the latents
    image_encoder: CLIPVisionModel | None = None
    #: only asked for ``diffusers`` framing
    image_processor: Any = None

    @classmethod
    def load(
        cls, bundle: Bundle, *, device: torch.device, dtype: torch.dtype, vae_dtype: torch.dtype, framing: Framing
    ) -> Around:
        """From whatever directory ``bundle`` has. Raises CheckpointError."""
        cropping = bundle.family.clip and framing == "diffusers"
        return cls(
            tokenizer=components.tokenizer(bundle),
            text_encoder=_placed(components.text_encoder(bundle, dtype), device),
            vae=_placed(components.vae(bundle, vae_dtype), device),
            image_encoder=_placed(components.image_encoder(bundle, dtype), device) if bundle.family.clip else None,
            image_processor=_cropping(bundle.base) if cropping else None,
        )


class Heard:
    """A watch for those who do not want one."""

    def report(self, phase: str, done: float) -> None:
        del phase, done

    def note(self, text: str) -> None:
        del text


class Stock:
    """One model in diffusers' pipeline; makes one film at a time."""

    def __init__(
        self,
        family: Family,
        experts: Sequence[WanTransformer3DModel],
        around: Around,
        *,
        framing: Framing = "wan",
    ) -> None:
        """``experts`` high-noise first, all on one device. Raises ValueError for the wrong number of them."""
        if len(experts) != family.experts:
            raise ValueError(f"{family.id} has {family.experts} transformers, not {len(experts)}")
        self.family = family
        seer: Any = around.image_encoder
        framed = family.clip and framing == "wan"
        parts: dict[str, Any] = {
            "tokenizer": around.tokenizer,
            "text_encoder": around.text_encoder,
            "vae": around.vae,
            "scheduler": FlowMatchEulerDiscreteScheduler(),
            "image_encoder": seer,
            "image_processor": _Stretch(seer.config.image_size) if framed else around.image_processor,
            "transformer": experts[0],
            "transformer_2": experts[1] if family.experts == 2 else None,
        }
        self.pipeline: Any = WanImageToVideoPipeline(**parts, boundary_ratio=family.boundary)
        self.pipeline.set_progress_bar_config(disable=True)

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        *,
        device: torch.device,
        dtype: torch.dtype,
        vae_dtype: torch.dtype = torch.float32,
        framing: Framing = "wan",
    ) -> Stock:
        """All of ``bundle``, resident on ``device``. Raises CheckpointError.

        ``vae_dtype``: diffusers' documentation keeps the VAE in fp32.
        """
        around = Around.load(bundle, device=device, dtype=dtype, vae_dtype=vae_dtype, framing=framing)
        experts = [transformer(bundle.shape, source, device=device, dtype=dtype) for source in bundle.experts]
        return cls(bundle.family, experts, around, framing=framing)

    def latents(self, scene: Scene, schedule: Schedule, *, frames: int = FRAMES, watch: Any = None) -> Tensor:
        """Normalised latents fp32 [1,16,T,h,w] at the size of the scene.

        ``watch`` hears ``encode`` and ``denoise``; what it raises passes through. Raises ValueError for a schedule
        that the stock pipeline cannot follow.
        """
        return self._run(scene, schedule, frames=frames, watch=watch or Heard(), output="latent")[0]

    def frames(self, scene: Scene, schedule: Schedule, *, frames: int = FRAMES, watch: Any = None) -> Iterator[Frame]:
        """Pictures (H,W,3), as the VAE decodes them: all of them, before the first is given.

        ``watch`` hears ``encode``, ``denoise`` and ``decode``. Raises ValueError as ``latents`` does.
        """
        video = self._run(scene, schedule, frames=frames, watch=watch or Heard(), output="np")[0]  # [81,H,W,3] in 0 … 1
        for picture in video:
            yield np.rint(picture * np.float32(255)).astype(np.uint8)

    def _run(self, scene: Scene, schedule: Schedule, *, frames: int, watch: Any, output: str) -> Any:
        self._follow(schedule)
        size = size_of(scene.first)
        high, low = schedule.guidance
        guided = high > 1
        if not guided and low > 1 and self.family.experts == 2:
            raise ValueError(f"diffusers cannot guide only the second of two experts ({high}, {low})")
        watch.report("encode", 0.0)
        with self._reported(schedule, watch, passes=2 if guided else 1) as on_step:
            made = self.pipeline(
                image=Image.fromarray(scene.first),
                last_image=Image.fromarray(scene.last),
                prompt=scene.prompt,
                negative_prompt=(scene.negative_prompt or self.family.default_negative) if guided else None,
                height=size.height,
                width=size.width,
                num_frames=frames,
                num_inference_steps=schedule.steps,
                guidance_scale=high,
                guidance_scale_2=low if self.family.experts == 2 else None,
                generator=torch.Generator("cpu").manual_seed(scene.seed),
                output_type=output,
                callback_on_step_end=on_step,
            )
        return made.frames if output == "np" else (made.frames,)

    def _follow(self, schedule: Schedule) -> None:
        """Set the pipeline up so that it walks ``schedule``. Raises ValueError if it cannot."""
        scheduler = _scheduler(schedule)
        scheduler.set_timesteps(schedule.steps)
        apart = max(abs(a - b) for a, b in zip(scheduler.sigmas.tolist(), schedule.sigmas, strict=True))
        if apart > SAME_LEVEL:
            raise ValueError(f"diffusers' {type(scheduler).__name__} has other noise levels than {schedule.name}")
        self.pipeline.scheduler = scheduler
        self.pipeline.register_to_config(boundary_ratio=_boundary(schedule) if self.family.experts == 2 else None)

    @contextmanager
    def _reported(self, schedule: Schedule, watch: Any, *, passes: int) -> Generator[Callable[..., Mapping[str, Any]]]:
        """While this lasts, blocks tell ``watch`` how far they are; gives what the pipeline calls after each step."""
        experts = [expert for expert in (self.pipeline.transformer, self.pipeline.transformer_2) if expert is not None]
        total = schedule.steps * passes * len(experts[0].blocks)
        done = 0
        pace = Pace(self.pipeline.device, ahead=AHEAD)

        def block_done(*_: object) -> None:
            nonlocal done
            done += 1
            pace.step()
            watch.report("denoise", done / total)

        def begin(*_: object) -> None:
            if done == 0:
                watch.report("denoise", 0.0)

        def step_done(pipeline: object, index: int, timestep: object, tensors: Mapping[str, Any]) -> Mapping[str, Any]:
            del pipeline, timestep
            if index == schedule.steps - 1:
                watch.report("decode", 0.0)
            return dict(tensors)

        distinct = list({id(expert): expert for expert in experts}.values())
        hooks = [expert.register_forward_pre_hook(begin) for expert in distinct]
        hooks += [block.register_forward_hook(block_done) for expert in distinct for block in expert.blocks]
        try:
            yield step_done
        finally:
            for hook in hooks:
                hook.remove()


def transformer(
    shape: DitShape, source: TensorSource, *, device: torch.device, dtype: torch.dtype
) -> WanTransformer3DModel:
    """Diffusers' transformer with the tensors of ``source``, each read straight to ``device``.

    What diffusers keeps in fp32 whatever it is asked for (norms, the time embedding, modulation tables) is kept so.
    Raises CheckpointError if a tensor is missing or there is one too many.
    """
    with init_empty_weights(include_buffers=False):
        config: dict[str, Any] = shape.as_config()
        model: Any = WanTransformer3DModel(**config)
    exact = tuple(model._keep_in_fp32_modules or ())
    state: dict[str, Tensor] = {}
    for name in source.names():
        wanted = torch.float32 if any(part in name.split(".") for part in exact) else dtype
        stored = source.read(name, device=device)
        state[name] = stored.to(wanted) if isinstance(stored, Tensor) else stored.dequantised(wanted)
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise CheckpointError(source.where, f"does not fit diffusers' transformer: {error}") from error
    return model.eval().requires_grad_(False).to(device)


class _Told(FlowMatchEulerDiscreteScheduler):
    """Euler steps on the noise levels it was told, whoever asks for how many.

    ``set_timesteps(4)`` of the stock one spreads four steps evenly and then shifts them, which is another schedule
    than the weights were distilled on; it takes ``sigmas``, but the pipeline does not pass any.
    """

    knots: tuple[float, ...] = ()

    def set_timesteps(self, *asked: object, device: Any = None, **more: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        del asked, more
        super().set_timesteps(sigmas=list(self.knots), device=device)


def _scheduler(schedule: Schedule) -> Any:
    if schedule.solver == "unipc":
        return UniPCMultistepScheduler(
            prediction_type="flow_prediction",
            use_flow_sigmas=True,
            num_train_timesteps=TRAIN_STEPS,
            flow_shift=schedule.shift,
        )
    told = _Told(num_train_timesteps=TRAIN_STEPS, shift=schedule.shift)
    told.knots = schedule.knots
    return told


def _boundary(schedule: Schedule) -> float:
    """Half way between the last timestep of the high-noise expert and the first of the low-noise one, over 1000.

    So an expert that changes by index changes at the very step where the pipeline asks for a timestep.
    """
    high = schedule.high_noise_steps
    times = (2.0 * TRAIN_STEPS, *schedule.timesteps, -2.0 * TRAIN_STEPS)
    return (times[high] + times[high + 1]) / 2 / TRAIN_STEPS


class _Stretch:
    """Shows pictures to CLIP as Wan does, called as diffusers' image processors are."""

    def __init__(self, side: int) -> None:
        self._side = side

    def __call__(self, images: Any, return_tensors: str) -> BatchFeature:
        del return_tensors
        given = images if isinstance(images, list) else [images]
        seen = torch.cat([stretched(np.asarray(image, dtype=np.uint8), self._side) for image in given])  # [n,3,224,224]
        return BatchFeature({"pixel_values": seen})


def _placed(model: Any, device: torch.device) -> Any:
    module: nn.Module = model
    return module.eval().requires_grad_(False).to(device)


def _cropping(base: Path) -> Any:
    """The image processor that a diffusers directory has."""
    from transformers import CLIPImageProcessor  # which says on standard error that it would like torchvision

    try:
        return CLIPImageProcessor.from_pretrained(base / "image_processor", local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(base / "image_processor", f"cannot be read: {error}", "use Wan's framing") from error

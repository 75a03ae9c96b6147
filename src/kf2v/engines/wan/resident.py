"""One model, loaded: its encoders, its transformers and its VAE, and how they make latents of a scene together.

Knows no frames and no files beyond the bundle it is loaded from, and no other model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import diffusers.utils.logging
import structlog
import torch
import transformers.utils.logging
from torch import Tensor

from kf2v.engines import Scene, Watch
from kf2v.engines.wan.checkpoint import Bundle
from kf2v.engines.wan.clip import ClipEncoder
from kf2v.engines.wan.conditioning import condition
from kf2v.engines.wan.dit import Dit
from kf2v.engines.wan.experts import OnLoad, dtype_of, load_experts
from kf2v.engines.wan.family import Family
from kf2v.engines.wan.geometry import latents_of
from kf2v.engines.wan.guidance import Cfg, Guidance, Nag, Unguided
from kf2v.engines.wan.preview import Projection
from kf2v.engines.wan.profiles import Options, Plan
from kf2v.engines.wan.reference import Stock
from kf2v.engines.wan.sampler import initial_noise
from kf2v.engines.wan.schedule import Schedule, schedule_of
from kf2v.engines.wan.take import Take
from kf2v.engines.wan.text import TextEncoder
from kf2v.engines.wan.vae import Vae

if TYPE_CHECKING:
    from kf2v.engines.wan.company import Others

log = structlog.get_logger(__name__)

#: the share of loading that encoders and VAE take, roughly their share of the bytes
ENCODERS_SHARE = 0.2


class Resident(Protocol):
    """A model that is loaded: makes latents of scenes, and has the VAE that makes pictures of those."""

    @property
    def vae(self) -> Vae: ...

    def latents(self, scene: Scene, watch: Watch, *, frames: int) -> Tensor:
        """Normalised fp32 latents [1,16,T,h,w] of ``frames`` frames in the size of the scene's pictures.

        ``watch`` hears ``encode`` and ``denoise`` and is shown a preview per step; what it raises passes through.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """A model in kf2v's own forward and loop."""

    family: Family
    schedule: Schedule
    text: TextEncoder
    #: None where pictures enter only through the latents
    clip: ClipEncoder | None
    vae: Vae
    #: high-noise first
    experts: tuple[Dit, ...]
    #: the same transformers on other GPUs, if there are any
    others: Others | None = None

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        plan: Plan,
        options: Options,
        *,
        device: torch.device,
        on_load: OnLoad,
        others: Others | None = None,
    ) -> Native:
        """All of ``bundle``, placed as ``plan`` says; ``others`` load the same meanwhile.

        Raises CheckpointError, CompanyBroken, and what ``on_load`` raises.
        """
        on_load(0.0)
        dtype = dtype_of(bundle, device)
        text_device = device if plan.placement.text_on_gpu else torch.device("cpu")
        with _quiet():
            text = TextEncoder.load(bundle, device=text_device, dtype=dtype)
            on_load(0.5 * ENCODERS_SHARE)
            clip = (
                ClipEncoder.load(bundle, framing=options.clip, device=device, dtype=dtype)
                if bundle.family.clip
                else None
            )
            on_load(0.8 * ENCODERS_SHARE)
            vae = Vae.load(bundle, device=device, dtype=vae_dtype(device))
        ulysses = None if others is None else others.ulysses
        experts = load_experts(
            bundle,
            plan,
            options,
            device=device,
            ulysses=ulysses,
            on_load=lambda done: on_load(ENCODERS_SHARE + (1 - ENCODERS_SHARE) * done),
        )
        if others is not None:
            others.loaded(lambda: on_load(1.0))
        on_load(1.0)
        return cls(
            family=bundle.family,
            schedule=schedule_of(bundle.family, distilled_weights=bundle.distilled),
            text=text,
            clip=clip,
            vae=vae,
            experts=experts,
            others=others,
        )

    def latents(self, scene: Scene, watch: Watch, *, frames: int) -> Tensor:
        """As ``Resident`` promises. Half of ``encode`` is words, the other half pictures."""
        watch.report("encode", 0.0)
        guidance, negative = guided(self.family, self.schedule, scene.negative_prompt)
        share = 0.3 if negative is None else 0.15
        words = self.text.encode(scene.prompt, lambda done: watch.report("encode", share * done))  # [1,512,text_dim]
        watch.report("encode", share)
        avoided = None
        if negative is not None:
            avoided = self.text.encode(negative, lambda done: watch.report("encode", share + share * done))
        watch.report("encode", 0.3)
        seen = None if self.clip is None else self.clip.encode(scene.first, scene.last)  # [1,514,image_dim]
        watch.report("encode", 0.4)
        count = latents_of(frames)
        told = condition(
            self.vae,
            scene.first,
            scene.last,
            frames=frames,
            on_latent=lambda index: watch.report("encode", 0.5 + 0.5 * index / count),
        )  # [1,20,T,h,w]
        watch.report("encode", 1.0)
        shown = Projection(told[0, 4:, 0].float().cpu().numpy(), scene.first)

        def preview(index: int, clean: Tensor) -> None:
            """The middle of what the take would be if it stopped now; the last step's is about to be seen itself."""
            if index + 1 < self.schedule.steps:
                watch.show(shown.picture(clean[0, :, count // 2].float().cpu().numpy()))

        take = Take(
            schedule=self.schedule,
            guidance=guidance,
            noise=initial_noise(count, told.shape[3], told.shape[4], seed=scene.seed),
            condition=told,
            words=words,
            avoided=avoided,
            seen=seen,
        )
        watch.report("denoise", 0.0)
        denoised = take.denoised if self.others is None else partial(self.others.denoised, take)
        return denoised(self.experts, preview, partial(watch.report, "denoise"))


def guided(family: Family, schedule: Schedule, negative_prompt: str) -> tuple[Guidance, str | None]:
    """How to keep away from what, for weights with this schedule; None: from nothing.

    Distilled weights were trained without guidance: they get NAG, and only if somebody wrote a negative prompt. All
    others were trained for classifier-free guidance, away from the family's own default at least.
    """
    asked = negative_prompt.strip()
    if schedule.distilled:
        return (Nag(), asked) if asked else (Unguided(), None)
    return Cfg(), asked or family.default_negative


def vae_dtype(device: torch.device) -> torch.dtype:
    """bf16 on a GPU, where exactness would cost seconds; fp32 on a CPU, which is no slower at it."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """No bars and no advice on standard error: it carries log lines, and ``watch`` is told how far loading is.

    What is missing in a checkpoint is found by us, and what is superfluous there harms nobody.
    """
    libraries: tuple[Any, ...] = (diffusers.utils.logging, transformers.utils.logging)
    before = [(library.is_progress_bar_enabled(), library.get_verbosity()) for library in libraries]
    for library in libraries:
        library.disable_progress_bar()
        library.set_verbosity_error()
    try:
        yield
    finally:
        for library, (bars, verbosity) in zip(libraries, before, strict=True):
            library.set_verbosity(verbosity)
            if bars:
                library.enable_progress_bar()


@dataclass(frozen=True, slots=True, kw_only=True)
class Diffused:
    """A model in diffusers' stock pipeline, whole on one device; its VAE is walked as ours is."""

    stock: Stock
    schedule: Schedule
    vae: Vae

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        plan: Plan,
        options: Options,
        *,
        device: torch.device,
        on_load: OnLoad,
        others: Others | None = None,
    ) -> Diffused:
        """All of ``bundle``; of ``plan`` and ``others`` it knows nothing. Raises CheckpointError."""
        del plan, others
        on_load(0.0)
        exact = vae_dtype(device)
        with _quiet():
            stock = Stock.load(
                bundle, device=device, dtype=dtype_of(bundle, device), vae_dtype=exact, framing=options.clip
            )
        on_load(1.0)
        return cls(
            stock=stock,
            schedule=schedule_of(bundle.family, distilled_weights=bundle.distilled),
            vae=Vae(stock.pipeline.vae, device=device, dtype=exact, where=bundle.base),
        )

    def latents(self, scene: Scene, watch: Watch, *, frames: int) -> Tensor:
        """As ``Resident`` promises, without previews; distilled weights take no notice of a negative prompt."""
        return self.stock.latents(scene, self.schedule, frames=frames, watch=watch)


#: by ``Options.runtime``
RUNTIMES: dict[str, type[Native] | type[Diffused]] = {"native": Native, "diffusers": Diffused}

"""A take: all that the transformers are told of one scene, as tensors and tables, and the latents they make of it.

Knows no prompt and no picture. It can be sent to another process, whose transformers then do the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from kf2v.engines.wan.dit import Dit
from kf2v.engines.wan.guidance import Guidance
from kf2v.engines.wan.sampler import OnBlock, OnStep, Prompts, denoise
from kf2v.engines.wan.schedule import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """See the fields."""

    schedule: Schedule
    guidance: Guidance
    #: [1, 16, T, h, w] fp32
    noise: Tensor
    #: [1, 20, T, h, w]: 4 mask, 16 latent
    condition: Tensor
    #: [1, 512, text_dim]
    words: Tensor
    #: the negative prompt, as ``words``; None where there is nothing to avoid
    avoided: Tensor | None
    #: [1, 514, image_dim]; None for transformers that see pictures only through the latents
    seen: Tensor | None

    def denoised(self, experts: Sequence[Dit], on_step: OnStep, on_block: OnBlock) -> Tensor:
        """[1, 16, T, h, w] fp32; ``experts`` high-noise first. What callbacks raise passes through."""
        contexts = [self._read_by(expert) for expert in experts]
        return denoise(experts, self.schedule, self.guidance, self.noise, self.condition, contexts, on_step, on_block)

    def on_host(self) -> Take:
        """The same in the host's memory."""
        avoided = None if self.avoided is None else self.avoided.cpu()
        seen = None if self.seen is None else self.seen.cpu()
        condition, words = self.condition.cpu(), self.words.cpu()
        return replace(self, noise=self.noise.cpu(), condition=condition, words=words, avoided=avoided, seen=seen)

    def _read_by(self, expert: Dit) -> Prompts:
        positive = expert.prepare(self.words, self.seen)
        if self.avoided is None:
            return Prompts(positive=positive)
        return Prompts(positive=positive, negative=expert.prepare(self.avoided, self.seen, like=positive))

"""Wan's causal video VAE, latent by latent: one frame, then four at a time, in both directions.

Knows neither prompts nor schedules. The weights and layers are diffusers' ``AutoencoderKLWan``; only the walk along
time is ours. Its layers remember the last two frames they saw in a list that their caller hands in, so every walk
here has a list of its own, two of them may be under way at once, and memory does not grow with the number of frames.
Not run on a GPU yet.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn

from kf2v.engines import EngineUnavailable
from kf2v.engines.wan.checkpoint import Bundle, CheckpointError, components
from kf2v.errors import AlgorithmError
from kf2v.video import Frame

#: what to do about another VAE
REMEDY = "both families use Wan2.1's, in diffusers' format, with 16 channels and no patches"
#: a list of what the causal convolutions remember, and where in it the next one looks
_MEMORY, _PLACE, _BEGINNING = "feat_cache", "feat_idx", "first_chunk"


class Vae:
    """Frames to normalised latents and back. Channels are 16, strides 4 in time and 8 in height and width."""

    def __init__(
        self, model: AutoencoderKLWan, *, device: torch.device, dtype: torch.dtype, where: str | Path = "VAE"
    ) -> None:
        """Raises EngineUnavailable if this diffusers walks in another way, CheckpointError for another VAE."""
        _known(model, where)
        self.device, self.dtype = device, dtype
        self._model: Any = model.eval().requires_grad_(False)
        nn.Module.to(self._model, device, dtype)  # diffusers' own warns of layers kept in fp32; it names none
        config: Any = model.config
        if device.type == "cuda":
            channels_last(self._model)
        self._mean, self._spread = (
            torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )

    @classmethod
    def load(cls, bundle: Bundle, *, device: torch.device, dtype: torch.dtype) -> Vae:
        """Of ``bundle``, whatever its layout. Raises CheckpointError, and EngineUnavailable as above."""
        return cls(components.vae(bundle, dtype), device=device, dtype=dtype, where=bundle.base)

    @torch.inference_mode()
    def encode(self, chunks: Iterable[Tensor]) -> Tensor:
        """[1,3,1,H,W], then any number of [1,3,4,H,W], in [-1,1], to normalised fp32 latents [1,16,T,H/8,W/8].

        The most likely latent is taken, nothing is drawn. Bit-equal to ``encode`` of all frames at once.
        """
        memory = _memory(self._model.encoder)
        coded = [
            self._model.encoder(self._placed(chunk), **{_MEMORY: memory, _PLACE: [0]})  # [1,32,1,h,w]
            for chunk in chunks
        ]
        moments = self._model.quant_conv(torch.cat(coded, dim=2))  # [1,32,T,h,w]: mean and log-variance
        likeliest = moments.chunk(2, dim=1)[0]  # [1,16,T,h,w]
        return (likeliest.float() - self._mean) * (1.0 / self._spread)

    def decode(self, latents: Tensor) -> Iterator[Tensor]:
        """Normalised latents [1,16,T,h,w] to [1,3,1,8h,8w], then T-1 times [1,3,4,8h,8w], in [-1,1], as asked for.

        Bit-equal to ``decode`` of all latents at once.
        """
        opened = self._opened(latents)
        memory = _memory(self._model.decoder)
        for index in range(opened.shape[2]):
            yield self._decoded(opened[:, :, index : index + 1], memory, first=index == 0)

    @torch.inference_mode()
    def _opened(self, latents: Tensor) -> Tensor:
        raw = latents.to(self.device, torch.float32) * self._spread + self._mean  # [1,16,T,h,w]
        return self._model.post_quant_conv(self._placed(raw))

    @torch.inference_mode()
    def _decoded(self, latent: Tensor, memory: list[Tensor | None], *, first: bool) -> Tensor:
        shown = self._model.decoder(latent, **{_MEMORY: memory, _PLACE: [0], _BEGINNING: first})
        return shown.clamp(-1.0, 1.0)

    def _placed(self, tensor: Tensor) -> Tensor:
        tensor = tensor.to(self.device, self.dtype)
        return tensor.contiguous(memory_format=torch.channels_last_3d) if self.device.type == "cuda" else tensor


def channels_last(model: nn.Module) -> None:
    """Lay out every weight as cuDNN's convolutions like it; layers keep to it to the end.

    Weight by weight, for ``Module.to`` takes one format, and the VAE has convolutions over pictures beside those
    over time.
    """
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for weight in model.parameters():
        if weight.ndim in formats:
            weight.data = weight.data.contiguous(memory_format=formats[weight.ndim])


def chunk_of(frame: Frame) -> Tensor:
    """(H,W,3) uint8 as [1,3,1,H,W] in [-1,1], fp32."""
    levels = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None, :, None]  # [1,3,1,H,W]
    return levels.float() / 255 * 2 - 1


@torch.inference_mode()
def pictures(chunk: Tensor) -> list[Frame]:
    """[1,3,n,H,W] in [-1,1] as n pictures (H,W,3), rounded to the nearest level.

    Raises AlgorithmError if something in it is no number, which would otherwise be a black frame.
    """
    levels = (chunk[0].float() + 1) * 127.5  # [3,n,H,W]
    if not torch.isfinite(levels).all():
        raise AlgorithmError from ArithmeticError("the VAE decoded something that is no number")
    frames = levels.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 3, 0).contiguous().cpu().numpy()
    return [frame.copy() for frame in frames]  # one of them, held, does not hold the others


def _memory(coder: nn.Module) -> list[Tensor | None]:
    """An empty memory for one walk: a place for every causal convolution of ``coder``."""
    return [None] * sum(type(module).__name__ == "WanCausalConv3d" for module in coder.modules())


def _known(model: Any, where: str | Path) -> None:
    coders = {"encoder": {_MEMORY, _PLACE}, "decoder": {_MEMORY, _PLACE, _BEGINNING}}
    for name, wanted in coders.items():
        coder = getattr(model, name, None)
        walks = isinstance(coder, nn.Module) and bool(_memory(coder))
        offered = set(inspect.signature(coder.forward).parameters) if isinstance(coder, nn.Module) else set[str]()
        if not walks or not wanted <= offered:
            raise EngineUnavailable(
                f"The Wan VAE of diffusers {diffusers.__version__} cannot be walked latent by latent: "
                f"its {name} takes {', '.join(sorted(offered)) or 'nothing'}, not {', '.join(sorted(wanted))}.",
                fix="Install diffusers>=0.42,<0.44.",
            )
    if model.config.z_dim != 16 or model.config.patch_size is not None:
        raise CheckpointError(
            where, f"has {model.config.z_dim} latent channels and patches {model.config.patch_size}", REMEDY
        )

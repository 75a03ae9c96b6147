"""What the transformer is told about both ends: a clip, grey between them, as latents, and a mask of what is given.

Source: Wan2.1 ``wan/first_last_frame2video.py``; Wan2.2-I2V-A14B has the same 4 + 16 channels, so it is told the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from kf2v.engines.wan.geometry import LATENT_FRAMES, latents_of
from kf2v.engines.wan.vae import Vae, chunk_of
from kf2v.video import Frame


def condition(
    vae: Vae, first: Frame, last: Frame, *, frames: int, on_latent: Callable[[int], None] = lambda _: None
) -> Tensor:
    """fp32 [1,20,T,h,w]: 4 channels of mask, then 16 of the clip ``first``, grey, …, grey, ``last``, encoded as one.

    ``on_latent`` is called with 0 … T-1 before each latent is made.
    """

    def heard() -> Iterator[Tensor]:
        for index, chunk in enumerate(clip(first, last, frames=frames)):
            on_latent(index)
            yield chunk

    latents = vae.encode(heard())  # [1,16,T,h,w]
    return torch.cat([mask(latents.shape[2:], device=latents.device), latents], dim=1)


def clip(first: Frame, last: Frame, *, frames: int) -> Iterator[Tensor]:
    """The clip in the VAE's chunks, [1,3,1,H,W] then [1,3,4,H,W], in [-1,1], where 0 is grey."""
    latents = latents_of(frames)
    start, end = chunk_of(first), chunk_of(last)  # [1,3,1,H,W]
    yield start
    grey = torch.zeros_like(end).expand(-1, -1, LATENT_FRAMES, -1, -1)
    for _ in range(latents - 2):
        yield grey
    if latents > 1:
        yield torch.cat([grey[:, :, 1:], end], dim=2)


def mask(shape: torch.Size | tuple[int, ...], *, device: torch.device | str = "cpu") -> Tensor:
    """fp32 [1,4,T,h,w] for ``shape`` (T,h,w): 1 where pixels are given, 0 where they are asked for.

    Channel c of latent t stands for frame 4(t-1)+1+c, and all four of latent 0 for frame 0: so all of latent 0 are 1,
    and of the last latent the last.
    """
    given = torch.zeros(1, LATENT_FRAMES, *shape, device=device)
    given[:, :, 0] = 1
    given[:, -1, -1] = 1
    return given

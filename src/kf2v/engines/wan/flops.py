"""How much arithmetic a forward of the transformer is, from its shape alone. Knows no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kf2v.engines.wan.family import TEXT_TOKENS, DitShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Flops:
    """Floating-point operations of one forward, multiplications and additions counted apart."""

    #: projections and FFN of all blocks
    linear: int
    #: tokens of the video among each other
    self_attention: int
    #: from those to prompt and pictures
    cross_attention: int
    #: keys and values of prompt and pictures, which ``dit.Dit.prepare`` computes once and no forward
    context: int
    #: patches, embeddings and head
    ends: int

    @property
    def total(self) -> int:
        """A forward as diffusers runs it, with ``context`` computed every time."""
        return self.forward + self.context

    @property
    def forward(self) -> int:
        """A forward of ``dit.Dit``."""
        return self.linear + self.self_attention + self.cross_attention + self.ends


def flops(shape: DitShape, grid: tuple[int, int, int], *, nag: bool = False) -> Flops:
    """For ``grid`` = (frames, rows, columns) of tokens; latents have twice as many rows and columns."""
    length, d, layers = math.prod(grid), shape.width, shape.layers
    image = 0 if shape.image_dim is None else shape.image_tokens or 0
    read = TEXT_TOKENS * (2 if nag else 1) + image
    patch = math.prod(shape.patch)
    ends = 2 * length * d * patch * (shape.in_channels + shape.out_channels)
    ends += 2 * (shape.freq_dim * d + d * d + 6 * d * d)
    context = layers * 4 * (TEXT_TOKENS + image) * d * d + 2 * TEXT_TOKENS * d * (shape.text_dim + d)
    if shape.image_dim is not None:
        context += 2 * image * shape.image_dim * (shape.image_dim + d)
    return Flops(
        linear=layers * (8 * length * d * d + 4 * length * d * shape.ffn + 4 * length * d * d),
        self_attention=layers * 4 * length * length * d,
        cross_attention=layers * 4 * length * read * d,
        context=context,
        ends=ends,
    )

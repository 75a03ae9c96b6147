"""Weights that nobody trained: random numbers in the exact shapes, made where they are needed, for speed and parity.

What they make of a prompt is noise; how long that takes is true. The same seed gives the same numbers on the same
kind of device, so that two runtimes can be handed equal weights without writing 57 GB to a disk. Never zeros, which
multiply faster than real weights do.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from kf2v.engines.wan.family import IMAGE_TOKENS, DitShape, Family

#: how far norms' weights lie around 1, and biases and tables around 0
SPREAD = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What the networks around the transformer measure: arguments of their own configurations."""

    text: Mapping[str, Any]
    clip: Mapping[str, Any]
    vae: Mapping[str, Any] = field(default_factory=dict)
    #: of the transformers; None: the family's own
    dit: Mapping[str, int] | None = None

    def shape(self, family: Family) -> DitShape:
        """The transformer's, for ``family``."""
        if self.dit is None:
            return family.shape
        picture = {"image_dim": self.clip["hidden_size"], "image_tokens": IMAGE_TOKENS} if family.clip else {}
        return DitShape(**self.dit, text_dim=self.text["d_model"], **picture)


#: umT5-xxl, Open-CLIP ViT-H/14 and Wan2.1's VAE, as ``config.json`` of their published directories says
FULL = Sizes(
    text={
        "vocab_size": 256384,
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
    },
    clip={
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
        "hidden_act": "gelu",
        "projection_dim": 1024,
    },
)

#: everything small, and every side a multiple of 16, so that fp8 has something to multiply
TINY = Sizes(
    text={**FULL.text, "vocab_size": 512, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    clip={**FULL.clip, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2},
    vae={"base_dim": 8, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1},
    dit={"layers": 2, "heads": 2, "head_dim": 16, "ffn": 64},
)


class RandomTensors:
    """A transformer's tensors, drawn anew each time they are read; fulfils ``checkpoint.TensorSource``."""

    def __init__(self, shape: DitShape, *, seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> None:
        self.where = f"random weights, seed {seed}"
        self._shapes = shape.tensors()
        self._seed = seed
        self._dtype = dtype

    def names(self) -> Collection[str]:
        return self._shapes.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def dtype(self, name: str) -> torch.dtype:
        del name
        return self._dtype

    def read(self, name: str, device: str | torch.device = "cpu") -> Tensor:
        """Drawn on ``device``: another kind of device gives other numbers."""
        generator = torch.Generator(device).manual_seed(zlib.crc32(name.encode()) ^ self._seed)
        return drawn(name, self._shapes[name], generator, dtype=self._dtype)


def drawn(name: str, shape: tuple[int, ...], generator: torch.Generator, *, dtype: torch.dtype) -> Tensor:
    """A parameter on the generator's device: matrices keep the size of what passes through, norms lie around one.

    Drawn in fp32 whatever ``dtype`` is, so that rounding is all that differs between two of them.
    """
    numbers = torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float32)
    owner, _, leaf = name.rpartition(".")
    if leaf == "gamma" or ("norm" in owner.rpartition(".")[2] and leaf == "weight"):
        numbers.mul_(SPREAD).add_(1)
    elif len(shape) < 2 or leaf in ("scale_shift_table", "pos_embed"):
        numbers.mul_(SPREAD)
    else:
        numbers.mul_(torch.Size(shape[1:]).numel() ** -0.5)
    return numbers.to(dtype)

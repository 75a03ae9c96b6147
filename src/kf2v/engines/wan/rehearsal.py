"""Whole models that nobody trained, in either runtime, put together in memory: for benches and tests.

Knows no files. A tokenizer's vocabulary is the only thing that cannot be drawn, so a stand-in counts characters.
"""

from __future__ import annotations

import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, UMT5Config, UMT5EncoderModel

from kf2v.engines.wan.clip import ClipEncoder
from kf2v.engines.wan.dit import Dit
from kf2v.engines.wan.family import Family
from kf2v.engines.wan.ops import Ops
from kf2v.engines.wan.reference import Around, Stock, transformer
from kf2v.engines.wan.resident import Diffused, Native, vae_dtype
from kf2v.engines.wan.schedule import Schedule
from kf2v.engines.wan.synthetic import FULL, RandomTensors, Sizes, drawn
from kf2v.engines.wan.text import TextEncoder
from kf2v.engines.wan.vae import Vae

Module = TypeVar("Module", bound=nn.Module)


def text_encoder(sizes: Sizes, *, device: torch.device, dtype: torch.dtype, seed: int = 0) -> UMT5EncoderModel:
    """umT5's encoder, ready to encode."""
    with _building(device, dtype):
        model = UMT5EncoderModel(UMT5Config(**sizes.text))
    return _redrawn(model, seed)


def image_encoder(sizes: Sizes, *, device: torch.device, dtype: torch.dtype, seed: int = 0) -> CLIPVisionModel:
    """CLIP's half that sees."""
    with _building(device, dtype):
        model = CLIPVisionModel(CLIPVisionConfig(**sizes.clip))
    return _redrawn(model, seed)


def vae(sizes: Sizes, *, device: torch.device, dtype: torch.dtype, seed: int = 0) -> AutoencoderKLWan:
    """Wan's VAE, both halves."""
    with _building(device, dtype):
        model = AutoencoderKLWan(**sizes.vae)
    return _redrawn(model, seed)


class Syllables:
    """Stands in for umT5's tokenizer, whose vocabulary is a download: every character is a number, none of them right.

    Called as diffusers and kf2v call the real one.
    """

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary

    def __call__(self, texts: list[str], *, max_length: int, **how: object) -> Tokens:
        del how
        ids = torch.zeros(len(texts), max_length, dtype=torch.long)
        present = torch.zeros_like(ids)
        for row, text in enumerate(texts):
            numbers = [*(3 + ord(char) % (self._vocabulary - 3) for char in text[: max_length - 1]), 1]
            ids[row, : len(numbers)] = torch.tensor(numbers)
            present[row, : len(numbers)] = 1
        return Tokens(input_ids=ids, attention_mask=present)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a tokenizer gives."""

    #: [texts, length]
    input_ids: Tensor
    #: [texts, length], 1 where there is text
    attention_mask: Tensor


@contextmanager
def _building(device: torch.device, dtype: torch.dtype) -> Generator[None]:
    """New modules come into being on ``device`` in ``dtype``: 11 GB of umT5 never pass through the host."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def _redrawn(model: Module, seed: int) -> Module:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            generator = torch.Generator(parameter.device).manual_seed(zlib.crc32(name.encode()) ^ seed)
            parameter.copy_(drawn(name, tuple(parameter.shape), generator, dtype=parameter.dtype))
    return model.eval().requires_grad_(False)


def native(
    family: Family,
    schedule: Schedule,
    *,
    sizes: Sizes = FULL,
    ops: Ops,
    device: torch.device,
    dtype: torch.dtype = torch.bfloat16,
    seed: int = 0,
) -> Native:
    """A model in kf2v's own runtime, all of it random and resident on ``device``."""
    shape, exact = sizes.shape(family), vae_dtype(device)
    words = text_encoder(sizes, device=device, dtype=dtype, seed=seed)
    seer = image_encoder(sizes, device=device, dtype=dtype, seed=seed) if family.clip else None
    return Native(
        family=family,
        schedule=schedule,
        text=TextEncoder(Syllables(sizes.text["vocab_size"]), words, device=device),
        clip=None if seer is None else ClipEncoder(seer, device=device),
        vae=Vae(vae(sizes, device=device, dtype=exact, seed=seed), device=device, dtype=exact),
        experts=tuple(
            Dit(shape, RandomTensors(shape, seed=seed + index, dtype=dtype), ops, device, dtype)
            for index in range(family.experts)
        ),
    )


def diffused(
    family: Family,
    schedule: Schedule,
    *,
    sizes: Sizes = FULL,
    device: torch.device,
    dtype: torch.dtype = torch.bfloat16,
    exact: torch.dtype | None = None,
    seed: int = 0,
    share: bool = False,
) -> Diffused:
    """The same weights in diffusers' pipeline. ``exact`` is the VAE's dtype, by default as kf2v's own runtime has it.

    ``share``: the first expert stands for both, which takes as long and half the memory, and makes other latents.
    """
    shape, exact = sizes.shape(family), exact or vae_dtype(device)
    around = Around(
        tokenizer=Syllables(sizes.text["vocab_size"]),
        text_encoder=text_encoder(sizes, device=device, dtype=dtype, seed=seed),
        vae=vae(sizes, device=device, dtype=exact, seed=seed),
        image_encoder=image_encoder(sizes, device=device, dtype=dtype, seed=seed) if family.clip else None,
    )
    distinct = 1 if share else family.experts
    experts = [
        transformer(shape, RandomTensors(shape, seed=seed + index, dtype=dtype), device=device, dtype=dtype)
        for index in range(distinct)
    ]
    stock = Stock(family, experts * (family.experts // distinct), around)
    return Diffused(stock=stock, schedule=schedule, vae=Vae(around.vae, device=device, dtype=exact))

"""Prompts as umT5 embeddings: cleaned, 512 tokens long, zero beyond the prompt's end.

Knows neither pictures nor latents. Tokenizer and encoder are transformers'.
"""

from __future__ import annotations

import html
import re
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import ftfy
import torch
from torch import Tensor
from transformers import UMT5EncoderModel

from kf2v.engines.wan.checkpoint import Bundle, CheckpointError, components
from kf2v.engines.wan.family import TEXT_TOKENS

#: what to do about a text encoder that is not whole
REMEDY = "fetch it again, and use transformers>=5.2"
#: embeddings that are remembered, 4 MB each; the default negative prompt comes with every job and so stays
REMEMBERED = 8

#: told 0 … 1 of one prompt
OnLayer: TypeAlias = Callable[[float], None]


def cleaned(prompt: str) -> str:
    """``prompt`` as Wan was trained on it: mojibake mended, HTML entities resolved twice, white space collapsed.

    Source: ``wan/modules/tokenizers.py`` (``basic_clean``, ``whitespace_clean``).
    """
    mended = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return re.sub(r"\s+", " ", mended).strip()


class TextEncoder:
    """umT5-xxl: a prompt to [1,512,4096] (``text_dim`` of the checkpoint)."""

    def __init__(
        self, tokenizer: Any, model: UMT5EncoderModel, *, device: torch.device, where: str | Path = "umT5"
    ) -> None:
        """``device`` is where embeddings are made, ``where`` the model came from. Raises CheckpointError."""
        _sound(model, where)
        self._tokenizer = tokenizer
        # A T5 that was not loaded but built is in training mode, with dropout.
        self._model: Any = model.eval().requires_grad_(False).to(device)  # type: ignore[arg-type]
        self._device = device
        self._remembered: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def load(cls, bundle: Bundle, *, device: torch.device, dtype: torch.dtype) -> TextEncoder:
        """Of ``bundle``, whatever its layout. Raises CheckpointError."""
        model = components.text_encoder(bundle, dtype)
        return cls(components.tokenizer(bundle), model, device=device, where=bundle.base)

    def encode(self, prompt: str, on_layer: OnLayer = lambda _: None) -> Tensor:
        """[1,512,text_dim] on the encoder's device, in its dtype; made once per prompt as long as it is remembered.

        What is beyond 512 tokens is cut off. ``on_layer`` hears after each layer how much is done, 0 … 1, and may raise
        to stop: on a CPU a prompt takes many seconds.
        """
        text = cleaned(prompt)
        with self._lock:
            known = self._remembered.pop(text, None)
            embedding = self._encoded(text, on_layer) if known is None else known
            self._remembered[text] = embedding
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return embedding

    @torch.inference_mode()
    def _encoded(self, text: str, on_layer: OnLayer) -> Tensor:
        read = self._tokenizer(
            [text],
            padding="max_length",
            max_length=TEXT_TOKENS,
            truncation=True,
            add_special_tokens=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        present = read.attention_mask.to(self._device)  # [1,512]
        with self._heard(on_layer):
            states = self._model(read.input_ids.to(self._device), present).last_hidden_state  # [1,512,text_dim]
        return torch.where(present[..., None].bool(), states, torch.zeros_like(states))

    @contextmanager
    def _heard(self, on_layer: OnLayer) -> Generator[None]:
        """Meanwhile, ``on_layer`` hears of every layer that has done its work (on a GPU, been given it)."""
        layers = self._model.encoder.block

        def hook(index: int) -> Callable[..., None]:
            return lambda *_: on_layer((index + 1) / len(layers))

        handles = [layer.register_forward_hook(hook(index)) for index, layer in enumerate(layers)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _sound(model: Any, where: str | Path) -> None:
    """Raises CheckpointError unless the encoder reads the very embeddings that were loaded.

    Early 5.x versions of transformers left them at zero, since the published config does not tie them
    (transformers #43880, #43992): every prompt then means nothing.
    """
    shared, used = model.shared.weight, model.encoder.embed_tokens.weight
    if used is not shared:
        raise CheckpointError(where, "its encoder does not share the model's token embeddings", REMEDY)
    if not torch.isfinite(used).all() or not used.any():
        raise CheckpointError(where, "its token embeddings are zero or no numbers", REMEDY)

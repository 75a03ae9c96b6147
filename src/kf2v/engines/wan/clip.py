"""Both pictures as CLIP tokens, for the one family that wants them (Wan2.1-FLF2V).

Knows neither prompts nor latents. The encoder, Open-CLIP ViT-H/14, is transformers'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPVisionModel

from kf2v.engines.wan.checkpoint import Bundle, CheckpointError, components
from kf2v.engines.wan.profiles import Framing
from kf2v.video import Frame

#: CLIP's own statistics of R, G and B (openai/CLIP ``clip.py``; the same in ``open_clip`` and Wan)
MEAN, SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class ClipEncoder:
    """Two pictures to [1,514,1280] (``hidden_size`` of the checkpoint)."""

    def __init__(self, model: CLIPVisionModel, *, processor: Any = None, device: torch.device) -> None:
        """``processor`` is diffusers' image processor, only asked for ``diffusers`` framing."""
        self._model: Any = model.eval().requires_grad_(False).to(device)  # type: ignore[arg-type]
        self._processor = processor
        self._device = device

    @classmethod
    def load(cls, bundle: Bundle, *, framing: Framing, device: torch.device, dtype: torch.dtype) -> ClipEncoder:
        """Of ``bundle``, whatever its layout. Raises CheckpointError."""
        processor = _processor(bundle.base / "image_processor") if framing == "diffusers" else None
        return cls(components.image_encoder(bundle, dtype), processor=processor, device=device)

    @torch.inference_mode()
    def encode(self, first: Frame, last: Frame) -> Tensor:
        """[1,514,width] on the encoder's device, in its dtype: 257 tokens of ``first``, then 257 of ``last``.

        They are the states before the last layer, class token first (Wan2.1 ``wan/modules/clip.py``,
        ``use_31_block``).
        """
        seen = torch.cat([self._seen(first), self._seen(last)])  # [2,3,224,224]
        seen = seen.to(self._device, self._model.dtype)
        states = self._model(seen, output_hidden_states=True).hidden_states[-2]  # [2,257,width]
        return states.reshape(1, -1, states.shape[-1])

    def _seen(self, frame: Frame) -> Tensor:
        if self._processor is not None:
            return self._processor(images=frame, return_tensors="pt")["pixel_values"]
        return stretched(frame, self._model.config.image_size)


def stretched(frame: Frame, side: int) -> Tensor:
    """(H,W,3) uint8 as [1,3,side,side], normalised for CLIP.

    Bicubic without smoothing before, whatever the ratio of its sides: Wan2.1 ``wan/modules/clip.py``, ``visual``.
    """
    levels = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255  # [1,3,H,W]
    square = functional.interpolate(levels * 2 - 1, size=(side, side), mode="bicubic", align_corners=False) * 0.5 + 0.5
    mean, spread = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, SPREAD))
    return (square - mean) / spread


def _processor(folder: Path) -> Any:
    from transformers import CLIPImageProcessor  # which says on standard error that it would like torchvision

    try:
        return CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(folder, f"says nothing about pictures: {error}", "use Wan's own framing") from error

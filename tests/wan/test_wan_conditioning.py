"""What the transformer is told, against what the stock pipeline tells it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from kf2v.engines.wan.checkpoint import Bundle, open_bundle
from kf2v.engines.wan.conditioning import clip, condition, mask
from kf2v.engines.wan.vae import Vae
from kf2v.engines.wan.weights import Weights
from kf2v.video import Size
from scenery import landscape
from wan import tiny

SIZE = Size(width=64, height=48)
FIRST, LAST = landscape(SIZE, seed=1), landscape(SIZE, seed=2)


@pytest.fixture(scope="module")
def bundle(flf2v_dir: Path) -> Bundle:
    return open_bundle(Weights(model="tiny", base=str(flf2v_dir)))


@pytest.fixture(scope="module")
def pipeline(flf2v_dir: Path) -> Any:
    return tiny.load(flf2v_dir)


@pytest.fixture(scope="module")
def vae(bundle: Bundle) -> Vae:
    return Vae.load(bundle, device=torch.device("cpu"), dtype=torch.float32)


def folded(frames: int, height: int, width: int) -> Tensor:
    """Wan2.1 ``first_last_frame2video.py``: one mask per frame, the first four times, folded in fours."""
    seen = torch.zeros(1, frames, height, width)
    seen[:, 0] = 1
    seen[:, -1] = 1
    seen = torch.cat([seen[:, :1].repeat_interleave(4, dim=1), seen[:, 1:]], dim=1)
    return seen.view(1, seen.shape[1] // 4, 4, height, width).transpose(1, 2)


@pytest.mark.parametrize("frames", [5, 9, 13, 81])
def test_the_mask_is_the_reference_folding(frames: int) -> None:
    assert torch.equal(mask(((frames - 1) // 4 + 1, 6, 8)), folded(frames, 6, 8))


@pytest.mark.parametrize("frames", [5, 9, 81])
@torch.inference_mode()
def test_conditions_are_the_stock_pipelines(frames: int, vae: Vae, pipeline: Any) -> None:
    first, last = (
        pipeline.video_processor.preprocess(Image.fromarray(frame), height=48, width=64) for frame in (FIRST, LAST)
    )
    _, expected = pipeline.prepare_latents(
        first, 1, 16, 48, 64, frames, torch.float32, torch.device("cpu"), torch.Generator(), None, last
    )
    made = condition(vae, FIRST, LAST, frames=frames)
    assert made.shape == (1, 20, (frames - 1) // 4 + 1, 6, 8)
    assert (made - expected).abs().max() <= 1e-6 * expected.abs().max()


def test_the_clip_is_grey_between_both_pictures() -> None:
    video = torch.cat(list(clip(FIRST, LAST, frames=81)), dim=2)
    assert video.shape == (1, 3, 81, 48, 64)
    assert not video[:, :, 1:-1].any()
    assert video[:, :, 0].std() > 0.1
    assert not torch.equal(video[:, :, 0], video[:, :, -1])


def test_every_latent_is_told_before_it_is_made(vae: Vae) -> None:
    heard: list[int] = []
    condition(vae, FIRST, LAST, frames=9, on_latent=heard.append)
    assert heard == [0, 1, 2]


def test_encoding_can_be_called_off_at_any_latent(vae: Vae) -> None:
    def enough(index: int) -> None:
        if index == 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        condition(vae, FIRST, LAST, frames=81, on_latent=enough)

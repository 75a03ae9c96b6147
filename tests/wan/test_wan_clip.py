"""Both pictures as CLIP tokens: Wan's framing, and diffusers' as a switch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from kf2v.engines.wan.checkpoint import Bundle, CheckpointError, open_bundle
from kf2v.engines.wan.clip import ClipEncoder, stretched
from kf2v.engines.wan.weights import Weights
from kf2v.video import Size
from scenery import landscape
from wan import tiny

CPU = torch.device("cpu")
SIZE = Size(width=320, height=176)
FIRST, LAST = landscape(SIZE, seed=1), landscape(SIZE, seed=2)


@pytest.fixture(scope="module")
def bundle(flf2v_dir: Path) -> Bundle:
    return open_bundle(Weights(model="tiny", base=str(flf2v_dir)))


@pytest.fixture(scope="module")
def pipeline(flf2v_dir: Path) -> Any:
    return tiny.load(flf2v_dir)


@pytest.fixture(scope="module")
def wan(bundle: Bundle) -> ClipEncoder:
    return ClipEncoder.load(bundle, framing="wan", device=CPU, dtype=torch.float32)


def test_tokens_of_the_first_picture_come_before_those_of_the_last(wan: ClipEncoder) -> None:
    both, turned = wan.encode(FIRST, LAST), wan.encode(LAST, FIRST)
    assert both.shape == (1, 514, 16)
    assert torch.allclose(both[:, :257], turned[:, 257:], atol=1e-6)
    assert not torch.allclose(both[:, :257], both[:, 257:], atol=1e-2)


@torch.inference_mode()
def test_the_states_before_the_last_layer_are_given(wan: ClipEncoder, pipeline: Any) -> None:
    encoder = pipeline.image_encoder
    seen = torch.cat([stretched(FIRST, 224), stretched(LAST, 224)])
    states = encoder(seen, output_hidden_states=True).hidden_states
    assert len(states) == 4
    expected = states[2].reshape(1, 514, 16)
    assert torch.equal(wan.encode(FIRST, LAST), expected)


def test_wan_stretches_the_whole_picture_to_the_square() -> None:
    """Wan2.1 ``wan/modules/clip.py``: bicubic in [-1,1], then [0,1], then CLIP's mean and spread."""
    given = torch.from_numpy(FIRST.copy()).permute(2, 0, 1).float().div(255).sub(0.5).div(0.5)
    square = functional.interpolate(given[None], size=(224, 224), mode="bicubic", align_corners=False)
    square = square.mul(0.5).add(0.5)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    spread = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    assert torch.allclose(stretched(FIRST, 224), (square - mean) / spread, atol=1e-5)


@torch.inference_mode()
def test_diffusers_framing_is_the_stock_pipelines(bundle: Bundle, pipeline: Any) -> None:
    encoder = ClipEncoder.load(bundle, framing="diffusers", device=CPU, dtype=torch.float32)
    expected = pipeline.encode_image([Image.fromarray(FIRST), Image.fromarray(LAST)], CPU)
    assert torch.allclose(encoder.encode(FIRST, LAST), expected.reshape(1, 514, 16), atol=1e-6)


def test_the_framings_see_different_things_where_a_picture_is_no_square(bundle: Bundle, wan: ClipEncoder) -> None:
    stock = ClipEncoder.load(bundle, framing="diffusers", device=CPU, dtype=torch.float32)
    edge = FIRST.copy()
    edge[:, :40] = 255 - edge[:, :40]  # outside the square in the middle
    assert torch.equal(stock.encode(FIRST, LAST), stock.encode(edge, LAST))
    assert not torch.equal(wan.encode(FIRST, LAST), wan.encode(edge, LAST))


def test_wan_framing_needs_no_processor(bundle: Bundle, tmp_path: Path, wan: ClipEncoder) -> None:
    (tmp_path / "image_encoder").symlink_to(bundle.base / "image_encoder")
    bare = ClipEncoder.load(replace(bundle, base=tmp_path), framing="wan", device=CPU, dtype=torch.float32)
    assert np.array_equal(bare.encode(FIRST, LAST), wan.encode(FIRST, LAST))


def test_a_folder_without_an_encoder_is_told(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        ClipEncoder.load(replace(bundle, base=tmp_path), framing="wan", device=CPU, dtype=torch.float32)


def test_loading_the_engines_parts_says_nothing_on_standard_error() -> None:
    """transformers' image processor would, of torchvision, which this needs only for diffusers' framing."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import kf2v.engines.wan.resident"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")

"""The tiny checkpoints themselves: real formats, real shapes, nothing that could get lost unnoticed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from kf2v.engines.wan.family import A14B, FLF2V, DitShape
from wan import tiny


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8))


@pytest.mark.parametrize(("folder", "shape"), [("flf2v_dir", tiny.FLF2V_SHAPE), ("a14b_dir", tiny.A14B_SHAPE)])
def test_a_shape_names_every_tensor_that_diffusers_writes(
    folder: str, shape: DitShape, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(folder)
    assert DitShape.from_config(json.loads((path / "transformer/config.json").read_text())) == shape
    written = load_file(path / "transformer/diffusion_pytorch_model.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in written.items()} == shape.tensors()


def test_the_real_families_have_the_published_number_of_parameters() -> None:
    assert FLF2V.shape.parameters == pytest.approx(16.396e9, rel=1e-4)
    assert A14B.shape.parameters == pytest.approx(14.289e9, rel=1e-4)


@pytest.mark.parametrize("folder", ["flf2v_dir", "a14b_dir"])
def test_no_tensor_is_all_zeros_or_all_ones(folder: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(folder)
    for file in path.rglob("*.safetensors"):
        for name, tensor in load_file(file).items():
            assert tensor.float().std() > 0 or tensor.numel() == 1, (file, name)


@pytest.mark.parametrize("folder", ["flf2v_dir", "a14b_dir"])
def test_the_stock_pipeline_makes_latents_of_it(folder: str, request: pytest.FixtureRequest) -> None:
    pipeline = tiny.load(request.getfixturevalue(folder))
    latents = pipeline(
        image=picture(1),
        last_image=picture(2),
        prompt="a cat walks",
        height=48,
        width=64,
        num_frames=5,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(7),
        output_type="latent",
    ).frames
    assert tuple(latents.shape) == (1, 16, 2, 6, 8)
    assert torch.isfinite(latents).all()

"""The VAE, latent by latent, against diffusers' own walk over the whole clip."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn

from kf2v.engines import EngineUnavailable
from kf2v.engines.wan.checkpoint import Bundle, CheckpointError, open_bundle
from kf2v.engines.wan.vae import Vae, channels_last, chunk_of, pictures
from kf2v.engines.wan.weights import Weights
from kf2v.errors import AlgorithmError
from kf2v.video import Size
from scenery import landscape
from wan import tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bundle(flf2v_dir: Path) -> Bundle:
    return open_bundle(Weights(model="tiny", base=str(flf2v_dir)))


@pytest.fixture(scope="module")
def model() -> AutoencoderKLWan:
    torch.manual_seed(3)
    return tiny.vae()


@pytest.fixture(scope="module")
def vae(model: AutoencoderKLWan) -> Vae:
    return Vae(model, device=CPU, dtype=torch.float32)


def clip(frames: int) -> Tensor:
    return torch.rand(1, 3, frames, 48, 64, generator=torch.Generator().manual_seed(frames)) * 2 - 1


def latents(count: int, seed: int = 1) -> Tensor:
    return torch.randn(1, 16, count, 6, 8, generator=torch.Generator().manual_seed(seed))


def scaled(model: Any, z: Tensor) -> Tensor:
    """Out of the normalised space, as ``Vae`` does it."""
    mean, spread = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (model.config.latents_mean, model.config.latents_std))
    return z * spread + mean


@pytest.mark.parametrize("frames", [1, 5, 9, 21])
@torch.inference_mode()
def test_encoding_in_chunks_is_encoding_the_whole_clip_bit_by_bit(frames: int, vae: Vae, model: Any) -> None:
    video = clip(frames)
    whole = model.encode(video).latent_dist.mode()
    mean, spread = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (model.config.latents_mean, model.config.latents_std))
    chunks = [video[:, :, :1], *video[:, :, 1:].split(4, dim=2)] if frames > 1 else [video]
    coded = vae.encode(chunks)
    assert coded.shape == (1, 16, (frames - 1) // 4 + 1, 6, 8)
    assert torch.equal(coded, (whole - mean) * (1.0 / spread))


@pytest.mark.parametrize("count", [1, 2, 6])
@torch.inference_mode()
def test_decoding_latent_by_latent_is_decoding_all_of_them_bit_by_bit(count: int, vae: Vae, model: Any) -> None:
    z = latents(count)
    chunks = list(vae.decode(z))
    assert [chunk.shape[2] for chunk in chunks] == [1] + [4] * (count - 1)
    assert torch.equal(torch.cat(chunks, dim=2), model.decode(scaled(model, z)).sample)


def test_two_clips_may_be_decoded_by_turns(vae: Vae) -> None:
    apart = [list(vae.decode(latents(3, seed))) for seed in (1, 2)]
    together = list(zip(vae.decode(latents(3, 1)), vae.decode(latents(3, 2)), strict=True))
    for index, pair in enumerate(together):
        for clip_, chunk in zip(apart, pair, strict=True):
            assert torch.equal(clip_[index], chunk)


def test_what_was_decoded_is_forgotten(vae: Vae) -> None:
    """At any time two chunks exist at most: the one that was asked for, and the one before that somebody held."""
    alive: list[weakref.ref[Tensor]] = []
    for chunk in vae.decode(latents(6)):
        alive.append(weakref.ref(chunk))
        assert sum(reference() is not None for reference in alive) <= 2
        del chunk


def test_a_clip_left_in_the_middle_leaves_nothing_behind(vae: Vae, model: Any) -> None:
    walk = vae.decode(latents(6))
    next(walk)
    walk.close()
    assert not any(torch.is_tensor(kept) for kept in [*getattr(model, "_feat_map", []), *vars(vae)])


def test_the_nearest_level_is_shown() -> None:
    chunk = torch.tensor([-1.5, -1.0, 0.0, 0.5, 1.0, 2.0]).view(1, 1, 1, 1, 6).expand(1, 3, 2, 4, 6)
    for frame in pictures(chunk):
        assert frame.shape == (4, 6, 3)
        assert frame.dtype == np.uint8
        assert frame.flags.c_contiguous
        assert frame[0, :, 0].tolist() == [0, 0, 128, 191, 255, 255]


def test_a_picture_becomes_a_chunk_and_comes_back() -> None:
    picture = landscape(Size(width=64, height=48))
    chunk = chunk_of(picture)
    assert chunk.shape == (1, 3, 1, 48, 64)
    assert -1 <= chunk.min() < chunk.max() <= 1
    assert np.array_equal(pictures(chunk)[0], picture)


def test_what_is_no_number_is_never_shown() -> None:
    with pytest.raises(AlgorithmError):
        pictures(torch.full((1, 3, 1, 4, 4), float("nan")))


def test_one_picture_held_does_not_hold_its_chunk() -> None:
    frames = pictures(torch.zeros(1, 3, 4, 8, 8))
    assert all(frame.base is None for frame in frames)


def test_a_vae_comes_from_its_bundle(bundle: Bundle, flf2v_dir: Path) -> None:
    loaded = Vae.load(bundle, device=CPU, dtype=torch.float32)
    stock = AutoencoderKLWan.from_pretrained(flf2v_dir / "vae")
    with torch.inference_mode():
        expected = stock.decode(scaled(stock, latents(2))).sample
    assert torch.equal(torch.cat(list(loaded.decode(latents(2))), dim=2), expected)


def test_a_folder_without_a_vae_is_told(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        Vae.load(replace(bundle, base=tmp_path), device=CPU, dtype=torch.float32)


def test_a_vae_of_another_kind_is_told() -> None:
    other = AutoencoderKLWan(base_dim=8, z_dim=8, dim_mult=[1, 2, 2, 2], num_res_blocks=1)
    with pytest.raises(CheckpointError, match="8 latent channels"):
        Vae(other, device=CPU, dtype=torch.float32)


class Unheard(nn.Module):
    """A decoder of some other version, which remembers by itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_diffusers_that_walks_in_another_way_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    other = tiny.vae()
    other.decoder = Unheard()  # type: ignore[assignment]
    with pytest.raises(EngineUnavailable, match="latent by latent") as raised:
        Vae(other, device=CPU, dtype=torch.float32)
    assert "diffusers>=" in raised.value.fix


def test_weights_laid_out_for_a_gpu_decode_the_same(model: AutoencoderKLWan) -> None:
    other = tiny_copy(model)
    channels_last(other)
    laid_out = [weight for weight in other.parameters() if weight.ndim == 5]
    assert all(weight.is_contiguous(memory_format=torch.channels_last_3d) for weight in laid_out)
    plain, turned = (
        torch.cat(list(Vae(each, device=CPU, dtype=torch.float32).decode(latents(2))), dim=2) for each in (model, other)
    )
    assert (turned - plain).abs().max() < 1e-5


def test_half_precision_stays_close(model: AutoencoderKLWan) -> None:
    exact = torch.cat(list(Vae(model, device=CPU, dtype=torch.float32).decode(latents(2))), dim=2)
    half = Vae(tiny_copy(model), device=CPU, dtype=torch.bfloat16)
    rough = torch.cat(list(half.decode(latents(2))), dim=2).float()
    assert (rough - exact).norm() / exact.norm() < 2e-2


def tiny_copy(model: AutoencoderKLWan) -> AutoencoderKLWan:
    other = tiny.vae()
    other.load_state_dict(model.state_dict())
    return other

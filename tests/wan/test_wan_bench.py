"""What is measured on a GPU is walked here on tiny shapes, and both runtimes make the same latents."""

from __future__ import annotations

import torch

from kf2v.engines.wan import rehearsal, synthetic, vae

CPU = torch.device("cpu")


def test_the_vae_computes_the_same_however_its_weights_are_laid_out() -> None:
    plain = vae.Vae(rehearsal.vae(synthetic.TINY, device=CPU, dtype=torch.float32), device=CPU, dtype=torch.float32)
    model = rehearsal.vae(synthetic.TINY, device=CPU, dtype=torch.float32)
    vae.channels_last(model)
    laid_out = vae.Vae(model, device=CPU, dtype=torch.float32)
    assert {weight.is_contiguous() for weight in model.parameters() if weight.ndim > 3} == {True, False}
    latents = torch.randn(1, 16, 2, 6, 8, generator=torch.Generator().manual_seed(0))
    for one, other in zip(plain.decode(latents), laid_out.decode(latents), strict=True):
        assert torch.allclose(one, other, atol=1e-5)

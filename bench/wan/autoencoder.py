"""(c) The VAE at full width with random weights: encoding the clip of both ends, decoding the latents.

bf16 is what the engine uses, fp32 what diffusers' documentation does; one latent at a time is how films are streamed,
four at a time would hold more memory and have fewer launches.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.wan.card import Taken, emptied, peak, timed
from bench.wan.scale import Scale
from kf2v.engines.wan import conditioning, rehearsal
from kf2v.engines.wan.geometry import latent_shape
from kf2v.engines.wan.limits import H100
from kf2v.engines.wan.vae import Vae, chunk_of, pictures
from kf2v.video import Frame, Size

#: floating-point operations of encoding and decoding 81 frames, counted on meta tensors (wan-engine.md, section 6)
FLOPS = {"480P": (0.164e15, 0.275e15), "720P": (0.382e15, 0.639e15)}
KINDS = {"bf16": torch.bfloat16, "fp32": torch.float32}
CHUNKS = (1, 4)


def measure(scale: Scale, device: torch.device) -> dict[str, Any]:
    """Everything of this step."""
    rows: list[dict[str, Any]] = []
    for name, dtype in KINDS.items():
        vae = Vae(rehearsal.vae(scale.sizes, device=device, dtype=dtype), device=device, dtype=dtype)
        for tier, size in scale.films.items():
            rows += _rows(scale, tier, size, vae, name, device)
        del vae
        emptied(device)
    return {"vae": rows}


def _rows(scale: Scale, tier: str, size: Size, vae: Vae, kind: str, device: torch.device) -> Iterator[dict[str, Any]]:
    generator = np.random.default_rng(0)
    first, last = (generator.integers(0, 256, (size.height, size.width, 3), dtype=np.uint8) for _ in range(2))
    encoding, decoding = FLOPS.get(tier, (0.0, 0.0))
    facts = {"tier": tier, "kind": kind}
    yield facts | {"work": "encode", "chunk": 1} | _encoded(scale, vae, first, last, encoding, device)
    latents = torch.randn((1, 16, *latent_shape(size, scale.frames)), device=device)
    for chunk in CHUNKS:
        try:
            with peak(device) as held:
                taken = timed(lambda chunk=chunk: _drained(decoded(vae, latents, chunk)), device)
        except torch.OutOfMemoryError as error:
            yield facts | {"work": "decode", "chunk": chunk, "unusable": str(error).splitlines()[0][:200]}
            continue
        yield facts | {"work": "decode", "chunk": chunk} | _told(taken, decoding, held)
        emptied(device)
    levels = chunk_of(first).to(device, vae.dtype).expand(-1, -1, 4, -1, -1)
    taken = timed(lambda: pictures(levels), device)
    yield facts | {"work": "to the host", "chunk": 1} | _told(taken, 0.0, {})


def _encoded(scale: Scale, vae: Vae, first: Frame, last: Frame, flops: float, device: torch.device) -> dict[str, Any]:
    clip = [chunk.to(device) for chunk in conditioning.clip(first, last, frames=scale.frames)]
    with peak(device) as held:
        taken = timed(lambda: vae.encode(clip), device)
    return _told(taken, flops, held)


def decoded(vae: Vae, latents: Tensor, chunk: int) -> Iterator[Tensor]:
    """The engine's own walk for one latent at a time; with more, the first alone and then ``chunk`` together.

    [1,16,T,h,w] to [1,3,n,8h,8w] in [-1,1]. The engine has no use for the latter, so it knows the VAE's inner side.
    """
    if chunk == 1:
        yield from vae.decode(latents)
        return
    opened = vae._opened(latents)
    memory: list[Tensor | None] = _memory(vae)
    yield vae._decoded(opened[:, :, :1], memory, first=True)
    for start in range(1, opened.shape[2], chunk):
        yield vae._decoded(opened[:, :, start : start + chunk], memory, first=False)


def _memory(vae: Vae) -> list[Tensor | None]:
    from kf2v.engines.wan import vae as module

    return module._memory(vae._model.decoder)


def _drained(chunks: Iterator[Tensor]) -> None:
    for _ in chunks:
        pass


def _told(taken: Taken, flops: float, held: dict[str, float]) -> dict[str, Any]:
    return {**taken.told(flops, H100["bf16"]), **held}


def table(result: dict[str, Any]) -> Iterator[str]:
    """For reading."""
    yield f"{'tier':6}{'kind':6}{'work':14}{'latents':>8}{'s':>9}{'TFLOP/s':>9}{'of 790':>8}{'GB':>7}"
    for row in result["vae"]:
        begin = f"{row['tier']:6}{row['kind']:6}{row['work']:14}{row['chunk']:>8}"
        if row.get("unusable"):
            yield f"{begin}  not here: {row['unusable']}"
        else:
            yield (
                f"{begin}{row['ms'] / 1e3:>9.3f}{row['tflops']:>9.0f}{row['share']:>8.0%}{row.get('peak_gb', 0):>7.1f}"
            )

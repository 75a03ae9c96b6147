"""(c) The VAE at full width with random weights: encoding the clip of both ends, decoding the latents.

bf16 with channels last is what the engine uses, fp32 what diffusers' documentation does; one latent at a time is how
films are streamed, four at a time hold more memory and have fewer launches. The plain layout, and letting cuDNN search
for its fastest kernels, are there to see what they cost and bring.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from bench.wan.card import Taken, emptied, peak, timed
from bench.wan.scale import Scale
from kf2v.engines.wan import conditioning, rehearsal
from kf2v.engines.wan.geometry import latent_shape
from kf2v.engines.wan.limits import H100
from kf2v.engines.wan.vae import Vae, chunk_of, pictures
from kf2v.video import Frame, Size

#: floating-point operations of encoding and decoding 81 frames, counted on meta tensors
FLOPS = {"480P": (0.164e15, 0.275e15), "720P": (0.382e15, 0.639e15)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way to run it."""

    name: str
    dtype: torch.dtype = torch.bfloat16
    #: as modules come, not channels last
    plain: bool = False
    #: cuDNN tries its kernels on the first run (``torch.backends.cudnn.benchmark``)
    search: bool = False
    #: latents decoded at a time
    chunks: tuple[int, ...] = (1,)


KINDS = (
    Kind(name="bf16", chunks=(1, 4)),
    Kind(name="bf16, searched", search=True),
    Kind(name="bf16, plain", plain=True),
    Kind(name="fp32", dtype=torch.float32),
)


class Plain(Vae):
    """Without channels last."""

    def __init__(self, model: AutoencoderKLWan, *, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(model, device=device, dtype=dtype)
        for weight in self._model.parameters():
            weight.data = weight.data.contiguous()

    def _placed(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype)


def measure(scale: Scale, device: torch.device) -> dict[str, Any]:
    """Everything of this step."""
    rows: list[dict[str, Any]] = []
    for kind in KINDS:
        model = rehearsal.vae(scale.sizes, device=device, dtype=kind.dtype)
        vae = (Plain if kind.plain else Vae)(model, device=device, dtype=kind.dtype)
        with torch.backends.cudnn.flags(benchmark=kind.search):
            for tier, size in scale.films.items():
                rows += _rows(scale, tier, size, vae, kind, device)
        del vae, model
        emptied(device)
    return {"vae": rows}


def _rows(scale: Scale, tier: str, size: Size, vae: Vae, kind: Kind, device: torch.device) -> Iterator[dict[str, Any]]:
    generator = np.random.default_rng(0)
    first, last = (generator.integers(0, 256, (size.height, size.width, 3), dtype=np.uint8) for _ in range(2))
    encoding, decoding = FLOPS.get(tier, (0.0, 0.0))
    facts = {"tier": tier, "kind": kind.name}
    yield facts | {"work": "encode", "chunk": 1} | _encoded(scale, vae, first, last, encoding, device)
    latents = torch.randn((1, 16, *latent_shape(size, scale.frames)), device=device)
    for chunk in kind.chunks:
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
    yield f"{'tier':6}{'kind':16}{'work':14}{'latents':>8}{'s':>9}{'TFLOP/s':>9}{'of 790':>8}{'GB':>7}"
    for row in result["vae"]:
        begin = f"{row['tier']:6}{row['kind']:16}{row['work']:14}{row['chunk']:>8}"
        if row.get("unusable"):
            yield f"{begin}  not here: {row['unusable']}"
        else:
            yield (
                f"{begin}{row['ms'] / 1e3:>9.3f}{row['tflops']:>9.0f}{row['share']:>8.0%}{row.get('peak_gb', 0):>7.1f}"
            )

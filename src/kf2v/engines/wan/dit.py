"""The diffusion transformer of Wan2.1 and Wan2.2: one forward from noisy latents to a velocity.

Knows no prompt, no picture and no schedule. The weights are diffusers' by name, the arithmetic is Wan's
(``wan/modules/model.py``); which kernels do it is for ``ops`` to say. Norms, modulation and the time embedding are
fp32, the rest is the dtype asked for, rounded where diffusers rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from kf2v.engines.wan.family import TEXT_TOKENS, DitShape
from kf2v.engines.wan.guidance import Nag
from kf2v.engines.wan.offload import Block, Blocks, Offload
from kf2v.engines.wan.ops import Activations, Ops, Weights
from kf2v.engines.wan.ops.linear import LinearKind, dense, pack
from kf2v.engines.wan.ops.rope import Rope, rope
from kf2v.engines.wan.pace import Pace

if TYPE_CHECKING:
    from kf2v.engines.wan.checkpoint import Scaled, TensorSource
    from kf2v.engines.wan.parallel import Ulysses

#: the longest wave of the time embedding (Wan, ``sinusoidal_embedding_1d``)
LONGEST_PERIOD = 10_000.0
#: eps of the image embedding's norms, torch's own default
IMAGE_EPS = 1e-5
#: told the index of the block just done
OnBlock: TypeAlias = Callable[[int], None]
#: (q, k, v), [L, heads, head_dim] each → [L, d]
Attend: TypeAlias = Callable[[Tensor, Tensor, Tensor], Activations]

#: the linear layers a block needs while denoising, each from the named ones of the checkpoint
FORWARD_LAYERS = {
    "qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "out": ("attn1.to_out.0",),
    "cross_q": ("attn2.to_q",),
    "cross_out": ("attn2.to_out.0",),
    "up": ("ffn.net.0.proj",),
    "down": ("ffn.net.2",),
}
#: those only a new prompt or new pictures need
TEXT_LAYERS = {"text_kv": ("attn2.to_k", "attn2.to_v")}
IMAGE_LAYERS = {"image_kv": ("attn2.add_k_proj", "attn2.add_v_proj")}


@dataclass(frozen=True, slots=True)
class Read:
    """What the tokens of a video can read in one layer: keys and values, [S, heads, head_dim] each."""

    text: tuple[Tensor, Tensor]
    image: tuple[Tensor, Tensor] | None


@dataclass(frozen=True, slots=True)
class Context:
    """A prompt (and, with CLIP, both pictures) as every layer of one expert reads it; good for any number of steps."""

    layers: tuple[Read, ...]
    #: what to keep away from, and how
    avoided: tuple[Read, ...] | None = None
    nag: Nag | None = None

    def avoiding(self, negative: Context, nag: Nag) -> Context:
        """This context with normalised attention guidance away from ``negative``'s text."""
        return replace(self, avoided=negative.layers, nag=nag)

    @property
    def nbytes(self) -> int:
        """On the device."""
        pairs = [pair for read in self.layers for pair in (read.text, read.image) if pair is not None]
        return sum(t.numel() * t.element_size() for pair in pairs for t in pair)


class Dit:
    """One transformer, ready to denoise."""

    def __init__(
        self,
        shape: DitShape,
        source: TensorSource,
        ops: Ops,
        device: torch.device | str,
        dtype: torch.dtype = torch.bfloat16,
        offload: Offload | None = None,
        *,
        ulysses: Ulysses | None = None,
        on_block: OnBlock = lambda _: None,
    ) -> None:
        """Read the weights block by block, straight to ``device``; ``on_block`` hears of each.

        Raises CheckpointError from ``source`` for what it cannot read, and ValueError when ``ulysses`` has a number
        of GPUs that the heads cannot be shared by.
        """
        self.shape, self.dtype, self.device = shape, dtype, torch.device(device)
        self.ops = ops
        self._ulysses = ulysses
        if ulysses is not None and shape.heads % ulysses.size:
            raise ValueError(f"{shape.heads} heads cannot be shared evenly by {ulysses.size} GPUs")
        self._reader = _Reader(source, self.device, dtype, ops.linear)
        self._entrance = _Entrance(shape, self._reader)
        self._tables = torch.cat(  # [layers, 6, d] fp32
            [self._reader.dense(f"blocks.{i}.scale_shift_table", torch.float32) for i in range(shape.layers)]
        )
        self._head_table = self._reader.dense("scale_shift_table", torch.float32)  # [1, 2, d]
        self._head = self._reader.linear("", {"head": ("proj_out",)}, native=True)
        self._blocks, self._prompts = Blocks(self.device, offload), Blocks(self.device, offload and Offload())
        self._row_coded: set[tuple[int, str]] = set()
        for index in range(shape.layers):
            self._load(index)
            on_block(index)
        del self._reader
        self._turns: dict[tuple[int, int, int], Rope] = {}
        self._pace = Pace(self.device)

    @property
    def blocks(self) -> int:
        """How often ``on_block`` is told in a forward."""
        return self.shape.layers

    @property
    def device_bytes(self) -> int:
        """What blocks take on the device; the rest of the weights is well under 1 GB."""
        return self._blocks.device_bytes + self._prompts.device_bytes

    @property
    def host_bytes(self) -> int:
        return self._blocks.host_bytes + self._prompts.host_bytes

    @torch.no_grad()
    def prepare(self, text: Tensor, image: Tensor | None = None, *, like: Context | None = None) -> Context:
        """text [1, 512, text_dim] (zeros beyond the prompt's tokens), image [1, 514, image_dim] where there is CLIP.

        Keys and values of every layer, so that no step computes them again. ``like`` is a context of the same
        pictures: its part of them is shared instead of ``image`` being read once more. Raises ValueError for other
        shapes.
        """
        self._check_context(text, image, like)
        words = self._entrance.text(text[0])
        pictures = None if image is None or like is not None else self._entrance.image(image[0])
        layers: list[Read] = []
        with closing(self._prompts.each()) as blocks:
            for block in blocks:
                pair = self._keys_and_values(words, block, "text_kv", "text_norm_k")
                seen = None if like is None else like.layers[len(layers)].image
                if pictures is not None:
                    seen = self._keys_and_values(pictures, block, "image_kv", "image_norm_k")
                layers.append(Read(pair, seen))
        return Context(tuple(layers))

    @torch.no_grad()
    def forward(self, latents: Tensor, timestep: float, context: Context, on_block: OnBlock = lambda _: None) -> Tensor:
        """latents [1, 36, T, h, w] at ``timestep`` (1000·σ) → velocity [1, 16, T, h, w], in ``dtype``.

        ``on_block`` hears of each block once the device has finished the one before it, and may raise to stop.
        Raises ValueError for latents of odd size.
        """
        grid = self._grid(latents)
        turns = self._rope(grid)
        x = self._entrance.tokens(latents, grid)  # [L, d]
        share = None if self._ulysses is None else self._ulysses.share(len(x))
        if share is not None:
            x, turns = x[share.here].contiguous(), turns.part(share.here.start, share.here.stop)
        factors, offsets, gates = self._modulations(timestep)
        attend, exactly = (
            variant if share is None else share.around(variant) for variant in (self.ops.attend, self.ops.cross)
        )
        h = self._through_blocks(x, turns, (attend, exactly), factors, offsets, gates, context, on_block)
        patches = self.ops.apply(h, self._head["head"], self.dtype)  # [L, 16·4]
        if share is not None:
            patches = share.gather(patches)
        return self._unpatched(patches, grid)

    def _through_blocks(
        self,
        x: Tensor,
        turns: Rope,
        attends: tuple[Attend, Attend],
        factors: Tensor,
        offsets: Tensor,
        gates: Tensor,
        context: Context,
        on_block: OnBlock,
    ) -> Activations:
        """The tokens [L, d] after all blocks, normed for the head.

        ``factors`` and ``offsets`` [2·layers + 1, d] belong to the norms before self-attention and FFN of each layer
        and to the head's; ``gates`` [2·layers, d]. A norm is taken together with the addition before it, so that a
        token is read and written once between two matrix products.
        """
        eps, norms = self.shape.eps, self.ops.norms
        attend, exactly = attends
        self._pace.begin()
        h: Activations = norms.modulated(x, factors[0], offsets[0], eps, rows=self._rows(0, "qkv"))
        with closing(self._blocks.each()) as blocks:
            for index, block in enumerate(blocks):
                exact = min(index, self.shape.layers - 1 - index) < self.ops.exact_ends
                y = self._attended(h, block, turns, exactly if exact else attend)
                wide, plus = block["norm2.weight"], block["norm2.bias"]
                x, h = norms.added(x, y, gates[2 * index], wide, plus, eps, rows=self._rows(index, "cross_q"))
                y = self._read(h, block, index, context)
                at = 2 * index + 1
                x, h = norms.added(x, y, None, factors[at], offsets[at], eps, rows=self._rows(index, "up"))
                y = self._fed_forward(h, block, index)
                rows = self._rows(index + 1, "qkv")
                x, h = norms.added(x, y, gates[at], factors[at + 1], offsets[at + 1], eps, rows=rows)
                self._pace.step()
                on_block(index)
        return h

    def _attended(self, h: Activations, block: Block, turns: Rope, attend: Attend) -> Tensor:
        """Self-attention of h [L, d]: [L, d]."""
        qkv = self.ops.apply(h, Weights.of("qkv", block), self.dtype)  # [L, 3·d]
        q, k, v = self.ops.norms.turned(qkv, block["norm_q"], block["norm_k"], turns, self.shape.eps)
        del qkv
        return self.ops.apply(attend(q, k, v), Weights.of("out", block), self.dtype)

    def _read(self, h: Activations, block: Block, index: int, context: Context) -> Tensor:
        """Cross-attention of h [L, d] to the prompt and the pictures: [L, d]."""
        q = self.ops.apply(h, Weights.of("cross_q", block), self.dtype)
        q = self.ops.norms.rms(q, block["cross_norm_q"], self.shape.eps)
        q = q.unflatten(-1, (self.shape.heads, -1))  # [L, N, D]
        layer = context.layers[index]
        out = self._reading(q, layer.text)
        if context.avoided is not None and context.nag is not None and context.nag.scale != 1:
            nag, negative = context.nag, self._reading(q, context.avoided[index].text)
            out = self.ops.norms.steered(out, negative, nag.scale, nag.tau, nag.alpha)
        if layer.image is not None:
            out = out + self._reading(q, layer.image)
        return self.ops.apply(out, Weights.of("cross_out", block), self.dtype)

    def _reading(self, q: Tensor, pair: tuple[Tensor, Tensor]) -> Tensor:
        return dense(self.ops.cross(q, *pair), self.dtype)

    def _fed_forward(self, h: Activations, block: Block, index: int) -> Tensor:
        inner = self.ops.apply(h, Weights.of("up", block), self.dtype)  # [L, ffn]
        bent = self.ops.norms.gelu(inner, rows=self._rows(index, "down"))
        del inner
        return self.ops.apply(bent, Weights.of("down", block), self.dtype)

    def _modulations(self, timestep: float) -> tuple[Tensor, Tensor, Tensor]:
        """Factors and offsets of every norm, [2·layers + 1, d], and every gate, [2·layers, d], in fp32."""
        embedded, projected = self._entrance.time(timestep)  # [d], [6·d]
        tables = self._tables + projected.float().unflatten(0, (6, -1))  # [layers, 6, d]
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = tables.unbind(1)  # [layers, d] each
        head_shift, head_scale = (self._head_table[0] + embedded.float()).unbind(0)
        offsets = torch.cat([torch.stack([shift, ffn_shift], dim=1).flatten(0, 1), head_shift[None]])
        factors = 1 + torch.cat([torch.stack([scale, ffn_scale], dim=1).flatten(0, 1), head_scale[None]])
        return factors, offsets, torch.stack([gate, ffn_gate], dim=1).flatten(0, 1)

    def _keys_and_values(self, tokens: Tensor, block: Block, layer: str, norm: str) -> tuple[Tensor, Tensor]:
        """tokens [S, d] → [S, heads, head_dim] twice."""
        both = self.ops.apply(tokens, Weights.of(layer, block), self.dtype)  # [S, 2·d]
        k, v = both.chunk(2, dim=-1)
        k = self.ops.norms.rms(k, block[norm], self.shape.eps)
        heads = (self.shape.heads, -1)
        return k.unflatten(-1, heads).contiguous(), v.unflatten(-1, heads).contiguous()

    def _rows(self, index: int, layer: str) -> bool:
        return (index, layer) in self._row_coded

    def _load(self, index: int) -> None:
        where, read = f"blocks.{index}.", self._reader
        layers = read.linear(where, FORWARD_LAYERS)
        self._row_coded |= {(index, name) for name, w in layers.items() if w.scale is not None and w.scale.ndim == 2}
        block = {key: tensor for name, weights in layers.items() for key, tensor in weights.tensors(name).items()}
        block |= {name: read.dense(f"{where}{name}", torch.float32) for name in ("norm2.weight", "norm2.bias")}
        block |= {
            name: read.dense(f"{where}{of}.weight", self.dtype)
            for name, of in (("norm_q", "attn1.norm_q"), ("norm_k", "attn1.norm_k"), ("cross_norm_q", "attn2.norm_q"))
        }
        self._blocks.add(block)
        kv = TEXT_LAYERS if self.shape.image_dim is None else {**TEXT_LAYERS, **IMAGE_LAYERS}
        prompts = read.linear(where, kv)
        block = {key: tensor for name, weights in prompts.items() for key, tensor in weights.tensors(name).items()}
        block["text_norm_k"] = read.dense(f"{where}attn2.norm_k.weight", self.dtype)
        if self.shape.image_dim is not None:
            block["image_norm_k"] = read.dense(f"{where}attn2.norm_added_k.weight", self.dtype)
        self._prompts.add(block)

    def _grid(self, latents: Tensor) -> tuple[int, int, int]:
        shape = self.shape
        if latents.ndim != 5 or latents.shape[:2] != (1, shape.in_channels):
            raise ValueError(f"latents are [1, {shape.in_channels}, T, h, w], not {list(latents.shape)}")
        if any(side % patch for side, patch in zip(latents.shape[2:], shape.patch, strict=True)):
            raise ValueError(f"latents come in multiples of {shape.patch}, not {list(latents.shape[2:])}")
        t, h, w = (side // patch for side, patch in zip(latents.shape[2:], shape.patch, strict=True))
        return t, h, w

    def _rope(self, grid: tuple[int, int, int]) -> Rope:
        if grid not in self._turns:
            self._turns = {grid: rope(self.shape.head_dim, grid, self.device)}
        return self._turns[grid]

    def _unpatched(self, patches: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """[L, 4·16], each row one patch with its channels last, → [1, 16, T, h, w]."""
        (t, h, w), (pt, ph, pw) = grid, self.shape.patch
        parts = patches.reshape(t, h, w, pt, ph, pw, self.shape.out_channels)
        return parts.permute(6, 0, 3, 1, 4, 2, 5).reshape(1, self.shape.out_channels, t * pt, h * ph, w * pw)

    def _check_context(self, text: Tensor, image: Tensor | None, like: Context | None) -> None:
        shape = self.shape
        if text.shape != (1, TEXT_TOKENS, shape.text_dim):
            raise ValueError(f"text is [1, {TEXT_TOKENS}, {shape.text_dim}], not {list(text.shape)}")
        if like is None and (image is None) != (shape.image_dim is None):
            raise ValueError("pictures come through CLIP exactly where the weights have an image embedding")
        if image is not None and (image.shape[0] != 1 or image.shape[2] != shape.image_dim):
            raise ValueError(f"image is [1, tokens, {shape.image_dim}], not {list(image.shape)}")
        if image is not None and shape.image_tokens not in (None, image.shape[1]):
            raise ValueError(f"the image embedding knows {shape.image_tokens} tokens, not {image.shape[1]}")


class _Reader:
    """A source, and how its tensors are wanted."""

    def __init__(self, source: TensorSource, device: torch.device, dtype: torch.dtype, kind: LinearKind) -> None:
        self._source, self.device, self.dtype = source, device, dtype
        self._kind: LinearKind = kind

    def dense(self, name: str, dtype: torch.dtype) -> Tensor:
        found: Tensor | Scaled = self._source.read(name, device=self.device)
        return found.to(dtype) if isinstance(found, Tensor) else found.dequantised(dtype)

    def linear(
        self,
        where: str,
        layers: dict[str, tuple[str, ...]],
        *,
        native: bool = False,
        dtype: torch.dtype | None = None,
    ) -> dict[str, Weights]:
        kind: LinearKind = "native" if native else self._kind
        return {
            name: pack(
                self._source, [f"{where}{part}" for part in parts], kind, dtype=dtype or self.dtype, device=self.device
            )
            for name, parts in layers.items()
        }


class _Entrance:
    """What comes before the first block: latents, time, words and pictures become tokens of the width d."""

    def __init__(self, shape: DitShape, read: _Reader) -> None:
        self._shape, self._dtype, self._device = shape, read.dtype, read.device
        self._patch = read.dense("patch_embedding.weight", read.dtype).flatten(1)  # [d, 36·4]
        self._patch_bias = read.dense("patch_embedding.bias", read.dtype)
        where = "condition_embedder."
        time = {"one": ("time_embedder.linear_1",), "two": ("time_embedder.linear_2",)}
        self._time = read.linear(where, time, native=True, dtype=torch.float32)
        rest = {"time": ("time_proj",), "one": ("text_embedder.linear_1",), "two": ("text_embedder.linear_2",)}
        self._rest = read.linear(where, rest, native=True)
        self._image: dict[str, Weights] = {}
        self._image_norms: dict[str, tuple[Tensor, Tensor]] = {}
        self._positions: Tensor | None = None
        if shape.image_dim is not None:
            where += "image_embedder."
            self._image = read.linear(where, {"one": ("ff.net.0.proj",), "two": ("ff.net.2",)}, native=True)
            self._image_norms = {
                name: (
                    read.dense(f"{where}{name}.weight", torch.float32),
                    read.dense(f"{where}{name}.bias", torch.float32),
                )
                for name in ("norm1", "norm2")
            }
            if shape.image_tokens is not None:
                self._positions = read.dense(f"{where}pos_embed", read.dtype)[0]  # [514, image_dim]

    def tokens(self, latents: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """[1, 36, T, h, w] → [L, d]: one token for each patch, by frame, row and column."""
        (t, h, w), (pt, ph, pw) = grid, self._shape.patch
        parts = latents[0].to(self._dtype).reshape(-1, t, pt, h, ph, w, pw)
        patches = parts.permute(1, 3, 5, 0, 2, 4, 6).reshape(t * h * w, -1)  # [L, 36·4]
        return F.linear(patches, self._patch, self._patch_bias)

    def time(self, timestep: float) -> tuple[Tensor, Tensor]:
        """The time embedding [d] and its projection for the blocks [6·d], in ``dtype``."""
        half = self._shape.freq_dim // 2
        waves = torch.exp(torch.arange(half, dtype=torch.float32) * (-math.log(LONGEST_PERIOD) / half))
        angles = torch.tensor(timestep, dtype=torch.float32) * waves
        sinusoid = torch.cat([angles.cos(), angles.sin()]).to(self._device)[None]  # [1, freq_dim]
        one, two = self._time["one"], self._time["two"]
        hidden = F.silu(F.linear(sinusoid, one.weight, one.bias))
        embedded = F.linear(hidden, two.weight, two.bias).to(self._dtype)  # [1, d]
        projection = self._rest["time"]
        return embedded[0], F.linear(F.silu(embedded), projection.weight, projection.bias)[0]

    def text(self, embeddings: Tensor) -> Tensor:
        """[512, text_dim] → [512, d]."""
        one, two = self._rest["one"], self._rest["two"]
        x = embeddings.to(self._device, self._dtype)
        return F.linear(F.gelu(F.linear(x, one.weight, one.bias), approximate="tanh"), two.weight, two.bias)

    def image(self, embeddings: Tensor) -> Tensor:
        """[514, image_dim] → [514, d]."""
        x = embeddings.to(self._device, self._dtype)
        if self._positions is not None:
            x = x + self._positions
        x = self._normed(x, "norm1")
        one, two = self._image["one"], self._image["two"]
        x = F.linear(F.gelu(F.linear(x, one.weight, one.bias)), two.weight, two.bias)
        return self._normed(x, "norm2")

    def _normed(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self._image_norms[name]
        return F.layer_norm(x.float(), x.shape[-1:], weight, bias, IMAGE_EPS).to(x.dtype)

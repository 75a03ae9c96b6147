"""The two families of open Wan weights that kf2v runs, and the exact shape of their transformers.

Knows neither files nor torch: rows, sizes and names only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

#: 2 · (16 · 16 + 1): both pictures through CLIP ViT-H/14 at 224², class token and patches
IMAGE_TOKENS = 514
#: umT5 is asked for so many tokens, whatever the prompt
TEXT_TOKENS = 512


@dataclass(frozen=True, kw_only=True)
class DitShape:
    """The sizes of one diffusion transformer, as diffusers' ``transformer/config.json`` says them."""

    layers: int
    heads: int
    head_dim: int
    ffn: int
    #: 16 noise, 4 mask, 16 condition latent
    in_channels: int = 36
    out_channels: int = 16
    text_dim: int = 4096
    freq_dim: int = 256
    eps: float = 1e-6
    #: width of the CLIP embedding; None where pictures enter only through the latents (Wan2.2)
    image_dim: int | None = None
    #: how many positions the image embedding knows; None without a position embedding (or without CLIP)
    image_tokens: int | None = None
    patch: tuple[int, int, int] = (1, 2, 2)

    @property
    def width(self) -> int:
        """Channels of a token: heads times head_dim."""
        return self.heads * self.head_dim

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> DitShape:
        """Read diffusers' ``transformer/config.json`` (class ``WanTransformer3DModel``).

        Raises ValueError, saying which entry is missing or not what it should be.
        """
        defaults = cls.__dataclass_fields__
        return cls(
            layers=_count(config, "num_layers"),
            heads=_count(config, "num_attention_heads"),
            head_dim=_count(config, "attention_head_dim"),
            ffn=_count(config, "ffn_dim"),
            in_channels=_count(config, "in_channels"),
            out_channels=_count(config, "out_channels", 16),
            text_dim=_count(config, "text_dim", defaults["text_dim"].default),
            freq_dim=_count(config, "freq_dim", defaults["freq_dim"].default),
            eps=_positive(config, "eps", defaults["eps"].default),
            image_dim=_maybe(config, "image_dim"),
            image_tokens=_maybe(config, "pos_embed_seq_len"),
            patch=_patch(config.get("patch_size", (1, 2, 2))),
        )

    @classmethod
    def from_wan_config(cls, config: Mapping[str, object]) -> DitShape:
        """Read the ``config.json`` of an original Wan directory (class ``WanModel``).

        ``model_type`` says what the sizes do not: ``flf2v`` has CLIP with 514 positions, ``i2v`` of Wan2.1 CLIP
        without positions and of Wan2.2 no CLIP at all, so that the tensors decide there. Raises ValueError.
        """
        heads = _count(config, "num_heads")
        width = _count(config, "dim")
        if width % heads:
            raise ValueError(f"dim {width} cannot be divided among num_heads {heads}")
        first_last = config.get("model_type") == "flf2v"
        return cls(
            layers=_count(config, "num_layers"),
            heads=heads,
            head_dim=width // heads,
            ffn=_count(config, "ffn_dim"),
            in_channels=_count(config, "in_dim"),
            out_channels=_count(config, "out_dim", 16),
            text_dim=_count(config, "text_dim", 4096),
            freq_dim=_count(config, "freq_dim", 256),
            eps=_positive(config, "eps", 1e-6),
            image_dim=_count(config, "image_dim", 1280) if first_last else None,
            image_tokens=IMAGE_TOKENS if first_last else None,
            patch=_patch(config.get("patch_size", (1, 2, 2))),
        )

    def as_config(self) -> dict[str, object]:
        """What diffusers' ``WanTransformer3DModel`` is built from."""
        return {
            "patch_size": self.patch,
            "num_attention_heads": self.heads,
            "attention_head_dim": self.head_dim,
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "text_dim": self.text_dim,
            "freq_dim": self.freq_dim,
            "ffn_dim": self.ffn,
            "num_layers": self.layers,
            "cross_attn_norm": True,
            "qk_norm": "rms_norm_across_heads",
            "eps": self.eps,
            "image_dim": self.image_dim,
            "added_kv_proj_dim": self.width if self.image_dim else None,
            "pos_embed_seq_len": self.image_tokens,
        }

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of the transformer under diffusers' name, with its shape."""
        return dict(self._tensors)

    @cached_property
    def _tensors(self) -> dict[str, tuple[int, ...]]:
        shapes = {**self._entrance(), **self._exit()}
        for index in range(self.layers):
            shapes.update({f"blocks.{index}.{name}": shape for name, shape in self._block().items()})
        return shapes

    def _entrance(self) -> dict[str, tuple[int, ...]]:
        d = self.width
        shapes: dict[str, tuple[int, ...]] = {
            **_affine("patch_embedding", d, self.in_channels, *self.patch),
            **_affine("condition_embedder.time_embedder.linear_1", d, self.freq_dim),
            **_affine("condition_embedder.time_embedder.linear_2", d, d),
            **_affine("condition_embedder.time_proj", 6 * d, d),
            **_affine("condition_embedder.text_embedder.linear_1", d, self.text_dim),
            **_affine("condition_embedder.text_embedder.linear_2", d, d),
        }
        if self.image_dim is None:
            return shapes
        image = "condition_embedder.image_embedder"
        shapes |= {
            **_affine(f"{image}.norm1", self.image_dim),
            **_affine(f"{image}.ff.net.0.proj", self.image_dim, self.image_dim),
            **_affine(f"{image}.ff.net.2", d, self.image_dim),
            **_affine(f"{image}.norm2", d),
        }
        if self.image_tokens is not None:
            shapes[f"{image}.pos_embed"] = (1, self.image_tokens, self.image_dim)
        return shapes

    def _block(self) -> dict[str, tuple[int, ...]]:
        d = self.width
        shapes: dict[str, tuple[int, ...]] = {"scale_shift_table": (1, 6, d), **_affine("norm2", d)}
        for attention in ("attn1", "attn2"):
            for projection in ("to_q", "to_k", "to_v", "to_out.0"):
                shapes |= _affine(f"{attention}.{projection}", d, d)
            shapes |= {f"{attention}.norm_q.weight": (d,), f"{attention}.norm_k.weight": (d,)}
        if self.image_dim is not None:
            shapes |= {**_affine("attn2.add_k_proj", d, d), **_affine("attn2.add_v_proj", d, d)}
            shapes["attn2.norm_added_k.weight"] = (d,)
        return shapes | _affine("ffn.net.0.proj", self.ffn, d) | _affine("ffn.net.2", d, self.ffn)

    def _exit(self) -> dict[str, tuple[int, ...]]:
        return {
            "scale_shift_table": (1, 2, self.width),
            **_affine("proj_out", self.out_channels * math.prod(self.patch), self.width),
        }

    @property
    def parameters(self) -> int:
        """How many numbers the transformer is."""
        return sum(math.prod(shape) for shape in self._tensors.values())


def _affine(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _count(config: Mapping[str, object], key: str, default: object = None) -> int:
    value = config.get(key, default)
    if value is None:
        raise ValueError(f"{key} is missing")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 24:
        raise ValueError(f"{key} is {value!r}, not a count")
    return value


def _maybe(config: Mapping[str, object], key: str) -> int | None:
    return None if config.get(key) is None else _count(config, key)


def _positive(config: Mapping[str, object], key: str, default: object) -> float:
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ValueError(f"{key} is {value!r}, not a small positive number")
    return float(value)


def _patch(value: object) -> tuple[int, int, int]:
    if not isinstance(value, list | tuple) or list(value) != [1, 2, 2]:
        raise ValueError(f"patch_size is {value!r}, not [1, 2, 2]")
    return (1, 2, 2)


#: what Wan was taught to avoid, for every model: ``sample_neg_prompt`` of ``wan/configs/shared_config.py`` (Apache-2.0)
_AVOID = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，"
    "手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What all checkpoints of one architecture have in common."""

    id: str
    #: the real checkpoint's sizes
    shape: DitShape
    #: transformers that share the denoising: one, or high-noise then low-noise
    experts: int
    #: σ·1000 from which on the high-noise expert works is ``boundary``·1000; None with one expert
    boundary: float | None
    default_negative: str
    #: the schedule Wan publishes for the undistilled weights
    steps: int
    shift: float
    #: high-noise (or only) expert, low-noise expert
    guidance: tuple[float, float]

    @property
    def clip(self) -> bool:
        """Whether both pictures also enter through CLIP."""
        return self.shape.image_dim is not None


#: Wan2.1 ``wan_flf2v_14B.py`` and ``generate.py``: 50 steps, shift 16, guidance 5.0
FLF2V = Family(
    id="wan2.1-flf2v",
    shape=DitShape(layers=40, heads=40, head_dim=128, ffn=13824, image_dim=1280, image_tokens=IMAGE_TOKENS),
    experts=1,
    boundary=None,
    default_negative="镜头切换，镜头晃动，" + _AVOID,
    steps=50,
    shift=16.0,
    guidance=(5.0, 5.0),
)

#: Wan2.2 ``wan_i2v_A14B.py``: 40 steps, shift 5, guidance 3.5 for both experts, boundary 0.9
A14B = Family(
    id="wan2.2-a14b",
    shape=DitShape(layers=40, heads=40, head_dim=128, ffn=13824),
    experts=2,
    boundary=0.9,
    default_negative=_AVOID,
    steps=40,
    shift=5.0,
    guidance=(3.5, 3.5),
)

FAMILIES: Mapping[str, Family] = {family.id: family for family in (FLF2V, A14B)}

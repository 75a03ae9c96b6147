"""Wan's own text encoder, image encoder and VAE, under the names that transformers and diffusers know them by.

Sources: Wan2.1 ``wan/modules/t5.py``, ``clip.py`` and ``vae.py``. Sizes are read off the tensors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Wan's T5Encoder: transformers' UMT5EncoderModel, inside ``blocks.N`` and ``encoder.block.N.layer``
TEXT_BLOCK: Mapping[str, str] = {
    "norm1": "0.layer_norm",
    "attn.q": "0.SelfAttention.q",
    "attn.k": "0.SelfAttention.k",
    "attn.v": "0.SelfAttention.v",
    "attn.o": "0.SelfAttention.o",
    "pos_embedding.embedding": "0.SelfAttention.relative_attention_bias",
    "norm2": "1.layer_norm",
    "ffn.gate.0": "1.DenseReluDense.wi_0",
    "ffn.fc1": "1.DenseReluDense.wi_1",
    "ffn.fc2": "1.DenseReluDense.wo",
}

#: Wan's VisionTransformer: transformers' CLIPVisionModel, inside ``transformer.N`` and ``encoder.layers.N``
IMAGE_BLOCK: Mapping[str, str] = {
    "norm1": "layer_norm1",
    "attn.proj": "self_attn.out_proj",
    "norm2": "layer_norm2",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}

#: places in Wan's ``residual`` sequence: diffusers' names of them
RESIDUAL: Mapping[str, str] = {"0": "norm1", "2": "conv1", "3": "norm2", "6": "conv2"}
#: Wan's VAE outside its stages: diffusers'
VAE_MODULES: Mapping[str, str] = {
    "conv1": "quant_conv",
    "conv2": "post_quant_conv",
    **{
        f"{half}.{theirs}": f"{half}.{ours}"
        for half in ("encoder", "decoder")
        for theirs, ours in {
            "conv1": "conv_in",
            "head.0": "norm_out",
            "head.2": "conv_out",
            "middle.1.norm": "mid_block.attentions.0.norm",
            "middle.1.to_qkv": "mid_block.attentions.0.to_qkv",
            "middle.1.proj": "mid_block.attentions.0.proj",
            **{
                f"middle.{place}.residual.{at}": f"mid_block.resnets.{index}.{ours}"
                for index, place in enumerate((0, 2))
                for at, ours in RESIDUAL.items()
            },
        }.items()
    },
}

#: head width of Open-CLIP's ViT-H/14 (1280 / 16); a tensor does not show it
IMAGE_HEAD = 80


def text_tensors(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Wan's T5Encoder as UMT5EncoderModel. Raises KeyError with a name that is not its."""
    ours: dict[str, Tensor] = {}
    for name, tensor in theirs.items():
        owner, _, leaf = name.rpartition(".")
        if owner == "token_embedding":
            ours["shared.weight"] = tensor
        elif owner == "norm":
            ours["encoder.final_layer_norm.weight"] = tensor
        else:
            index, inner = _numbered(name, owner, "blocks")
            ours[f"encoder.block.{index}.layer.{TEXT_BLOCK[inner]}.{leaf}"] = tensor
    return ours


def text_config(ours: Mapping[str, Tensor]) -> dict[str, object]:
    """What UMT5Config is made from. Raises KeyError naming a tensor that is missing."""
    vocabulary, width = ours["shared.weight"].shape
    buckets, heads = ours["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"].shape
    return {
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": ours["encoder.block.0.layer.0.SelfAttention.q.weight"].shape[0] // heads,
        "d_ff": ours["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"].shape[0],
        "num_layers": _count(ours, r"encoder\.block\.(\d+)\."),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
        "relative_attention_max_distance": 128,
        "feed_forward_proj": "gated-gelu",
        "layer_norm_epsilon": 1e-6,
    }


def image_tensors(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The visual half of Wan's XLMRobertaCLIP as CLIPVisionModel. Raises KeyError with a name that is not its.

    The projection into the space shared with text is left out: Wan uses the states before the last layer.
    """
    visual = {name.removeprefix("visual."): tensor for name, tensor in theirs.items() if name.startswith("visual.")}
    ours: dict[str, Tensor] = {}
    for name, tensor in visual.items():
        owner, _, leaf = name.rpartition(".")
        if name == "head":
            continue
        if name == "cls_embedding":  # (1, 1, d)
            ours["vision_model.embeddings.class_embedding"] = tensor.reshape(-1)
        elif name == "pos_embedding":  # (1, 257, d)
            ours["vision_model.embeddings.position_embedding.weight"] = tensor[0]
        elif owner in _IMAGE_MODULES:
            ours[f"vision_model.{_IMAGE_MODULES[owner]}.{leaf}"] = tensor
        else:
            index, inner = _numbered(name, owner, "transformer")
            layer = f"vision_model.encoder.layers.{index}"
            if inner == "attn.to_qkv":  # (3·d, d): queries, keys, values one below the other
                for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                    ours[f"{layer}.self_attn.{part}_proj.{leaf}"] = piece
            else:
                ours[f"{layer}.{IMAGE_BLOCK[inner]}.{leaf}"] = tensor
    return ours


_IMAGE_MODULES: Mapping[str, str] = {
    "patch_embedding": "embeddings.patch_embedding",
    "pre_norm": "pre_layrnorm",  # spelled so by transformers
    "post_norm": "post_layernorm",
}


def image_config(ours: Mapping[str, Tensor]) -> dict[str, object]:
    """What CLIPVisionConfig is made from. Raises KeyError naming a tensor that is missing."""
    width, _, patch, _ = ours["vision_model.embeddings.patch_embedding.weight"].shape
    positions = ours["vision_model.embeddings.position_embedding.weight"].shape[0]
    return {
        "hidden_size": width,
        "intermediate_size": ours["vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": _count(ours, r"vision_model\.encoder\.layers\.(\d+)\."),
        "num_attention_heads": max(1, width // IMAGE_HEAD),
        "image_size": round((positions - 1) ** 0.5) * patch,
        "patch_size": patch,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
    }


def vae_tensors(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Wan2.1's VAE as AutoencoderKLWan. Raises KeyError with a name that is not its."""
    deep = _count(theirs, r"decoder\.upsamples\.(\d+)\.")
    resamplers = [index for index in range(deep) if f"decoder.upsamples.{index}.resample.1.weight" in theirs]
    stage = (resamplers[0] if resamplers else deep) + 1  # residual blocks of a stage, and its resampler
    return {_vae_name(name, stage): tensor for name, tensor in theirs.items()}


def _vae_name(name: str, stage: int) -> str:
    owner, _, leaf = name.rpartition(".")
    if owner in VAE_MODULES:
        return f"{VAE_MODULES[owner]}.{leaf}"
    if found := re.fullmatch(r"encoder\.downsamples\.(\d+)\.(.+)", owner):
        return f"encoder.down_blocks.{found[1]}.{_inner(name, found[2])}.{leaf}"
    found = re.fullmatch(r"decoder\.upsamples\.(\d+)\.(.+)", owner)
    if not found:
        raise KeyError(name)
    block, place = divmod(int(found[1]), stage)
    kind = "upsamplers.0" if place == stage - 1 else f"resnets.{place}"
    return f"decoder.up_blocks.{block}.{kind}.{_inner(name, found[2])}.{leaf}"


def _inner(name: str, inner: str) -> str:
    if found := re.fullmatch(r"residual\.(\d)", inner):
        return RESIDUAL[found[1]]
    if inner == "shortcut":
        return "conv_shortcut"
    if inner in ("resample.1", "time_conv"):
        return inner
    raise KeyError(name)


def vae_config(theirs: Mapping[str, Tensor]) -> dict[str, object]:
    """What AutoencoderKLWan is made from, read off Wan's own names; its statistics of latents are the class's.

    Raises KeyError naming a tensor that is missing.
    """
    deep = _count(theirs, r"encoder\.downsamples\.(\d+)\.")
    resamplers = [index for index in range(deep) if f"encoder.downsamples.{index}.resample.1.weight" in theirs]
    blocks = resamplers[0] if resamplers else deep
    base = theirs["encoder.conv1.weight"].shape[0]
    ends = [*(index - 1 for index in resamplers), deep - 1]
    widths = [theirs[f"encoder.downsamples.{index}.residual.6.weight"].shape[0] for index in ends]
    return {
        "base_dim": base,
        "z_dim": theirs["conv2.weight"].shape[0],
        "dim_mult": [width // base for width in widths],
        "num_res_blocks": blocks,
        "temperal_downsample": [f"encoder.downsamples.{index}.time_conv.weight" in theirs for index in resamplers],
    }


def _numbered(name: str, owner: str, row: str) -> tuple[str, str]:
    head, _, rest = owner.partition(".")
    index, _, inner = rest.partition(".")
    known: Callable[[str], bool] = (TEXT_BLOCK if row == "blocks" else {**IMAGE_BLOCK, "attn.to_qkv": ""}).__contains__
    if head != row or not index.isdecimal() or not known(inner):
        raise KeyError(name)
    return index, inner


def _count(names: Mapping[str, object], pattern: str) -> int:
    """One more than the highest number; raises KeyError if there is none."""
    numbers = [int(found[1]) for name in names if (found := re.match(pattern, name))]
    if not numbers:
        raise KeyError(pattern.replace("\\", ""))
    return max(numbers) + 1

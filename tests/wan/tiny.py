"""Tiny random checkpoints of both Wan families, in the directory format that diffusers writes.

The architecture is the real one, down to 514 image positions; only counts and widths are small. Every tensor holds
something other than zero or one, so that a tensor lost on the way shows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanImageToVideoPipeline, WanTransformer3DModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5TokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

from kf2v.engines.wan.family import IMAGE_TOKENS, DitShape

Module = TypeVar("Module", bound=torch.nn.Module)

FamilyName: TypeAlias = Literal["wan2.1-flf2v", "wan2.2-a14b"]

#: 1D RoPE needs head_dim divisible: t, h, w get 4 channels each
FLF2V_SHAPE = DitShape(layers=2, heads=2, head_dim=12, ffn=48, text_dim=32, image_dim=16, image_tokens=IMAGE_TOKENS)
A14B_SHAPE = DitShape(layers=2, heads=2, head_dim=12, ffn=48, text_dim=32)


def build(family: FamilyName, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> WanImageToVideoPipeline:
    """The stock pipeline around random weights; the VAE stays fp32, as it is published."""
    torch.manual_seed(seed)
    first_last = family == "wan2.1-flf2v"
    shape = FLF2V_SHAPE if first_last else A14B_SHAPE
    parts: dict[str, Any] = {
        "tokenizer": tokenizer(),
        "text_encoder": text_encoder().to(dtype),
        "vae": vae(),
        "transformer": transformer(shape).to(dtype),
        "transformer_2": None if first_last else transformer(shape).to(dtype),
        "image_encoder": image_encoder().to(dtype) if first_last else None,
        "image_processor": image_processor() if first_last else None,
        "scheduler": scheduler(16.0 if first_last else 5.0),
    }
    return WanImageToVideoPipeline(**parts, boundary_ratio=None if first_last else 0.9)


def save(
    path: Path, family: FamilyName, *, dtype: torch.dtype = torch.float32, seed: int = 0, shard: str | None = None
) -> Path:
    """Write ``build(family)`` under ``path`` and give ``path``; ``shard`` ("20KB") splits the weights with an index."""
    build(family, dtype=dtype, seed=seed).save_pretrained(path, **({"max_shard_size": shard} if shard else {}))
    return path


def load(path: Path, *, dtype: torch.dtype = torch.float32) -> WanImageToVideoPipeline:
    """The stock pipeline from such a directory: the oracle."""
    pipeline = WanImageToVideoPipeline.from_pretrained(path, dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tokenizer() -> T5TokenizerFast:
    """A Unigram tokenizer that has read one line."""
    learner = Tokenizer(models.Unigram())
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    learner.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False)
    learner.train_from_iterator(["a cat walks over a bridge at night, 一只猫走过桥，镜头左移。"] * 20, trainer)
    pairs = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["vocab"]]
    return T5TokenizerFast(vocab=pairs, extra_ids=0, model_max_length=512)


def text_encoder() -> UMT5EncoderModel:
    """umT5 with two layers; its embedding is one tensor under two names, as in the real one."""
    config = UMT5Config(
        vocab_size=256,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )
    return shaken(UMT5EncoderModel(config).eval())


def vae() -> AutoencoderKLWan:
    """Wan's causal VAE with eight channels where it has 96."""
    return shaken(
        AutoencoderKLWan(
            base_dim=8,
            z_dim=16,
            dim_mult=[1, 2, 2, 2],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
        ).eval()
    )


def image_encoder() -> CLIPVisionModelWithProjection:
    """CLIP with three layers, 224² in patches of 14 as the real one: 257 tokens."""
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        projection_dim=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=224,
        patch_size=14,
        hidden_act="gelu",
    )
    return shaken(CLIPVisionModelWithProjection(config).eval())


def image_processor() -> CLIPImageProcessor:
    """What diffusers' own checkpoints carry: shortest edge to 224, then a centre crop."""
    return CLIPImageProcessor(size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224})


def transformer(shape: DitShape) -> WanTransformer3DModel:
    """Diffusers' transformer of ``shape``."""
    return shaken(WanTransformer3DModel(**{**shape.as_config(), "rope_max_seq_len": 1024}).eval())


def scheduler(shift: float) -> UniPCMultistepScheduler:
    """As in the published checkpoints."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=shift
    )


def shaken(module: Module) -> Module:
    """The same module with a little noise where it begins with zeros or ones, which would hide what gets lost."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1 or parameter.min() == parameter.max():
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return module

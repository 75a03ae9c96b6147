"""Writes the tiny checkpoints in other layouts than diffusers': Wan's own directories, single files, fp8, LoRA."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kf2v.engines.wan.checkpoint.names import wan_names
from kf2v.engines.wan.family import DitShape

Tensors = dict[str, Tensor]

WEIGHTS = "diffusion_pytorch_model.safetensors"


def tensors_of(folder: Path) -> Tensors:
    """Everything in a folder's safetensors files."""
    found: Tensors = {}
    for path in folder.glob("*.safetensors"):
        found |= load_file(path)
    return found


def in_wan_names(tensors: Mapping[str, Tensor], prefix: str = "") -> Tensors:
    spelled = wan_names(tensors.keys())
    return {prefix + spelled[name]: tensor for name, tensor in tensors.items()}


def scaled(tensors: Mapping[str, Tensor], *, leaf: str = "weight_scale", rows: bool = True) -> Tensors:
    """Every matrix of the blocks in e4m3 with a scale of its own: one for each row, or one for all."""
    written: Tensors = {}
    for name, tensor in tensors.items():
        if tensor.ndim != 2 or "blocks." not in name:
            written[name] = tensor
            continue
        most = tensor.float().abs().amax(dim=1, keepdim=True) if rows else tensor.float().abs().amax()
        scale = most / torch.finfo(torch.float8_e4m3fn).max
        written[name] = (tensor.float() / scale).to(torch.float8_e4m3fn)
        written[f"{name.removesuffix('weight')}{leaf}"] = scale
    return written


def save(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path)  # nothing shared
    return path


def save_sharded(folder: Path, tensors: Mapping[str, Tensor], count: int = 3, *, index: bool = True) -> None:
    """As Wan publishes: numbered shards and an index."""
    names = sorted(tensors)
    where: dict[str, str] = {}
    for number in range(count):
        file = f"diffusion_pytorch_model-{number + 1:05}-of-{count:05}.safetensors"
        part = {name: tensors[name] for name in names[number::count]}
        save(folder / file, part)
        where |= dict.fromkeys(part, file)
    if index:
        told = {"metadata": {"total_size": 0}, "weight_map": where}
        (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(told))


def wan_config(shape: DitShape) -> dict[str, object]:
    """What Wan writes; ``text_dim`` and ``image_dim`` only because the tiny ones are not the class's defaults."""
    return {
        "_class_name": "WanModel",
        "dim": shape.width,
        "eps": shape.eps,
        "ffn_dim": shape.ffn,
        "freq_dim": shape.freq_dim,
        "in_dim": shape.in_channels,
        "model_type": "flf2v" if shape.image_tokens else "i2v",
        "num_heads": shape.heads,
        "num_layers": shape.layers,
        "out_dim": shape.out_channels,
        "text_len": 512,
        "text_dim": shape.text_dim,
        **({"image_dim": shape.image_dim} if shape.image_dim else {}),
    }


def save_wan_directory(folder: Path, source: Path, shape: DitShape) -> Path:
    """The transformers of the diffusers directory ``source`` as Wan lays them out, and the tokenizer."""
    pairs = [("transformer", ""), *([("transformer_2", "low_noise_model")] if not shape.image_dim else [])]
    if len(pairs) == 2:
        pairs[0] = ("transformer", "high_noise_model")
    for theirs, ours in pairs:
        (folder / ours).mkdir(parents=True, exist_ok=True)
        save_sharded(folder / ours, in_wan_names(tensors_of(source / theirs)))
        (folder / ours / "config.json").write_text(json.dumps(wan_config(shape)))
    shutil.copytree(source / "tokenizer", folder / "google/umt5-xxl")
    return folder


def text_in_wan_names(ours: Mapping[str, Tensor]) -> Tensors:
    """UMT5EncoderModel's tensors as Wan's T5Encoder has them."""
    inner = {
        "layer.0.layer_norm": "norm1",
        "layer.0.SelfAttention.relative_attention_bias": "pos_embedding.embedding",
        "layer.0.SelfAttention.": "attn.",
        "layer.1.layer_norm": "norm2",
        "layer.1.DenseReluDense.wi_0": "ffn.gate.0",
        "layer.1.DenseReluDense.wi_1": "ffn.fc1",
        "layer.1.DenseReluDense.wo": "ffn.fc2",
        "shared": "token_embedding",
        "encoder.final_layer_norm": "norm",
        "encoder.block.": "blocks.",
    }
    return {_replaced(name, inner): tensor for name, tensor in ours.items() if name != "encoder.embed_tokens.weight"}


def image_in_wan_names(ours: Mapping[str, Tensor]) -> Tensors:
    """CLIPVisionModelWithProjection's tensors as the visual half of Wan's XLMRobertaCLIP has them, and some text."""
    inner = {
        "vision_model.embeddings.patch_embedding": "patch_embedding",
        "vision_model.pre_layrnorm": "pre_norm",
        "vision_model.post_layernorm": "post_norm",
        "vision_model.encoder.layers.": "transformer.",
        "layer_norm": "norm",
        "self_attn.out_proj": "attn.proj",
        "mlp.fc1": "mlp.0",
        "mlp.fc2": "mlp.2",
    }
    theirs: Tensors = {"log_scale": torch.zeros(()), "textual.norm.weight": torch.ones(3)}
    for name, tensor in ours.items():
        if ".q_proj." in name:
            parts = [ours[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            theirs["visual." + _replaced(name.replace("self_attn.q_proj", "attn.to_qkv"), inner)] = torch.cat(parts)
        elif name == "visual_projection.weight":
            theirs["visual.head"] = tensor.T.contiguous()
        elif name.endswith("class_embedding"):
            theirs["visual.cls_embedding"] = tensor[None, None]
        elif name.endswith("position_embedding.weight"):
            theirs["visual.pos_embedding"] = tensor[None]
        elif not any(part in name for part in (".k_proj.", ".v_proj.")):
            theirs["visual." + _replaced(name, inner)] = tensor
    return theirs


def vae_in_wan_names(ours: Mapping[str, Tensor], blocks: int) -> Tensors:
    """AutoencoderKLWan's tensors as Wan's VAE has them; ``blocks`` residual blocks a stage in the encoder."""
    sequence = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"}
    middle = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}
    theirs: Tensors = {}
    for name, tensor in ours.items():
        parts = name.split(".")
        if name.startswith(("quant_conv", "post_quant_conv")):
            spelled = ("conv1." if parts[0] == "quant_conv" else "conv2.") + parts[1]
        elif parts[1] in ("conv_in", "conv_out", "norm_out"):
            spelled = (
                f"{parts[0]}.{ {'conv_in': 'conv1', 'norm_out': 'head.0', 'conv_out': 'head.2'}[parts[1]] }.{parts[2]}"
            )
        elif parts[1] == "mid_block":
            spelled = f"{parts[0]}.middle.{middle['.'.join(parts[2:4])]}." + ".".join(
                [sequence.get(parts[4], parts[4]), *parts[5:]]
            )
        elif parts[1] == "down_blocks":
            inner = {**sequence, "conv_shortcut": "shortcut"}
            spelled = f"encoder.downsamples.{parts[2]}." + ".".join([inner.get(parts[3], parts[3]), *parts[4:]])
        else:
            inner = {**sequence, "conv_shortcut": "shortcut"}
            place = int(parts[2]) * (blocks + 2) + (int(parts[4]) if parts[3] == "resnets" else blocks + 1)
            spelled = f"decoder.upsamples.{place}." + ".".join([inner.get(parts[5], parts[5]), *parts[6:]])
        theirs[spelled] = tensor
    return theirs


def _replaced(name: str, table: Mapping[str, str]) -> str:
    for theirs, ours in table.items():
        name = name.replace(theirs, ours)
    return name


def rewritten(path: Path, change: Callable[[Tensors], Tensors | None]) -> None:
    """Load a safetensors file, change what it holds, save it."""
    tensors = load_file(path)
    save(path, change(tensors) or tensors)

"""How Wan's own names of modules and parameters become diffusers'.

Source: the classes ``WanModel`` (Wan2.1 ``wan/modules/model.py``) and diffusers' ``WanTransformer3DModel``, whose
own converter leaves out ``img_emb.emb_pos``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

#: what wrappers put before every name: ComfyUI, trainers, compiled and distributed modules
PREFIXES: Final = (
    "model.diffusion_model.",
    "diffusion_model.",
    "base_model.model.",
    "transformer_2.",
    "transformer.",
    "module.",
    "model.",
    "dit.",
)

#: Wan's module: diffusers' module, outside the blocks
MODULES: Final[Mapping[str, str]] = {
    "patch_embedding": "patch_embedding",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
    "head.head": "proj_out",
}

#: the same inside a block; Wan counts its norms by age, diffusers by place
BLOCK_MODULES: Final[Mapping[str, str]] = {
    **{
        f"{theirs}.{wan}": f"{ours}.{diffusers}"
        for theirs, ours in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for wan, diffusers in {
            "q": "to_q",
            "k": "to_k",
            "v": "to_v",
            "o": "to_out.0",
            "norm_q": "norm_q",
            "norm_k": "norm_k",
        }.items()
    },
    "cross_attn.k_img": "attn2.add_k_proj",
    "cross_attn.v_img": "attn2.add_v_proj",
    "cross_attn.norm_k_img": "attn2.norm_added_k",
    "norm3": "norm2",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}

#: parameters without a module of their own
PARAMETERS: Final[Mapping[str, str]] = {
    "img_emb.emb_pos": "condition_embedder.image_embedder.pos_embed",
    "head.modulation": "scale_shift_table",
}
BLOCK_PARAMETERS: Final[Mapping[str, str]] = {"modulation": "scale_shift_table"}

#: leaves that say how a matrix was scaled to eight bits
SCALES: Final = ("weight_scale", "scale_weight")
#: tensors that carry nothing a transformer computes with: markers and activation scales of quantisers
IGNORED: Final = ("scaled_fp8", "comfy_quant", "scale_input", "input_scale", "norm_added_q.weight")


def module(name: str) -> str | None:
    """Diffusers' name of a module that may have Wan's; None if it is neither's."""
    if name in MODULES:
        return MODULES[name]
    if name in _OURS:
        return name
    block, inner = _in_block(name)
    if inner in BLOCK_MODULES:
        return f"{block}{BLOCK_MODULES[inner]}"
    return name if inner in _OURS_IN_BLOCKS else None


def parameter(name: str) -> str | None:
    """Diffusers' name of a tensor that may have Wan's; None if it is neither's."""
    if name in PARAMETERS:
        return PARAMETERS[name]
    if name in PARAMETERS.values():
        return name
    block, inner = _in_block(name)
    if inner in BLOCK_PARAMETERS:
        return f"{block}{BLOCK_PARAMETERS[inner]}"
    if inner in BLOCK_PARAMETERS.values():
        return name
    owner, _, leaf = name.rpartition(".")
    found = module(owner)
    return f"{found}.{leaf}" if found else None


def prefix(names: Collection[str]) -> str:
    """What stands before every name that counts; empty where nothing does."""
    weights = [name for name in names if ".blocks." in name or name.startswith("blocks.")]
    found = ""
    while weights:
        more = next((p for p in PREFIXES if all(name.startswith(found + p) for name in weights)), "")
        if not more:
            break
        found += more
    return found


def wan_names(names: Collection[str]) -> dict[str, str]:
    """Diffusers' name: Wan's name. For tests and for writing files in Wan's own spelling."""
    back = {ours: theirs for theirs, ours in MODULES.items()}
    back_in_blocks = {ours: theirs for theirs, ours in BLOCK_MODULES.items()}
    spelled: dict[str, str] = {}
    for name in names:
        block, inner = _in_block(name)
        owner, _, leaf = inner.rpartition(".")
        if block:
            spelled[name] = block + (
                "modulation" if inner == "scale_shift_table" else f"{back_in_blocks[owner]}.{leaf}"
            )
        else:
            parameters = {ours: theirs for theirs, ours in PARAMETERS.items()}
            spelled[name] = parameters.get(name) or f"{back[owner]}.{leaf}"
    return spelled


def _in_block(name: str) -> tuple[str, str]:
    """``blocks.7.`` and the rest; an empty first half outside the blocks."""
    head, _, rest = name.partition(".")
    index, _, inner = rest.partition(".")
    if head == "blocks" and index.isdecimal():
        return f"blocks.{index}.", inner
    return "", name


_OURS = frozenset(MODULES.values())
_OURS_IN_BLOCKS = frozenset(BLOCK_MODULES.values())

"""LoRAs in everybody's spelling change what they should, by what they should, and refuse another model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import (
    _convert_musubi_wan_lora_to_diffusers,
    _convert_non_diffusers_wan_lora_to_diffusers,
)
from torch import Tensor

from kf2v.engines.wan.checkpoint import CheckpointError, Scaled, TensorSource, open_bundle
from kf2v.engines.wan.checkpoint.bundle import side_of
from kf2v.engines.wan.checkpoint.names import BLOCK_MODULES, MODULES, wan_names
from kf2v.engines.wan.weights import Lora, Weights
from wan import layouts, tiny

RANK = 4

Change = dict[str, tuple[Tensor, Tensor]]


def matrices(shape_of: dict[str, tuple[int, ...]], *, blocks_only: bool = True) -> Change:
    """Up (out, rank) and down (rank, in) for every linear module, by diffusers' module name."""
    dice = torch.Generator().manual_seed(11)
    changes: Change = {}
    for name, shape in shape_of.items():
        if name.endswith(".weight") and len(shape) == 2 and (name.startswith("blocks.") or not blocks_only):
            up = torch.randn(shape[0], RANK, generator=dice)
            changes[name.removesuffix(".weight")] = (up, torch.randn(RANK, shape[1], generator=dice))
    return changes


def wan_module(name: str) -> str:
    return wan_names([f"{name}.weight"])[f"{name}.weight"].removesuffix(".weight")


def spelled(changes: Change, name: Callable[[str], str], down: str, up: str, alpha: float | None) -> layouts.Tensors:
    written: layouts.Tensors = {}
    for module, (b, a) in changes.items():
        written[name(module) + down], written[name(module) + up] = a, b
        if alpha is not None:
            written[name(module) + ".alpha"] = torch.tensor(alpha)
    return written


def flat(module: str) -> str:
    return "lora_unet_" + wan_module(module).replace(".", "_")


#: how a module is called, what the two matrices are called, and whether there is an alpha
SPELLINGS: dict[str, tuple[Callable[[str], str], str, str, float | None]] = {
    "diffusers": (lambda m: f"transformer.{m}", ".lora_A.weight", ".lora_B.weight", None),
    "peft": (lambda m: f"base_model.model.{m}", ".lora_A.default.weight", ".lora_B.default.weight", None),
    "lightx2v": (lambda m: f"diffusion_model.{wan_module(m)}", ".lora_down.weight", ".lora_up.weight", 2.0),
    "wan": (wan_module, ".lora_A.weight", ".lora_B.weight", None),
    "comfyui": (lambda m: f"model.diffusion_model.{wan_module(m)}", ".lora.down.weight", ".lora.up.weight", 8.0),
    "kohya": (flat, ".lora_down.weight", ".lora_up.weight", 1.0),
    "kohya, diffusers' names": (
        lambda m: "lora_transformer_" + m.replace(".", "_"),
        ".lora_down.weight",
        ".lora_up.weight",
        4.0,
    ),
}


def opened(base: Path, *loras: Lora) -> tuple[TensorSource, ...]:
    return open_bundle(Weights(model="x", base=str(base), loras=loras)).experts


def value(source: TensorSource, name: str) -> Tensor:
    read = source.read(name)
    assert isinstance(read, Tensor)
    return read


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("strength", [1.0, -0.5])
def test_every_spelling_changes_every_matrix_by_strength_alpha_rank(
    tmp_path: Path, flf2v_dir: Path, spelling: str, strength: float
) -> None:
    name, down, up, alpha = SPELLINGS[spelling]
    changes = matrices(tiny.FLF2V_SHAPE.tensors(), blocks_only=False)
    file = layouts.save(tmp_path / "lora.safetensors", spelled(changes, name, down, up, alpha))
    (source,) = opened(flf2v_dir, Lora(file=str(file), strength=strength))
    original = layouts.tensors_of(flf2v_dir / "transformer")
    scale = strength * (1.0 if alpha is None else alpha / RANK)
    changed = 0
    for tensor in source.names():
        pair = changes.get(tensor.removesuffix(".weight"))
        if pair is None or not tensor.endswith(".weight"):
            assert torch.equal(value(source, tensor), original[tensor])
            continue
        changed += 1
        torch.testing.assert_close(value(source, tensor), original[tensor] + scale * (pair[0] @ pair[1]))
    assert changed == len(changes) == 32


def test_a_lora_is_read_as_diffusers_reads_it(tmp_path: Path, flf2v_dir: Path) -> None:
    """The oracles are diffusers' own converters; they know no more than blocks with an alpha."""
    changes = matrices(tiny.FLF2V_SHAPE.tensors())
    original = layouts.tensors_of(flf2v_dir / "transformer")
    for name, convert in (
        (flat, _convert_musubi_wan_lora_to_diffusers),
        (None, _convert_non_diffusers_wan_lora_to_diffusers),
    ):
        spell = name or SPELLINGS["lightx2v"][0]
        written = spelled(changes, spell, ".lora_down.weight", ".lora_up.weight", 2.0)
        file = layouts.save(tmp_path / "lora.safetensors", written)
        (source,) = opened(flf2v_dir, Lora(file=str(file)))
        converted = convert(dict(written))
        for module in changes:
            a, b = (converted[f"transformer.{module}.lora_{side}.weight"] for side in "AB")
            torch.testing.assert_close(value(source, f"{module}.weight"), original[f"{module}.weight"] + b @ a)


def test_whole_changes_of_weights_biases_modulations_and_positions_are_added(tmp_path: Path, flf2v_dir: Path) -> None:
    original = layouts.tensors_of(flf2v_dir / "transformer")
    targets = {
        "blocks.1.norm3.diff": "blocks.1.norm2.weight",
        "blocks.1.norm3.diff_b": "blocks.1.norm2.bias",
        "blocks.0.self_attn.norm_q.diff": "blocks.0.attn1.norm_q.weight",
        "blocks.0.cross_attn.o.diff_b": "blocks.0.attn2.to_out.0.bias",
        "blocks.0.diff_m": "blocks.0.scale_shift_table",
        "blocks.1.modulation.diff": "blocks.1.scale_shift_table",
        "head.diff_m": "scale_shift_table",
        "head.head.diff": "proj_out.weight",
        "patch_embedding.diff": "patch_embedding.weight",
        "img_emb.proj.0.diff": "condition_embedder.image_embedder.norm1.weight",
        "img_emb.emb_pos.diff": "condition_embedder.image_embedder.pos_embed",
        "time_projection.1.diff_b": "condition_embedder.time_proj.bias",
    }
    written = {f"diffusion_model.{name}": torch.randn(original[target].shape) for name, target in targets.items()}
    file = layouts.save(tmp_path / "lora.safetensors", written)
    (source,) = opened(flf2v_dir, Lora(file=str(file), strength=0.5))
    for name, target in targets.items():
        torch.testing.assert_close(value(source, target), original[target] + 0.5 * written[f"diffusion_model.{name}"])
    for name in set(source.names()) - set(targets.values()):
        assert torch.equal(value(source, name), original[name])


def test_matrices_and_a_bias_of_one_module_are_both_added(tmp_path: Path, flf2v_dir: Path) -> None:
    original = layouts.tensors_of(flf2v_dir / "transformer")
    up, down, bias = torch.randn(24, RANK), torch.randn(RANK, 24), torch.randn(24)
    written = {"q.lora_A.weight": down, "q.lora_B.weight": up, "q.lora_B.bias": bias}
    at = "transformer.blocks.0.attn1.to_"
    file = layouts.save(tmp_path / "lora.safetensors", {at + name: tensor for name, tensor in written.items()})
    (source,) = opened(flf2v_dir, Lora(file=str(file)))
    name = "blocks.0.attn1.to_q"
    torch.testing.assert_close(value(source, f"{name}.weight"), original[f"{name}.weight"] + up @ down)
    torch.testing.assert_close(value(source, f"{name}.bias"), original[f"{name}.bias"] + bias)


def test_a_convolution_is_changed_as_a_matrix(tmp_path: Path, flf2v_dir: Path) -> None:
    up, down = torch.randn(24, RANK, 1, 1, 1), torch.randn(RANK, 36, 1, 2, 2)
    written = {"patch_embedding.lora_up.weight": up, "patch_embedding.lora_down.weight": down}
    (source,) = opened(flf2v_dir, Lora(file=str(layouts.save(tmp_path / "lora.safetensors", written))))
    original = layouts.tensors_of(flf2v_dir / "transformer")["patch_embedding.weight"]
    expected = original + (up.flatten(1) @ down.flatten(1)).reshape(original.shape)
    torch.testing.assert_close(value(source, "patch_embedding.weight"), expected)


def test_several_loras_add_up(tmp_path: Path, flf2v_dir: Path) -> None:
    changes = [{"blocks.0.diff_m": torch.randn(1, 6, 24)} for _ in range(2)]
    files = [layouts.save(tmp_path / f"{index}.safetensors", change) for index, change in enumerate(changes)]
    (source,) = opened(flf2v_dir, Lora(file=str(files[0])), Lora(file=str(files[1]), strength=2.0))
    original = layouts.tensors_of(flf2v_dir / "transformer")["blocks.0.scale_shift_table"]
    expected = original + changes[0]["blocks.0.diff_m"] + 2 * changes[1]["blocks.0.diff_m"]
    torch.testing.assert_close(value(source, "blocks.0.scale_shift_table"), expected)


@pytest.mark.parametrize("how", ["by name", "as said"])
def test_each_expert_gets_its_own_lora_and_both_get_one_without_a_side(
    tmp_path: Path, a14b_dir: Path, how: str
) -> None:
    deltas = {name: torch.full((1, 2, 24), number) for name, number in (("high", 1.0), ("low", 2.0), ("both", 4.0))}
    names = (
        {"high": "a_high_noise", "low": "LowNoise", "both": "slow_highlights"}
        if how == "by name"
        else {n: n[0] for n in deltas}
    )
    files = {n: layouts.save(tmp_path / f"{names[n]}.safetensors", {"head.diff_m": d}) for n, d in deltas.items()}
    experts: dict[str, object] = {} if how == "by name" else {"high": "high", "low": "low"}
    sources = opened(a14b_dir, *(Lora(file=str(file), expert=experts.get(n)) for n, file in files.items()))  # type: ignore[arg-type]
    for folder, source, added in zip(("transformer", "transformer_2"), sources, (5.0, 6.0), strict=True):
        original = layouts.tensors_of(a14b_dir / folder)["scale_shift_table"]
        torch.testing.assert_close(value(source, "scale_shift_table"), original + added)


def test_dtypes_stay_and_eight_bit_matrices_become_bf16(tmp_path: Path, flf2v_dir: Path) -> None:
    original = layouts.tensors_of(flf2v_dir / "transformer")
    half = {name: tensor.bfloat16() for name, tensor in original.items()}
    file = layouts.save(tmp_path / "fp8.safetensors", layouts.scaled(half))
    name = "blocks.0.attn1.to_q"
    up, down = torch.randn(24, RANK), torch.randn(RANK, 24)
    lora = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up, "proj_out.diff_b": torch.ones(64)}
    loras = (Lora(file=str(layouts.save(tmp_path / "lora.safetensors", lora))),)
    (source,) = open_bundle(Weights(model="x", base=str(flf2v_dir), experts=(str(file),), loras=loras)).experts
    (plain,) = open_bundle(Weights(model="x", base=str(flf2v_dir), experts=(str(file),))).experts
    before = plain.read(f"{name}.weight")
    assert isinstance(before, Scaled)
    merged = value(source, f"{name}.weight")
    assert merged.dtype is source.dtype(f"{name}.weight") is torch.bfloat16
    assert torch.equal(merged, (before.dequantised(torch.float32) + up @ down).bfloat16())
    assert source.dtype("proj_out.bias") is value(source, "proj_out.bias").dtype is torch.bfloat16
    assert isinstance(source.read("blocks.0.attn1.to_k.weight"), Scaled)
    assert source.dtype("blocks.0.attn1.to_k.weight") is torch.float8_e4m3fn


A, B = torch.randn(RANK, 24), torch.randn(24, RANK)
AT = "diffusion_model.blocks.0.self_attn.q"

FAULTS: dict[str, tuple[layouts.Tensors, str]] = {
    "another model's layers": (
        {
            "diffusion_model.blocks.39.self_attn.q.lora_A.weight": A,
            "diffusion_model.blocks.39.self_attn.q.lora_B.weight": B,
        },
        "1 tensors it changes are not there: blocks.39.attn1.to_q.weight",
    ),
    "another model's width": (
        {f"{AT}.lora_A.weight": torch.randn(RANK, 5120), f"{AT}.lora_B.weight": torch.randn(5120, RANK)},
        "blocks.0.attn1.to_q.weight is [24, 24], the change [5120, 5120]",
    ),
    "clip": (
        {"blocks.0.cross_attn.k_img.lora_A.weight": A, "blocks.0.cross_attn.k_img.lora_B.weight": B},
        "1 tensors it changes are not there: blocks.0.attn2.add_k_proj.weight",
    ),
    "another kind of model": (
        {"lora_unet_down_blocks_0_attentions_0.lora_down.weight": A, "lora_te_text_model.lora_down.weight": A},
        "2 tensors that mean nothing to a Wan transformer: lora_te_text_model.lora_down.weight",
    ),
    "ranks": (
        {f"{AT}.lora_A.weight": torch.randn(8, 24), f"{AT}.lora_B.weight": B},
        "the change [24, 4] times [8, 24]",
    ),
    "vectors, which together look like the matrix": (
        {f"{AT}.lora_down.weight": torch.randn(24), f"{AT}.lora_up.weight": torch.randn(24)},
        "blocks.0.attn1.to_q.weight is [24, 24], the change [24] times [24]",
    ),
    "no rank": (
        {f"{AT}.lora_down.weight": torch.randn(0, 24), f"{AT}.lora_up.weight": torch.randn(24, 0)},
        "the change [24, 0] times [0, 24]",
    ),
    "two alphas": (
        {f"{AT}.lora_A.weight": A, f"{AT}.lora_B.weight": B, f"{AT}.alpha": torch.ones(2)},
        f"{AT}.alpha is [2], not one number",
    ),
    "empty alpha": (
        {f"{AT}.lora_A.weight": A, f"{AT}.lora_B.weight": B, f"{AT}.alpha": torch.ones(0)},
        f"{AT}.alpha is [0], not one number",
    ),
    "half": ({f"{AT}.lora_A.weight": A}, "has half of the change to blocks.0.attn1.to_q"),
    "twice": (
        {f"{AT}.lora_A.weight": A, f"{AT}.lora_B.weight": B, f"{AT}.lora_down.weight": A},
        "says twice what blocks.0.attn1.to_q is changed by (down)",
    ),
    "both": (
        {f"{AT}.lora_A.weight": A, f"{AT}.lora_B.weight": B, f"{AT}.diff": torch.ones(24, 24)},
        "changes blocks.0.attn1.to_q both by matrices and as a whole",
    ),
    "dora": (
        {f"{AT}.lora_A.weight": A, f"{AT}.lora_B.weight": B, f"{AT}.dora_scale": torch.ones(24)},
        "(dora_scale is not read)",
    ),
    "integers": ({f"{AT}.diff_b": torch.ones(24, dtype=torch.int8)}, "1 tensors that mean nothing"),
    "alpha alone": ({f"{AT}.alpha": torch.tensor(1.0)}, "changes nothing"),
    "nothing": ({}, "changes nothing"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lora_that_does_not_fit_is_refused_whole(tmp_path: Path, a14b_dir: Path, fault: str) -> None:
    tensors, said = FAULTS[fault]
    file = layouts.save(tmp_path / "lora.safetensors", tensors)
    with pytest.raises(CheckpointError) as caught:
        opened(a14b_dir, Lora(file=str(file)))
    assert str(caught.value).startswith(f"{file}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_lora_with_nan_is_refused_when_it_is_read(tmp_path: Path, flf2v_dir: Path) -> None:
    file = layouts.save(tmp_path / "lora.safetensors", {"blocks.0.diff_m": torch.full((1, 6, 24), torch.nan)})
    (source,) = opened(flf2v_dir, Lora(file=str(file)))
    with pytest.raises(CheckpointError, match=r"lora\.safetensors: blocks\.0\.diff_m has NaN"):
        source.read("blocks.0.scale_shift_table")


def test_a_lora_for_one_side_of_a_model_without_sides_is_refused(tmp_path: Path, flf2v_dir: Path) -> None:
    file = layouts.save(tmp_path / "lora.safetensors", {"head.diff_m": torch.ones(1, 2, 24)})
    with pytest.raises(CheckpointError, match="is meant for the high-noise expert, and there is one"):
        opened(flf2v_dir, Lora(file=str(file), expert="high"))


def test_a_strength_so_large_that_it_overflows_is_found_out(tmp_path: Path, flf2v_dir: Path) -> None:
    file = layouts.save(tmp_path / "lora.safetensors", {"head.diff_m": torch.full((1, 2, 24), 1e38)})
    (source,) = opened(flf2v_dir, Lora(file=str(file), strength=1e3))
    with pytest.raises(CheckpointError, match="scale_shift_table so that it has NaN or infinity") as caught:
        source.read("scale_shift_table")
    assert str(caught.value).startswith(f"{file} at strength 1000")


@pytest.mark.parametrize("strength", [float("nan"), float("inf")])
def test_a_strength_that_is_no_number_is_not_blamed_on_the_base(
    tmp_path: Path, flf2v_dir: Path, strength: float
) -> None:
    file = layouts.save(tmp_path / "lora.safetensors", {"head.diff_m": torch.ones(1, 2, 24)})
    with pytest.raises(CheckpointError, match=f"lora.safetensors: is asked for at strength {strength}"):
        opened(flf2v_dir, Lora(file=str(file), strength=strength))


def test_a_damaged_base_is_not_blamed_on_the_lora(tmp_path: Path, flf2v_dir: Path) -> None:
    base = Path(shutil.copytree(flf2v_dir, tmp_path / "base"))
    layouts.rewritten(
        base / "transformer" / layouts.WEIGHTS,
        lambda t: {**t, "scale_shift_table": torch.full_like(t["scale_shift_table"], torch.nan)},
    )
    file = layouts.save(tmp_path / "lora.safetensors", {"head.diff_m": torch.ones(1, 2, 24)})
    (source,) = opened(base, Lora(file=str(file)))
    with pytest.raises(CheckpointError, match=f"{layouts.WEIGHTS}: scale_shift_table has NaN"):
        source.read("scale_shift_table")


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("wan2.2_i2v_A14b_high_noise_lora_rank64.safetensors", "high"),
        ("owner/low-res:Wan2.2-I2V-HighNoise-v1.safetensors", "high"),
        ("/models/high/x_LOW.safetensors", "low"),
        ("low.safetensors", "low"),
        ("/models/high_noise_model/diffusion_pytorch_model.safetensors", "high"),
        ("/models/low-noise/x.safetensors", "low"),
        ("owner/name:LowNoise/x.safetensors", "low"),
        ("/models/low/x.safetensors", "low"),
        ("/models/low-vram/x.safetensors", None),
        ("/models/transformer_2/x.safetensors", None),
        ("slow_motion_yellow_glow.safetensors", None),
        ("highlights-flow.safetensors", None),
        ("high_and_low.safetensors", None),
    ],
)
def test_a_name_says_which_expert_it_is_for_only_in_so_many_words(name: str, side: str | None) -> None:
    assert side_of(name) == side


def test_flattened_names_cannot_be_confused() -> None:
    for table in (BLOCK_MODULES, MODULES):
        both = {*table.keys(), *table.values()}
        flattened = [name.replace(".", "_") for name in both]
        assert len(set(flattened)) == len(flattened)

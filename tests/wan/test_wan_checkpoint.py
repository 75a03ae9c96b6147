"""Every layout gives the same tensors, bit for bit, under the same names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from torch import Tensor

from kf2v.engines.wan.checkpoint import Bundle, Scaled, TensorSource, open_bundle
from kf2v.engines.wan.checkpoint.names import prefix, wan_names
from kf2v.engines.wan.family import A14B, FLF2V
from kf2v.engines.wan.weights import Weights
from wan import layouts, tiny

FOLDERS = ("transformer", "transformer_2")


def opened(base: Path, *experts: Path) -> Bundle:
    return open_bundle(Weights(model="x", base=str(base), experts=tuple(map(str, experts))))


def read_all(source: TensorSource) -> dict[str, Tensor]:
    read = {name: source.read(name) for name in source.names()}
    return {name: value for name, value in read.items() if isinstance(value, Tensor)}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left
    )


def test_a_diffusers_directory_gives_what_was_saved(flf2v_dir: Path, a14b_dir: Path) -> None:
    first = opened(flf2v_dir)
    assert (first.family, first.shape, first.layout) == (FLF2V, tiny.FLF2V_SHAPE, "diffusers")
    second = opened(a14b_dir)
    assert (second.family, second.shape, second.layout) == (A14B, tiny.A14B_SHAPE, "diffusers")
    for folder, bundle in ((flf2v_dir, first), (a14b_dir, second)):
        assert len(bundle.experts) == bundle.family.experts
        for name, source in zip(FOLDERS, bundle.experts, strict=False):
            assert same(read_all(source), layouts.tensors_of(folder / name))


def test_names_shapes_and_dtypes_are_told_without_reading(flf2v_dir: Path) -> None:
    (source,) = opened(flf2v_dir).experts
    for name, tensor in read_all(source).items():
        assert source.shape(name) == tuple(tensor.shape)
        assert source.dtype(name) == tensor.dtype


def test_shards_and_their_index_are_one_model(tmp_path: Path, a14b_dir: Path) -> None:
    sharded = tiny.save(tmp_path / "sharded", "wan2.2-a14b", shard="20KB")
    assert len(list((sharded / "transformer").glob("*.safetensors"))) > 3
    for left, right in zip(opened(sharded).experts, opened(a14b_dir).experts, strict=True):
        assert same(read_all(left), read_all(right))


def test_bf16_stays_bf16(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "bf16", "wan2.1-flf2v", dtype=torch.bfloat16)
    (source,) = opened(folder).experts
    assert {tensor.dtype for tensor in read_all(source).values()} == {torch.bfloat16}


@pytest.mark.parametrize("family", ["flf2v", "a14b"])
def test_wans_own_directory_gives_the_same(tmp_path: Path, flf2v_dir: Path, a14b_dir: Path, family: str) -> None:
    source, shape = (flf2v_dir, tiny.FLF2V_SHAPE) if family == "flf2v" else (a14b_dir, tiny.A14B_SHAPE)
    bundle = opened(layouts.save_wan_directory(tmp_path / "wan", source, shape))
    assert (bundle.layout, bundle.shape) == ("wan", shape)
    for name, expert in zip(FOLDERS, bundle.experts, strict=False):
        assert same(read_all(expert), layouts.tensors_of(source / name))


def test_shards_without_an_index_are_counted_by_their_names(tmp_path: Path, flf2v_dir: Path) -> None:
    folder = layouts.save_wan_directory(tmp_path / "wan", flf2v_dir, tiny.FLF2V_SHAPE)
    (folder / "diffusion_pytorch_model.safetensors.index.json").unlink()
    (source,) = opened(folder).experts
    assert same(read_all(source), layouts.tensors_of(flf2v_dir / "transformer"))


SPELLINGS: dict[str, Callable[[dict[str, Tensor]], dict[str, Tensor]]] = {
    "diffusers": lambda tensors: tensors,
    "diffusers, wrapped": lambda tensors: {f"transformer.{name}": tensor for name, tensor in tensors.items()},
    "wan": layouts.in_wan_names,
    "comfyui": lambda tensors: layouts.in_wan_names(tensors, "model.diffusion_model."),
    "lightx2v": lambda tensors: layouts.in_wan_names(tensors, "diffusion_model."),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_single_files_with_a_base_give_the_same(tmp_path: Path, a14b_dir: Path, spelling: str) -> None:
    originals = [layouts.tensors_of(a14b_dir / name) for name in FOLDERS]
    files = [
        layouts.save(tmp_path / f"{noise}_noise.safetensors", SPELLINGS[spelling](tensors))
        for noise, tensors in zip(("high", "low"), originals, strict=True)
    ]
    for original, source in zip(originals, opened(a14b_dir, *files).experts, strict=True):
        assert same(read_all(source), original)


def test_a_base_needs_no_transformers_of_its_own_when_experts_are_named(tmp_path: Path, a14b_dir: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(
        a14b_dir,
        base,
        ignore=lambda folder, names: [n for n in names if n == layouts.WEIGHTS and "transformer" in folder],
    )
    files = [
        layouts.save(tmp_path / f"{noise}.safetensors", layouts.in_wan_names(layouts.tensors_of(a14b_dir / name)))
        for noise, name in (("high", "transformer"), ("low", "transformer_2"))
    ]
    assert len(opened(base, *files).experts) == 2


def test_single_files_go_with_wans_own_directory_too(tmp_path: Path, a14b_dir: Path) -> None:
    base = layouts.save_wan_directory(tmp_path / "wan", a14b_dir, tiny.A14B_SHAPE)
    originals = [{n: -t for n, t in layouts.tensors_of(a14b_dir / name).items()} for name in FOLDERS]
    files = [
        layouts.save(tmp_path / f"{noise}.safetensors", layouts.in_wan_names(tensors, "model.diffusion_model."))
        for noise, tensors in zip(("high", "low"), originals, strict=True)
    ]
    for original, source in zip(originals, opened(base, *files).experts, strict=True):
        assert same(read_all(source), original)


def test_wans_names_are_those_that_diffusers_converts(flf2v_dir: Path) -> None:
    """The oracle is diffusers' own converter; only the position embedding, which it loses, is checked by hand."""
    original = layouts.tensors_of(flf2v_dir / "transformer")
    spelled = layouts.in_wan_names(original)
    position = spelled.pop("img_emb.emb_pos")
    converted = convert_wan_transformer_to_diffusers(dict(spelled))
    kept = original.pop("condition_embedder.image_embedder.pos_embed")
    assert same(converted, original)
    assert torch.equal(position, kept)


def test_every_tensor_has_a_wan_name_of_its_own() -> None:
    for family in (FLF2V, A14B):
        spelled = wan_names(family.shape.tensors().keys())
        assert len(set(spelled.values())) == len(spelled)


def test_prefixes_are_taken_off_only_where_all_blocks_have_them() -> None:
    assert (
        prefix(["model.diffusion_model.blocks.0.a", "model.diffusion_model.head", "other"]) == "model.diffusion_model."
    )
    assert prefix(["blocks.0.a", "model.blocks.1.a"]) == ""


@pytest.mark.parametrize("leaf", ["weight_scale", "scale_weight"])
@pytest.mark.parametrize("rows", [True, False])
def test_fp8_matrices_come_scaled_and_within_their_rounding(
    tmp_path: Path, a14b_dir: Path, leaf: str, rows: bool
) -> None:
    originals = [layouts.tensors_of(a14b_dir / name) for name in FOLDERS]
    files = []
    for noise, tensors in zip(("high", "low"), originals, strict=True):
        written = layouts.scaled(layouts.in_wan_names(tensors), leaf=leaf, rows=rows)
        written["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)  # ComfyUI's marker
        files.append(layouts.save(tmp_path / f"{noise}.safetensors", written))
    for original, source in zip(originals, opened(a14b_dir, *files).experts, strict=True):
        assert set(source.names()) == original.keys()
        matrices = 0
        for name, tensor in original.items():
            read = source.read(name)
            if not isinstance(read, Scaled):
                assert torch.equal(read, tensor)
                continue
            matrices += 1
            assert source.dtype(name) == read.values.dtype == torch.float8_e4m3fn
            assert tuple(read.scale.shape) == ((tensor.shape[0], 1) if rows else ())
            # e4m3 keeps 3 bits behind the leading one: half a step is 2⁻⁴ of a value, 2⁻¹⁰ scales below the normal
            bound = tensor.abs() * 2**-4 + read.scale * 2**-10
            assert bool(((read.dequantised(torch.float32) - tensor).abs() <= bound * 1.001).all()), name
        assert matrices == 20


def test_fp8_without_a_scale_is_the_value_itself(tmp_path: Path, flf2v_dir: Path) -> None:
    original = layouts.tensors_of(flf2v_dir / "transformer")
    rounded = {n: t.to(torch.float8_e4m3fn) if t.ndim > 1 else t for n, t in original.items()}
    (source,) = opened(flf2v_dir, layouts.save(tmp_path / "raw.safetensors", rounded)).experts
    matrix, picture = source.read("proj_out.weight"), source.read("patch_embedding.weight")
    assert isinstance(matrix, Scaled) and isinstance(picture, Tensor)
    assert torch.equal(matrix.dequantised(torch.float32), rounded["proj_out.weight"].float())
    assert torch.equal(picture.float(), rounded["patch_embedding.weight"].float())
    assert source.dtype("patch_embedding.weight") == picture.dtype == torch.bfloat16

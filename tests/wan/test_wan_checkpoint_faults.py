"""Wrong, damaged, mismatched and hostile files: one clear sentence each, and nothing of theirs is run."""

from __future__ import annotations

import errno
import json
import math
import os
import pickle
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kf2v.engines.wan.checkpoint import CheckpointError, open_bundle, verify
from kf2v.engines.wan.checkpoint.header import read_header
from kf2v.engines.wan.checkpoint.torch_file import read_torch_file
from kf2v.engines.wan.family import DitShape
from kf2v.engines.wan.weights import Weights, located, snapshot
from wan import layouts, tiny

FOLDERS = ("transformer", "transformer_2")
DIT = f"transformer/{layouts.WEIGHTS}"


def refusal(base: Path, *experts: Path) -> str:
    """What is said when it is opened: one line."""
    with pytest.raises(CheckpointError) as caught:
        open_bundle(Weights(model="x", base=str(base), experts=tuple(map(str, experts))))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1200
    return str(caught.value)


@pytest.fixture
def flf2v(tmp_path: Path, flf2v_dir: Path) -> Path:
    """A copy that may be spoilt."""
    shutil.copytree(flf2v_dir, tmp_path / "flf2v")
    return tmp_path / "flf2v"


@pytest.fixture
def a14b(tmp_path: Path, a14b_dir: Path) -> Path:
    """A copy that may be spoilt."""
    shutil.copytree(a14b_dir, tmp_path / "a14b")
    return tmp_path / "a14b"


def with_header(path: Path, header: object, body: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + body)
    return path


ONE = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def told_of(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_header(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("header", "body", "length", "said"),
    [
        (ONE, b"\0" * 5, None, "is cut short: 3 of 8 bytes"),
        (ONE, b"\0" * 8, 1 << 40, "says that its header has 1099511627776 bytes, and has"),
        (ONE, b"\0" * 8, 10, "has a header that cannot be read"),
        (ONE, b"\0" * 9, None, "leave gaps"),
        (b"{not json", b"", None, "has a header that cannot be read"),
        (b"[" * 100_000, b"", None, "has a header that cannot be read"),
        (b"[]", b"", None, "has a header that cannot be read"),
        ({"a": 3}, b"", None, "an entry that is no object"),
        ({"a": {"dtype": "F33", "shape": [], "data_offsets": [0, 4]}}, b"\0" * 4, None, "unknown dtype 'F33'"),
        ({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, b"\0" * 8, None, "no count"),
        ({"a": {"dtype": "F32", "shape": [1 << 60, 1 << 60], "data_offsets": [0, 8]}}, b"\0" * 8, None, "in 8 bytes"),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}, b"\0" * 8, None, "in -8 bytes"),
        ({"a": {"dtype": "F32", "shape": [2]}}, b"\0" * 8, None, "data_offsets"),
        ({**ONE, "b": ONE["a"]}, b"\0" * 8, None, "overlap"),
    ],
)
def test_a_header_is_believed_only_as_far_as_the_file_bears_it_out(
    tmp_path: Path, header: object, body: bytes, length: int | None, said: str
) -> None:
    assert said in told_of(with_header(tmp_path / "x.safetensors", header, body, length))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has 0 bytes"),
        (b"1234", "has 4 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "is a Git LFS pointer"),
        (b"GGUF\3\0\0\0" + b"\0" * 60, "is GGUF, which is not read"),
        (b"PK\3\4" + b"\0" * 60, "is a zip or a PyTorch file"),
        (b"<!doctype html><html>404</html>", "is a web page"),
    ],
)
def test_something_else_under_a_weights_name_is_recognised(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert said in told_of(path)


def test_a_file_that_is_not_there_or_may_not_be_read_is_named(tmp_path: Path) -> None:
    assert told_of(tmp_path / "none.safetensors").startswith(f"{tmp_path / 'none.safetensors'}: is not there")
    assert "cannot be read" in told_of(tmp_path)


def test_truncated_weights_are_named_with_what_is_missing(flf2v: Path) -> None:
    path = flf2v / DIT
    path.write_bytes(path.read_bytes()[:-1000])
    said = refusal(flf2v)
    assert said.startswith(str(path))
    assert "is cut short: 1000 of" in said
    assert "kf2v models pull" in said


def test_weights_that_vanish_after_they_were_opened_are_named(flf2v: Path) -> None:
    (source,) = open_bundle(Weights(model="x", base=str(flf2v))).experts
    (flf2v / DIT).unlink()
    with pytest.raises(CheckpointError, match="bias cannot be read"):
        source.read("proj_out.bias")


def test_an_empty_directory_is_called_so(tmp_path: Path, flf2v: Path) -> None:
    assert f"{tmp_path / 'empty'}: is empty" in refusal(mkdir(tmp_path / "empty"))
    shutil.rmtree(flf2v / "transformer")
    assert "holds only image_encoder, image_processor" in refusal(flf2v)


def mkdir(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_base_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'none'}: is not there" in refusal(tmp_path / "none")


def test_a_file_as_base_is_told_what_it_lacks(flf2v: Path) -> None:
    assert "is a file, not a directory; name a directory as base" in refusal(flf2v / DIT)


def test_a_folder_without_weights_is_called_so(flf2v: Path) -> None:
    (flf2v / DIT).unlink()
    assert "has no diffusion_pytorch_model.safetensors, only config.json" in refusal(flf2v)


@pytest.mark.parametrize("index", [True, False])
def test_a_missing_shard_is_named(tmp_path: Path, flf2v: Path, index: bool) -> None:
    folder = flf2v / "transformer"
    tensors = layouts.tensors_of(folder)
    (folder / layouts.WEIGHTS).unlink()
    layouts.save_sharded(folder, tensors, index=index)
    open_bundle(Weights(model="x", base=str(flf2v)))
    (folder / "diffusion_pytorch_model-00002-of-00003.safetensors").unlink()
    said = refusal(flf2v)
    assert "1 of 3 files are missing: diffusion_pytorch_model-00002-of-00003.safetensors" in said


@pytest.mark.parametrize(
    "name", ["../secret.safetensors", "/etc/secret.safetensors", "a/b.safetensors", "..\\x.safetensors", "x.py"]
)
def test_an_index_that_names_a_file_elsewhere_is_refused(flf2v: Path, name: str) -> None:
    shutil.copy(flf2v / DIT, flf2v / "secret.safetensors")
    index = flf2v / f"{DIT}.index.json"
    index.write_text(json.dumps({"weight_map": {"proj_out.bias": name}}))
    assert f"names {name!r}, which is no file beside it" in refusal(flf2v)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"weight_map": 3}', b"\xff", b"[" * 100_000])
def test_an_index_that_is_none_is_named(flf2v: Path, content: bytes) -> None:
    (flf2v / f"{DIT}.index.json").write_bytes(content)
    assert "is no index of weights" in refusal(flf2v)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not describe a Wan transformer"),
        (b"[]", "does not describe a Wan transformer"),
        (b'{"num_layers": 2}', "num_attention_heads is missing"),
        (b"[" * 100_000, "does not describe a Wan transformer"),
    ],
)
def test_a_config_that_is_none_is_named(flf2v: Path, content: bytes, said: str) -> None:
    (flf2v / "transformer/config.json").write_bytes(content)
    assert said in refusal(flf2v)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("num_layers", 0, "num_layers is 0, not a count"),
        ("num_layers", 10**12, "not a count"),
        ("num_layers", "2", "num_layers is '2', not a count"),
        ("num_layers", True, "not a count"),
        ("patch_size", [1, 4, 4], "patch_size is [1, 4, 4], not [1, 2, 2]"),
        ("eps", -1, "eps is -1, not a small positive number"),
        ("num_layers", 3, "tensors are missing: blocks.2.attn1"),
        ("ffn_dim", 50, "blocks.0.ffn.net.0.proj.bias is [48] instead of [50]"),
        ("in_channels", 16, "is a text-to-video transformer (16 input channels, width 24)"),
        ("in_channels", 48, "is Wan2.2-TI2V-5B (48 input channels, width 24)"),
        ("pos_embed_seq_len", None, "is Wan2.1-I2V, whose picture embedding has no place for a last frame"),
    ],
)
def test_a_config_that_does_not_fit_is_named(flf2v: Path, field: str, value: object, said: str) -> None:
    path = flf2v / "transformer/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    assert said in refusal(flf2v)


CHANGES: dict[str, tuple[Callable[[layouts.Tensors], layouts.Tensors], str]] = {
    "missing": (
        lambda t: {n: v for n, v in t.items() if n not in ("proj_out.bias", "blocks.1.norm2.weight")},
        "2 tensors are missing: blocks.1.norm2.weight, proj_out.bias",
    ),
    "unexpected": (lambda t: {**t, "blocks.7.norm2.bias": torch.ones(24)}, "1 are unexpected: blocks.7.norm2.bias"),
    "stranger": (lambda t: {**t, "face_adapter.x": torch.ones(2)}, "1 are unexpected: face_adapter.x"),
    "shape": (lambda t: {**t, "proj_out.bias": torch.ones(65)}, "proj_out.bias is [65] instead of [64]"),
    "dtype": (lambda t: {**t, "proj_out.bias": torch.ones(64, dtype=torch.int8)}, "proj_out.bias is I8, and only F32"),
    "float64": (lambda t: {**t, "proj_out.bias": torch.ones(64, dtype=torch.float64)}, "proj_out.bias is F64"),
    "positions": (
        lambda t: {n: v for n, v in t.items() if not n.endswith("pos_embed")},
        "lost its position embedding when it was converted",
    ),
    "another": (lambda t: {"conv.weight": torch.ones(2, 2)}, "is no Wan transformer; it holds conv.weight"),
    "scale alone": (
        lambda t: {**t, "blocks.0.attn1.to_q.weight_scale": torch.ones(24, 1)},
        "blocks.0.attn1.to_q.weight_scale without a matrix in fp8",
    ),
    "one scale of many": (
        lambda t: {n: v for n, v in layouts.scaled(t).items() if n != "blocks.0.attn1.to_q.weight_scale"},
        "1 of 24 matrices in fp8 have no scale, as blocks.0.attn1.to_q.weight",
    ),
    "scale of another size": (
        lambda t: {**layouts.scaled(t), "blocks.0.attn1.to_q.weight_scale": torch.ones(3, 8)},
        "blocks.0.attn1.to_q.weight_scale is F32 [3, 8], for 24 rows",
    ),
}


@pytest.mark.parametrize("fault", CHANGES)
def test_tensors_that_do_not_fit_are_named(flf2v: Path, fault: str) -> None:
    change, said = CHANGES[fault]
    layouts.rewritten(flf2v / DIT, change)
    assert said in refusal(flf2v)


VALUES: dict[str, tuple[str, Callable[[Tensor], Tensor], str]] = {
    "nan": ("blocks.1.attn1.to_q.weight", lambda t: t.index_fill(0, torch.tensor([3]), math.nan), "has NaN"),
    "infinity": ("blocks.1.attn1.to_q.bias", lambda t: t.index_fill(0, torch.tensor([3]), -math.inf), "infinity"),
    "zeros": ("condition_embedder.text_embedder.linear_1.weight", torch.zeros_like, "is all zeros"),
    "bf16 nan": ("proj_out.weight", lambda t: torch.full_like(t, math.nan).bfloat16(), "has NaN"),
    "fp8 nan": ("proj_out.weight", lambda t: torch.full_like(t, math.nan).to(torch.float8_e4m3fn), "has NaN"),
    "fp8 zeros": ("proj_out.weight", lambda t: torch.zeros_like(t).to(torch.float8_e4m3fn), "is all zeros"),
}


@pytest.mark.parametrize("fault", VALUES)
def test_values_that_cannot_be_are_found_at_load_and_by_verify(flf2v: Path, fault: str) -> None:
    name, change, said = VALUES[fault]
    layouts.rewritten(flf2v / DIT, lambda t: {**t, name: change(t[name])})
    bundle = open_bundle(Weights(model="x", base=str(flf2v)))
    with pytest.raises(CheckpointError, match=f"{layouts.WEIGHTS}: {name} .*{said}"):
        bundle.experts[0].read(name)
    with pytest.raises(CheckpointError, match=f"{name} .*{said}"):
        verify(bundle)


@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize(
    ("scale", "said"),
    [
        (0.0, "has a scale of 0"),
        (-1.0, "has a scale of -1"),
        (1e30, r"has a scale of 1e\+30"),
        (1e-30, "has a scale of 1e-30"),
        (math.inf, "has a scale with NaN or infinity"),
        (math.nan, "has a scale with NaN or infinity"),
    ],
)
def test_scales_that_cannot_be_are_found_at_load(flf2v: Path, scale: float, said: str, rows: bool) -> None:
    name = "blocks.0.attn1.to_q.weight"
    layouts.rewritten(
        flf2v / DIT,
        lambda t: {
            **layouts.scaled(t, rows=rows),
            f"{name}_scale": torch.full((24, 1) if rows else (), scale),
        },
    )
    (source,) = open_bundle(Weights(model="x", base=str(flf2v))).experts
    with pytest.raises(CheckpointError, match=f"{name} {said}"):
        source.read(name)
    source.read("blocks.0.attn1.to_k.weight")


def test_all_faults_are_told_in_one_message_and_the_rest_is_counted(flf2v: Path) -> None:
    layouts.rewritten(flf2v / DIT, lambda t: {n: torch.full_like(v, math.nan) for n, v in t.items()})
    with pytest.raises(CheckpointError, match=r"; and 82 more"):
        verify(open_bundle(Weights(model="x", base=str(flf2v))))


def test_a_zero_bias_is_no_fault(flf2v: Path) -> None:
    layouts.rewritten(flf2v / DIT, lambda t: {**t, "proj_out.bias": torch.zeros(64)})
    verify(open_bundle(Weights(model="x", base=str(flf2v))))


def others() -> dict[str, tuple[DitShape, str]]:
    def tiny_shape(**changes: int | None) -> DitShape:
        sizes = {"in_channels": 36, "image_dim": None, "image_tokens": None, **changes}
        return DitShape(layers=2, heads=2, head_dim=12, ffn=48, text_dim=32, **sizes)  # type: ignore[arg-type]

    return {
        "t2v": (
            tiny_shape(in_channels=16),
            "a text-to-video transformer (16 input channels, width 24), not wan2.2-a14b",
        ),
        "5b": (tiny_shape(in_channels=48), "Wan2.2-TI2V-5B (48 input channels, width 24), not wan2.2-a14b"),
        "i2v": (tiny_shape(image_dim=16), "a transformer of Wan2.1-I2V (CLIP, and no positions for two pictures), not"),
        "flf2v": (tiny.FLF2V_SHAPE, "a transformer of Wan2.1-FLF2V (CLIP), not wan2.2-a14b"),
    }


@pytest.mark.parametrize("other", ["t2v", "5b", "i2v", "flf2v"])
def test_transformers_of_another_model_are_recognised(tmp_path: Path, a14b_dir: Path, other: str) -> None:
    shape, said = others()[other]
    tensors = {name: torch.ones(size) for name, size in shape.tensors().items()}
    files = [layouts.save(tmp_path / f"{n}.safetensors", layouts.in_wan_names(tensors)) for n in ("high", "low")]
    told = refusal(a14b_dir, *files)
    assert said in told
    assert told.startswith(str(files[0]))


def test_a_14b_transformer_in_an_flf2v_base_is_recognised(flf2v_dir: Path, a14b_dir: Path) -> None:
    assert "a transformer without CLIP, not wan2.1-flf2v" in refusal(flf2v_dir, a14b_dir / DIT)


def test_wans_own_directory_of_wan21_i2v_is_recognised(tmp_path: Path, flf2v_dir: Path) -> None:
    folder = layouts.save_wan_directory(tmp_path / "i2v", flf2v_dir, tiny.FLF2V_SHAPE)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "i2v"}))
    assert "is Wan2.1-I2V, whose picture embedding has no place for a last frame" in refusal(folder)


def test_wans_own_directory_of_text_to_video_is_recognised(tmp_path: Path, a14b_dir: Path) -> None:
    folder = layouts.save_wan_directory(tmp_path / "t2v", a14b_dir, tiny.A14B_SHAPE)
    for path in folder.rglob("config.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "t2v", "in_dim": 16}))
    assert "is a text-to-video transformer (16 input channels, width 24), which knows no last frame" in refusal(folder)


def test_experts_of_two_sizes_are_refused(a14b: Path) -> None:
    path = a14b / "transformer_2/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_layers": 3}))
    assert "has two transformers of different sizes" in refusal(a14b)


def test_a14b_needs_both_experts(a14b: Path, a14b_dir: Path) -> None:
    assert "which has 2 transformers; 1 found; name high-noise and low-noise" in refusal(a14b_dir, a14b / DIT)
    shutil.rmtree(a14b / "transformer_2")
    assert "which has 2 transformers; 1 found" in refusal(a14b)


def test_two_high_noise_files_are_noticed_by_name_and_by_content(tmp_path: Path, a14b_dir: Path) -> None:
    high, low = a14b_dir / DIT, a14b_dir / f"transformer_2/{layouts.WEIGHTS}"
    copies = {
        name: Path(shutil.copy(source, tmp_path / f"{name}.safetensors"))
        for name, source in {"a_high": high, "b_high": high, "c_low": low, "one": high, "two": high}.items()
    }
    assert "are high- and high-noise by name" in refusal(a14b_dir, copies["a_high"], copies["b_high"])
    assert "are low- and high-noise by name; name high, then low" in refusal(
        a14b_dir, copies["c_low"], copies["a_high"]
    )
    assert f"holds the same values as {copies['two']}" in refusal(a14b_dir, copies["one"], copies["two"])
    assert "is named for both noise levels" in refusal(a14b_dir, copies["one"], copies["one"])
    open_bundle(Weights(model="x", base=str(a14b_dir), experts=(str(copies["a_high"]), str(copies["c_low"]))))


@pytest.mark.parametrize("names", [("high_noise_model", "low_noise_model"), ("transformer", "transformer_2")])
def test_swapped_experts_are_noticed_by_their_folders(tmp_path: Path, a14b_dir: Path, names: tuple[str, str]) -> None:
    high, low = (
        Path(shutil.copytree(a14b_dir / folder, tmp_path / name)) for folder, name in zip(FOLDERS, names, strict=True)
    )
    for swapped in ((low, high), (low / layouts.WEIGHTS, high / layouts.WEIGHTS)):
        assert "are low- and high-noise by name; name high, then low" in refusal(a14b_dir, *swapped)
        open_bundle(Weights(model="x", base=str(a14b_dir), experts=tuple(map(str, reversed(swapped)))))


def test_experts_of_two_collections_may_both_lie_in_a_folder_called_transformer(tmp_path: Path, a14b_dir: Path) -> None:
    folders = [
        Path(shutil.copytree(a14b_dir / name, tmp_path / which / "transformer"))
        for which, name in zip("ab", FOLDERS, strict=True)
    ]
    open_bundle(Weights(model="x", base=str(a14b_dir), experts=tuple(map(str, folders))))


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("", "names nothing"),
        ("a\0b", "names nothing"),
        ("~nobody-of-that-name/x", "is in the home of a user who is not known here"),
        ("/" + "x" * 5000, "cannot be read: File name too long"),
        ("x" * 5000, "is neither there nor a name on the hub"),
        ("owner/" + "x" * 5000, "cannot be read: File name too long"),
    ],
)
def test_a_reference_that_can_be_none_is_one_short_sentence(reference: str, said: str) -> None:
    with pytest.raises(CheckpointError, match=said) as caught:
        open_bundle(Weights(model="x", base=reference))
    assert len(str(caught.value)) < 600


def test_a_variant_that_there_is_none_of_is_told_those_there_are() -> None:
    with pytest.raises(CheckpointError, match="write distilled, distilled-bf16, distilled-fp8, lora, full, a path"):
        open_bundle(Weights(model="wan2.2-kf2v-flash", base="distilled-fp9"))


def forbidden(*_: object, **__: object) -> object:
    raise PermissionError(errno.EACCES, "Permission denied", "/of/another/user")


def test_a_cache_of_another_user_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", forbidden)
    with pytest.raises(CheckpointError, match=r"^/of/another/user: cannot be read: Permission denied"):
        located("owner/name", tmp_path)
    assert snapshot("owner/name", tmp_path) is None


@pytest.mark.parametrize("refused", ["exists", "is_dir", "iterdir"])
def test_a_directory_of_another_user_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    monkeypatch.setattr(Path, refused, forbidden)
    with pytest.raises(CheckpointError, match=r"^/of/another/user: cannot be read: Permission denied"):
        open_bundle(Weights(model="x", base=str(tmp_path)))


def test_a_file_in_the_place_of_a_name_on_the_hub_is_explained(a14b_dir: Path) -> None:
    assert "is neither there nor a name on the hub" in refusal(a14b_dir, Path("no such"), Path("thing"))


@pytest.mark.parametrize("reference", ["nobody/nothing", "nobody/nothing:file.safetensors"])
def test_what_was_not_fetched_says_how_to_fetch_it(
    tmp_path: Path, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert refusal(Path(reference)) == f"{reference}: has not been fetched; fetch it: kf2v models pull"


class Payload:
    """What a hostile file would like to do when it is opened."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, (self.command,))


@pytest.mark.parametrize("how", ["torch", "torch, old format", "pickle"])
def test_code_in_a_pth_file_is_not_run(tmp_path: Path, how: str) -> None:
    path, trace = tmp_path / "x.pth", tmp_path / "was-here"
    hostile = {"weight": Payload(f"touch {trace}")}
    if how == "pickle":
        path.write_bytes(pickle.dumps(hostile, protocol=2))
    else:
        torch.save(hostile, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        read_torch_file(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "something other than named tensors"),
        ({"a": 3}, "something other than named tensors"),
        ({}, "something other than named tensors"),
    ],
)
def test_a_pth_file_without_named_tensors_is_refused(tmp_path: Path, content: object, said: str) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=said):
        read_torch_file(tmp_path / "x.pth")


def test_a_pth_file_that_is_a_pointer_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(CheckpointError, match="is a Git LFS pointer, not the file"):
        read_torch_file(tmp_path / "x.pth")


@pytest.mark.parametrize("length", [0, 3, 100, 700])
def test_a_pth_file_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a": torch.ones(64)}, path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"x\.pth: (cannot be read|holds more than tensors, or is damaged)"):
        read_torch_file(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # torch's, of a protocol number that we broke
@pytest.mark.parametrize("kind", ["safetensors", "torch", "torch, old format"])
def test_wrong_bytes_are_refused_or_change_nothing_but_values(tmp_path: Path, kind: str) -> None:
    path, dice = tmp_path / "x", random.Random(5)
    tensors = {"first.weight": torch.randn(4, 3), "second.bias": torch.randn(2)}
    if kind == "safetensors":
        layouts.save(path, tensors)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "torch")
    whole = path.read_bytes()
    refused = 0
    for _ in range(400):
        spoilt = bytearray(whole)
        for _ in range(dice.choice([1, 2, 5])):
            spoilt[dice.randrange(len(spoilt))] = dice.choice([dice.randrange(256), *b'0123456789"{}[],:-'])
        path.write_bytes(spoilt)
        try:
            read_header(path) if kind == "safetensors" else read_torch_file(path)
        except CheckpointError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 20


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_pth_file_of_tensors_is_read(tmp_path: Path, new: bool, wrapped: bool) -> None:
    tensors = {"a": torch.randn(4, 3), "b": torch.randn(2).bfloat16()}
    torch.save({"state_dict": tensors} if wrapped else tensors, tmp_path / "x.pth", _use_new_zipfile_serialization=new)
    read = read_torch_file(tmp_path / "x.pth")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_tensors_can_be_read_from_several_threads_at_once(a14b_dir: Path) -> None:
    source = open_bundle(Weights(model="x", base=str(a14b_dir))).experts[0]
    original = layouts.tensors_of(a14b_dir / "transformer")
    wrong: list[str] = []

    def read() -> None:
        wrong.extend(name for name in source.names() if not torch.equal(source.read(name), original[name]))  # type: ignore[arg-type]

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []

"""Text encoder, image encoder and VAE come out the same from diffusers' folders and from Wan's own files."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from kf2v.cli import dispatch
from kf2v.engines.wan.checkpoint import Bundle, CheckpointError, components, encoders, open_bundle, verify
from kf2v.engines.wan.weights import Weights
from wan import layouts, tiny


@pytest.fixture(scope="module")
def clip() -> CLIPVisionModelWithProjection:
    """Two heads of 80 channels, as ViT-H/14 has sixteen."""
    torch.manual_seed(3)
    config = CLIPVisionConfig(
        hidden_size=160,
        intermediate_size=64,
        projection_dim=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=224,
        patch_size=14,
        hidden_act="gelu",
    )
    return tiny.shaken(CLIPVisionModelWithProjection(config).eval())


@pytest.fixture(scope="module")
def wan_dir(tmp_path_factory: pytest.TempPathFactory, flf2v_dir: Path, clip: CLIPVisionModelWithProjection) -> Path:
    """The tiny FLF2V checkpoint as Wan publishes the large one."""
    folder = layouts.save_wan_directory(tmp_path_factory.mktemp("wan") / "flf2v", flf2v_dir, tiny.FLF2V_SHAPE)
    text = layouts.text_in_wan_names(layouts.tensors_of(flf2v_dir / "text_encoder"))
    torch.save(text, folder / components.TEXT_FILE)
    torch.save(layouts.vae_in_wan_names(layouts.tensors_of(flf2v_dir / "vae"), blocks=1), folder / components.VAE_FILE)
    torch.save(layouts.image_in_wan_names(clip.state_dict()), folder / components.IMAGE_FILE)
    return folder


@pytest.fixture(scope="module")
def bundle(flf2v_dir: Path) -> Bundle:
    return open_bundle(Weights(model="x", base=str(flf2v_dir)))


@pytest.fixture(scope="module")
def wan_bundle(wan_dir: Path) -> Bundle:
    return open_bundle(Weights(model="x", base=str(wan_dir)))


def same(left: nn.Module, right: nn.Module) -> bool:
    ours, theirs = left.state_dict(), right.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_text_encoder_is_the_same_from_both(bundle: Bundle, wan_bundle: Bundle) -> None:
    left = components.text_encoder(bundle, torch.float32)
    right = components.text_encoder(wan_bundle, torch.float32)
    assert same(left, right)
    assert not left.training and not right.training
    ids = torch.tensor([[5, 9, 33, 1]])
    assert torch.equal(left(ids).last_hidden_state, right(ids).last_hidden_state)


def test_loading_says_nothing(bundle: Bundle, wan_bundle: Bundle, capfd: pytest.CaptureFixture[str]) -> None:
    for each in (bundle, wan_bundle):
        components.text_encoder(each, torch.float32)
        components.image_encoder(each, torch.float32)
        components.vae(each, torch.float32)
    assert capfd.readouterr() == ("", "")


def test_the_tokenizer_is_the_same_from_both(bundle: Bundle, wan_bundle: Bundle) -> None:
    said = "a cat walks over a bridge, 一只猫"
    assert components.tokenizer(bundle)(said).input_ids == components.tokenizer(wan_bundle)(said).input_ids


def test_the_vae_is_the_same_from_both(bundle: Bundle, wan_bundle: Bundle) -> None:
    left, right = components.vae(bundle, torch.float32), components.vae(wan_bundle, torch.float32)
    assert same(left, right)
    assert left.config.latents_mean == right.config.latents_mean


def test_the_image_encoder_is_the_same_from_wans_file(wan_bundle: Bundle, clip: CLIPVisionModelWithProjection) -> None:
    model = components.image_encoder(wan_bundle, torch.float32)
    original = {name.removeprefix("vision_model."): tensor for name, tensor in clip.state_dict().items()}
    loaded = {name.removeprefix("vision_model."): tensor for name, tensor in model.state_dict().items()}
    assert original.keys() - loaded.keys() == {"visual_projection.weight"}
    assert all(torch.equal(tensor, original[name]) for name, tensor in loaded.items())
    pixels = torch.randn(1, 3, 224, 224)
    states = [m(pixels, output_hidden_states=True).hidden_states[-2] for m in (model, clip)]
    assert torch.equal(*states)


def test_dtypes_are_those_asked_for(bundle: Bundle, wan_bundle: Bundle) -> None:
    for each in (bundle, wan_bundle):
        for model in (components.text_encoder(each, torch.bfloat16), components.vae(each, torch.bfloat16)):
            assert next(model.parameters()).dtype is torch.bfloat16


def test_the_vaes_names_are_those_that_diffusers_converts() -> None:
    """At the published VAE's depth and widths' ratios, the only ones that diffusers' converter knows."""
    torch.manual_seed(4)
    model = AutoencoderKLWan(
        base_dim=4, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, temperal_downsample=[False, True, True]
    )
    original = model.state_dict()
    spelled = layouts.vae_in_wan_names(original, blocks=2)
    ours, theirs = encoders.vae_tensors(spelled), convert_wan_vae_to_diffusers(dict(spelled))
    assert ours.keys() == theirs.keys() == original.keys()
    assert all(ours[name] is theirs[name] is original[name] or torch.equal(ours[name], original[name]) for name in ours)
    config = encoders.vae_config(spelled)
    assert {
        name: list(v) if isinstance(v, tuple) else v for name, v in model.config.items() if name in config
    } == config


def test_wans_text_encoder_means_by_its_names_what_we_take_them_for(wan_dir: Path, wan_bundle: Bundle) -> None:
    """Computed as Wan2.1 ``wan/modules/t5.py`` does, from Wan's names, against transformers' model."""
    w = torch.load(wan_dir / components.TEXT_FILE, weights_only=True)
    model = components.text_encoder(wan_bundle, torch.float32)
    ids = torch.tensor([[5, 9, 33, 17, 80, 1]])
    x = w["token_embedding.weight"][ids[0]]  # (L, d)
    places = torch.arange(len(x))
    buckets = model.encoder.block[0].layer[0].SelfAttention._relative_position_bucket(places[None] - places[:, None])
    for index in range(2):
        block = {
            name.removeprefix(f"blocks.{index}."): t for name, t in w.items() if name.startswith(f"blocks.{index}.")
        }
        normed = rms(x, block["norm1.weight"])
        q, k, v = (heads(normed @ block[f"attn.{part}.weight"].T, 4) for part in "qkv")  # (4, L, 8)
        bias = block["pos_embedding.embedding.weight"][buckets].permute(2, 0, 1)  # (4, L, L)
        seen = torch.softmax(q @ k.transpose(1, 2) + bias, dim=-1) @ v
        x = x + seen.transpose(0, 1).reshape(len(x), -1) @ block["attn.o.weight"].T
        normed = rms(x, block["norm2.weight"])
        gate = functional.gelu(normed @ block["ffn.gate.0.weight"].T, approximate="tanh")
        x = x + (normed @ block["ffn.fc1.weight"].T * gate) @ block["ffn.fc2.weight"].T
    expected = rms(x, w["norm.weight"])
    torch.testing.assert_close(model(ids).last_hidden_state[0], expected, rtol=1e-4, atol=1e-5)


def test_wans_image_encoder_means_by_its_names_what_we_take_them_for(wan_dir: Path, wan_bundle: Bundle) -> None:
    """Computed as Wan2.1 ``wan/modules/clip.py`` does with ``use_31_block``, against transformers' model."""
    file = torch.load(wan_dir / components.IMAGE_FILE, weights_only=True)
    w = {name.removeprefix("visual."): tensor for name, tensor in file.items()}
    model = components.image_encoder(wan_bundle, torch.float32)
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(5))
    x = functional.conv2d(pixels, w["patch_embedding.weight"], stride=14).flatten(2).transpose(1, 2)
    x = (torch.cat([w["cls_embedding"], x], dim=1) + w["pos_embedding"])[0]  # (257, d)
    x = norm(x, w, "pre_norm")
    for index in range(2):
        at = f"transformer.{index}"
        qkv = norm(x, w, f"{at}.norm1") @ w[f"{at}.attn.to_qkv.weight"].T + w[f"{at}.attn.to_qkv.bias"]
        q, k, v = (heads(part, 2) for part in qkv.chunk(3, dim=1))
        seen = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(80), dim=-1) @ v
        x = x + seen.transpose(0, 1).reshape(257, -1) @ w[f"{at}.attn.proj.weight"].T + w[f"{at}.attn.proj.bias"]
        inner = norm(x, w, f"{at}.norm2") @ w[f"{at}.mlp.0.weight"].T + w[f"{at}.mlp.0.bias"]
        x = x + functional.gelu(inner) @ w[f"{at}.mlp.2.weight"].T + w[f"{at}.mlp.2.bias"]
    states = model(pixels, output_hidden_states=True).hidden_states[-2][0]
    torch.testing.assert_close(states, x, rtol=1e-4, atol=1e-4)


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weight


def norm(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)


def heads(x: Tensor, count: int) -> Tensor:
    return x.reshape(len(x), count, -1).transpose(0, 1)


def test_a_whole_checkpoint_verifies(bundle: Bundle, a14b_dir: Path) -> None:
    components.present(bundle)
    verify(bundle)
    verify(open_bundle(Weights(model="x", base=str(a14b_dir))))


def test_wans_whole_checkpoint_verifies(wan_bundle: Bundle) -> None:
    components.present(wan_bundle)
    verify(wan_bundle)


def copied(source: Path, to: Path) -> Path:
    shutil.copytree(source, to)
    return to


def test_an_embedding_of_zeros_is_refused_at_load_and_by_verify(tmp_path: Path, flf2v_dir: Path) -> None:
    folder = copied(flf2v_dir, tmp_path / "zeroed")
    layouts.rewritten(
        folder / "text_encoder/model.safetensors",
        lambda t: {**t, "shared.weight": torch.zeros_like(t["shared.weight"])},
    )
    opened = open_bundle(Weights(model="x", base=str(folder)))
    with pytest.raises(CheckpointError, match="token embedding is all zeros"):
        components.text_encoder(opened, torch.bfloat16)
    with pytest.raises(CheckpointError, match="token embedding is all zeros"):
        verify(opened)


@pytest.mark.parametrize("both", [True, False])
def test_the_embedding_may_be_saved_under_its_other_name_or_both(
    tmp_path: Path, flf2v_dir: Path, bundle: Bundle, both: bool
) -> None:
    folder = copied(flf2v_dir, tmp_path / "other")

    def respelled(tensors: layouts.Tensors) -> layouts.Tensors:
        kept = tensors if both else {name: v for name, v in tensors.items() if name != "shared.weight"}
        return {**kept, "encoder.embed_tokens.weight": tensors["shared.weight"]}

    layouts.rewritten(folder / "text_encoder/model.safetensors", respelled)
    opened = open_bundle(Weights(model="x", base=str(folder)))
    assert same(components.text_encoder(opened, torch.float32), components.text_encoder(bundle, torch.float32))


def test_a_text_encoder_without_its_embedding_is_refused(tmp_path: Path, flf2v_dir: Path) -> None:
    folder = copied(flf2v_dir, tmp_path / "less")
    layouts.rewritten(
        folder / "text_encoder/model.safetensors",
        lambda t: {name: v for name, v in t.items() if name != "shared.weight"},
    )
    with pytest.raises(CheckpointError, match=r"text_encoder: .*(missing|zeros)"):
        components.text_encoder(open_bundle(Weights(model="x", base=str(folder))), torch.float32)


@pytest.mark.parametrize(
    ("component", "file"),
    [
        ("text_encoder", "text_encoder/model.safetensors"),
        ("image_encoder", "image_encoder/model.safetensors"),
        ("vae", "vae/diffusion_pytorch_model.safetensors"),
    ],
)
def test_components_that_lack_a_tensor_or_are_cut_short_are_refused(
    tmp_path: Path, flf2v_dir: Path, component: str, file: str
) -> None:
    load = getattr(components, component)
    folder = copied(flf2v_dir, tmp_path / "less")
    opened = open_bundle(Weights(model="x", base=str(folder)))

    def drop(tensors: layouts.Tensors) -> layouts.Tensors:
        name = min(n for n in tensors if "norm" in n)
        return {n: t for n, t in tensors.items() if n != name}

    layouts.rewritten(folder / file, drop)
    with pytest.raises(CheckpointError, match="1 tensors are missing"):
        load(opened, torch.float32)
    (folder / file).write_bytes((folder / file).read_bytes()[:-100])
    for look in (lambda: load(opened, torch.float32), lambda: components.present(opened)):
        with pytest.raises(CheckpointError, match="is cut short: 100 of"):
            look()
    shutil.rmtree((folder / file).parent)
    for look in (lambda: load(opened, torch.float32), lambda: components.present(opened)):
        with pytest.raises(CheckpointError, match="is not there"):
            look()


@pytest.mark.parametrize(
    ("component", "file"),
    [
        ("text_encoder", components.TEXT_FILE),
        ("image_encoder", components.IMAGE_FILE),
        ("vae", components.VAE_FILE),
    ],
)
def test_wans_files_of_something_else_or_cut_short_are_refused(
    tmp_path: Path, wan_dir: Path, component: str, file: str
) -> None:
    load = getattr(components, component)
    opened = open_bundle(Weights(model="x", base=str(copied(wan_dir, tmp_path / "wan"))))
    path = opened.base / file
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=file):
        load(opened, torch.float32)
    torch.save({"blocks.0.unheard_of.weight": torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match="is not what its name says"):
        load(opened, torch.float32)
    tensors = torch.load(wan_dir / file, weights_only=True)
    lost = min(name for name in tensors if "norm1" in name or "residual.0" in name)
    torch.save({name: tensor for name, tensor in tensors.items() if name != lost}, path)
    with pytest.raises(CheckpointError, match="1 tensors are missing"):
        load(opened, torch.float32)
    path.unlink()
    for look in (lambda: load(opened, torch.float32), lambda: components.present(opened)):
        with pytest.raises(CheckpointError, match="is not there"):
            look()


@pytest.mark.parametrize(
    ("component", "file", "name"),
    [
        ("text_encoder", "text_encoder/model.safetensors", "encoder.block.1.layer.1.DenseReluDense.wi_0.weight"),
        ("image_encoder", "image_encoder/model.safetensors", "encoder.layers.0.self_attn.q_proj.weight"),
        ("vae", "vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.weight"),
    ],
)
@pytest.mark.parametrize(("value", "said"), [(math.nan, "NaN"), (math.inf, "infinity"), (0.0, "is all zeros")])
def test_values_that_cannot_be_are_refused_at_load(
    tmp_path: Path, flf2v_dir: Path, component: str, file: str, name: str, value: float, said: str
) -> None:
    folder = copied(flf2v_dir, tmp_path / "bad")
    layouts.rewritten(
        folder / file, lambda t: {n: torch.full_like(v, value) if n.endswith(name) else v for n, v in t.items()}
    )
    with pytest.raises(CheckpointError, match=f"{component}: .*{name} .*{said}"):
        getattr(components, component)(open_bundle(Weights(model="x", base=str(folder))), torch.bfloat16)


@pytest.mark.parametrize(
    ("component", "file", "name"),
    [
        ("text_encoder", components.TEXT_FILE, "blocks.0.ffn.fc1.weight"),
        ("image_encoder", components.IMAGE_FILE, "visual.transformer.0.mlp.0.weight"),
        ("vae", components.VAE_FILE, "conv2.weight"),
    ],
)
def test_values_of_wans_files_that_cannot_be_are_refused_at_load(
    tmp_path: Path, wan_dir: Path, component: str, file: str, name: str
) -> None:
    opened = open_bundle(Weights(model="x", base=str(copied(wan_dir, tmp_path / "wan"))))
    tensors = torch.load(wan_dir / file, weights_only=True)
    torch.save({**tensors, name: torch.full_like(tensors[name], math.nan)}, opened.base / file)
    with pytest.raises(CheckpointError, match=f"{file}: .* has NaN"):
        getattr(components, component)(opened, torch.float32)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


TOKENIZERS = {
    "missing": (Path.unlink, "has neither tokenizer.json nor spiece.model"),
    "empty": (lambda path: path.write_bytes(b""), "tokenizer.json: is empty"),
    "cut short": (cut, "tokenizer.json: is no tokenizer"),
    "of another kind": (lambda path: path.write_text("[]"), "tokenizer.json: is no tokenizer"),
}


@pytest.mark.parametrize("layout", ["diffusers", "wan"])
@pytest.mark.parametrize("fault", TOKENIZERS)
def test_half_a_tokenizer_is_refused_at_start_and_at_load(
    tmp_path: Path, flf2v_dir: Path, wan_dir: Path, layout: str, fault: str
) -> None:
    """Transformers would invent a vocabulary of four words, and no film would heed its prompt."""
    spoil, said = TOKENIZERS[fault]
    folder = copied(flf2v_dir if layout == "diffusers" else wan_dir, tmp_path / "half")
    spoil(folder / ("tokenizer" if layout == "diffusers" else components.TOKENIZER_FOLDER) / "tokenizer.json")
    opened = open_bundle(Weights(model="x", base=str(folder)))
    for look in (components.present, components.tokenizer, verify):
        with pytest.raises(CheckpointError, match=said):
            look(opened)


def test_a_tokenizer_that_knows_no_words_is_refused(tmp_path: Path, flf2v_dir: Path) -> None:
    folder = copied(flf2v_dir, tmp_path / "dumb")
    path = folder / "tokenizer/tokenizer.json"
    read = json.loads(path.read_text())
    read["model"]["vocab"] = read["model"]["vocab"][:3]
    path.write_text(json.dumps(read))
    with pytest.raises(CheckpointError, match="tokenizer: knows no difference between cat and bridge"):
        components.tokenizer(open_bundle(Weights(model="x", base=str(folder))))


def test_a_tokenizer_with_more_words_than_wans_text_encoder_is_refused_at_load(tmp_path: Path, wan_dir: Path) -> None:
    folder = copied(wan_dir, tmp_path / "wan")
    tensors = torch.load(wan_dir / components.TEXT_FILE, weights_only=True)
    fewer = tensors["token_embedding.weight"][:32].clone()
    torch.save({**tensors, "token_embedding.weight": fewer}, folder / components.TEXT_FILE)
    with pytest.raises(CheckpointError, match=r"tokenizer.json: has \d+ tokens, and the text encoder 32"):
        components.text_encoder(open_bundle(Weights(model="x", base=str(folder))), torch.float32)


@pytest.mark.parametrize(
    ("component", "field", "value", "said"),
    [
        ("text_encoder", "d_model", 48, "d_model is 48, and this transformer needs 32"),
        ("text_encoder", "vocab_size", 32, r"tokenizer.json: has \d+ tokens, and the text encoder 32"),
        ("text_encoder", "vocab_size", "many", "vocab_size is 'many', not a count"),
        ("image_encoder", "hidden_size", 1024, "hidden_size is 1024, and this transformer needs 16"),
        ("vae", "z_dim", 48, "z_dim is 48, and this transformer needs 16"),
    ],
)
def test_components_of_another_model_are_refused_at_start_and_at_load(
    tmp_path: Path, flf2v_dir: Path, component: str, field: str, value: object, said: str
) -> None:
    folder = copied(flf2v_dir, tmp_path / "other")
    config = folder / component / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), field: value}))
    opened = open_bundle(Weights(model="x", base=str(folder)))
    for look in (components.present, verify):
        with pytest.raises(CheckpointError, match=said):
            look(opened)


def test_a_text_encoder_of_another_width_in_wans_file_is_refused_at_load(wan_bundle: Bundle) -> None:
    wider = replace(wan_bundle, shape=replace(wan_bundle.shape, text_dim=64))
    with pytest.raises(CheckpointError, match="d_model is 32, and this transformer needs 64"):
        components.text_encoder(wider, torch.float32)


def test_one_bad_component_does_not_hide_another(tmp_path: Path, flf2v_dir: Path) -> None:
    folder = copied(flf2v_dir, tmp_path / "bad")
    shutil.rmtree(folder / "tokenizer")
    layouts.rewritten(
        folder / "vae/diffusion_pytorch_model.safetensors",
        lambda t: {**t, "quant_conv.bias": torch.full_like(t["quant_conv.bias"], math.nan)},
    )
    with pytest.raises(CheckpointError) as caught:
        verify(open_bundle(Weights(model="x", base=str(folder))))
    assert "tokenizer: is not there" in str(caught.value)
    assert "quant_conv.bias has NaN" in str(caught.value)


def test_a_bundle_elsewhere_is_told_by_its_own_path(bundle: Bundle, tmp_path: Path) -> None:
    moved = replace(bundle, base=tmp_path / "gone")
    with pytest.raises(CheckpointError, match="gone/text_encoder"):
        components.text_encoder(moved, torch.float32)


def test_the_command_line_checks_every_value(
    flf2v_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch(["models", "check", str(flf2v_dir), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "ok": True,
        "values": True,
        "checks": [{"weights": str(flf2v_dir), "ok": True}],
    }
    folder = copied(flf2v_dir, tmp_path / "bad")
    layouts.rewritten(
        folder / "transformer" / layouts.WEIGHTS,
        lambda t: {**t, "proj_out.weight": torch.full_like(t["proj_out.weight"], math.nan)},
    )
    assert dispatch(["models", "check", str(folder), "--quick"]) == 0
    assert dispatch(["models", "check", str(folder)]) == 1
    assert "proj_out.weight has NaN" in capsys.readouterr().out

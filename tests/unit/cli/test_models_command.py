"""What weights there are, what is here of them, and whether they are whole: all without torch and without the hub."""

from __future__ import annotations

import json
import shutil
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kf2v.assembly.engines import wan_weights
from kf2v.catalog.models import MODELS
from kf2v.engines.wan.family import IMAGE_TOKENS, DitShape
from kf2v.engines.wan.profiles import GB, PLACEMENTS, needed
from kf2v.engines.wan.readiness import unlike_their_names
from kf2v.engines.wan.weights import CATALOGUE, ROWS, Lora, Row, Weights, downloads_of, hub_cache, row_of
from kf2v.settings import Settings

Kf2v = Callable[..., Any]

FLASH, PLUS, ALIAS = "wan2.2-kf2v-flash", "wan2.1-kf2v-plus", "wanx2.1-kf2v-plus"
BASE = "Wan-AI/Wan2.2-I2V-A14B-Diffusers"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

A14B = DitShape(layers=1, heads=2, head_dim=12, ffn=16, text_dim=8)
FLF2V = DitShape(layers=1, heads=2, head_dim=12, ffn=16, text_dim=8, image_dim=4, image_tokens=IMAGE_TOKENS)


@pytest.fixture(autouse=True)
def bare(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without neural networks, whose hub cache is empty."""
    for package in ("torch", "safetensors", "transformers", "diffusers", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, package, None)
    for name in ("HF_HOME", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "hub"))
    return home


def write_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]], value: float = 0.5) -> None:
    """A safetensors file in float32."""
    header: dict[str, object] = {}
    end = 0
    for name, shape in shapes.items():
        begin, size = end, 4
        for side in shape:
            size *= side
        end = begin + size
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + struct.pack("<f", value) * (end // 4))


def write_base(folder: Path, shape: DitShape, *, transformers: bool = True) -> Path:
    """A directory as diffusers writes it, as far as it can be seen without torch."""
    for index, name in enumerate(("transformer", *(() if shape.image_dim else ("transformer_2",)))):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(shape.as_config()))
        if transformers:
            write_tensors(folder / name / "diffusion_pytorch_model.safetensors", shape.tensors(), 0.5 + index)
    for name, file, config in (
        ("text_encoder", "model", {"d_model": shape.text_dim, "vocab_size": 2}),
        ("vae", "diffusion_pytorch_model", {"z_dim": 16}),
        *((("image_encoder", "model", {"hidden_size": shape.image_dim}),) if shape.image_dim else ()),
    ):
        write_tensors(folder / name / f"{file}.safetensors", {"weight": (2, 2)})
        (folder / name / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer/tokenizer.json").write_text('{"model": {"vocab": {"a": 0, "b": 1}}}')
    return folder


def cached(home: Path, repository: str) -> Path:
    """Where huggingface_hub would have put ``repository``."""
    place = home / "hub" / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True, exist_ok=True)
    (place / "refs/main").write_text(COMMIT)
    folder = place / "snapshots" / COMMIT
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fetched(home: Path, row: Row, shape: DitShape) -> None:
    """Everything of ``row``, as if it had been pulled."""
    write_base(cached(home, row.weights.base), shape, transformers=not row.weights.experts)
    for index, expert in enumerate(row.weights.experts):
        repository, _, file = expert.partition(":")
        write_tensors(cached(home, repository) / file, shape.tensors(), 1.0 + index)


def test_every_model_of_the_api_has_weights_and_no_other() -> None:
    assert {row.weights.model for row in ROWS} == set(MODELS)
    assert len(CATALOGUE) == len(ROWS)
    assert row_of(FLASH).name == f"{FLASH}:distilled"
    assert row_of("wan2.1-kf2v-plus").name == "wan2.1-kf2v-plus:full"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_a_row_runs_on_is_what_it_downloads(row: Row) -> None:
    patterns = {(each.repository, pattern) for each in row.downloads for pattern in each.patterns}
    for reference in (*row.weights.experts, *(lora.file for lora in row.weights.loras)):
        repository, _, file = reference.partition(":")
        assert (repository, file) in patterns
    assert ((row.weights.base, "transformer/*") in patterns) is not bool(row.weights.experts)
    assert len(row.weights.experts) in (0, row.family.experts)
    assert row.gigabytes > 40
    assert row.vram


def test_the_list_tells_size_licence_memory_and_who_trained_it(kf2v: Kf2v) -> None:
    ran = kf2v("models", "list")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].split("  ")[0] == "model:variant"
    flash = next(line for line in lines if line.startswith(f"{FLASH}:distilled "))
    assert flash.split()[1] == "126"
    assert "Apache-2.0" in flash
    assert "bf16 76, fp8 48, low-vram 10 " in flash
    assert "community practice" in flash
    assert "LightX2V" in flash
    plus = next(line for line in lines if line.startswith("wan2.1-kf2v-plus:full"))
    assert "community" not in plus


def test_the_list_says_what_is_here(kf2v: Kf2v, home: Path) -> None:
    def here() -> dict[str, str]:
        return {each["name"]: each["here"] for each in json.loads(kf2v("models", "list", "--json").out)["weights"]}

    assert set(here().values()) == {"no"}
    fetched(home, row_of(FLASH), A14B)
    assert here()[f"{FLASH}:distilled"] == "yes"
    assert here()[f"{FLASH}:distilled-fp8"] == "in part"
    assert here()["wan2.1-kf2v-plus:full"] == "no"
    high = row_of(FLASH).weights.experts[0]
    (cached(home, high.partition(":")[0]) / high.partition(":")[2]).unlink()
    assert here()[f"{FLASH}:distilled"] == "in part"


def test_fetching_needs_a_package_and_says_which(kf2v: Kf2v) -> None:
    ran = kf2v("models", "pull", FLASH)
    assert (ran.code, ran.out) == (1, "")
    assert "huggingface_hub is not installed" in ran.err
    assert "fix: pip install 'kf2v[wan]'" in ran.err


def test_memory_in_the_list_is_what_the_engine_plans_with(kf2v: Kf2v) -> None:
    told = {each["name"]: each["gpu_gigabytes"] for each in json.loads(kf2v("models", "list", "--json").out)["weights"]}
    for row in ROWS:
        for name, placement in {"bf16": "bf16", "fp8": "fp8", "low-vram": "fp8, blocks offloaded"}.items():
            each = next(each for each in PLACEMENTS if each.name == placement)
            if name in told[row.name]:
                assert told[row.name][name] == round(needed(row.family, each) / GB, 1)
    assert set(told[f"{FLASH}:distilled-fp8"]) == {"fp8", "low-vram"}
    assert told[f"{FLASH}:distilled"]["low-vram"] < 12


def names(**references: Any) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.repository, each.patterns) for each in downloads_of(Weights(model=FLASH, **references))]


def test_what_settings_name_on_the_hub_is_what_a_pull_of_the_model_fetches(home: Path) -> None:
    ((repository, patterns),) = names(base="someone/finetune")
    assert repository == "someone/finetune"
    assert {"vae/*", "transformer/*", "*.pth", "high_noise_model/*"} <= set(patterns)
    found = names(
        base=BASE,
        experts=("someone/pair:high.safetensors", "someone/pair:low.safetensors"),
        loras=(Lora(file="other/lora"), Lora(file=str(home))),
    )
    assert [repository for repository, _ in found] == [BASE, "someone/pair", "other/lora"]
    assert "text_encoder/*" in found[0][1]
    assert "transformer/*" not in found[0][1]
    assert {"high.safetensors", "low.safetensors"} <= set(found[1][1])
    assert found[2][1] == ("*",)
    assert names(base=str(home)) == []


def test_a_pull_takes_what_the_settings_say_and_names_on_the_hub(
    kf2v: Kf2v, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KF2V_WAN_WEIGHTS", json.dumps({FLASH: "someone/finetune", PLUS: str(home)}))
    for name in (FLASH, "someone/finetune", "someone/finetune:file.safetensors"):
        assert "huggingface_hub is not installed" in kf2v("models", "pull", name).err
    ran = kf2v("models", "pull", PLUS)
    assert (ran.code, ran.out) == (0, "")
    assert f"nothing to fetch: {PLUS} is on this machine" in ran.err
    assert json.loads(kf2v("models", "pull", PLUS, "--json").out) == {"model": PLUS, "repositories": []}
    assert f"fetch it: kf2v models pull {FLASH}" in kf2v("models", "check", FLASH).out
    ran = kf2v("models", "pull", "not/a/name")
    assert (ran.code, ran.err.splitlines()[0]) == (2, "Usage: not/a/name is neither there nor a name on the hub")


def test_a_check_of_a_model_checks_what_the_settings_say(
    kf2v: Kf2v, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_base(home / "mine", A14B)
    monkeypatch.setenv("KF2V_WAN_WEIGHTS", json.dumps({FLASH: str(base)}))
    assert kf2v("models", "check", FLASH).out == f"ok    {FLASH}\n"
    assert kf2v("models", "check", f"{FLASH}:distilled").code == 1


def test_no_command_fetches_what_is_a_directory_of_the_owners(kf2v: Kf2v, home: Path) -> None:
    (write_base(home / "mine", A14B) / "transformer/diffusion_pytorch_model.safetensors").unlink()
    ran = kf2v("models", "check", home / "mine")
    assert ran.code == 1
    assert "models pull" not in ran.out
    assert "copy it from where it came" in ran.out


def test_an_empty_name_is_no_directory(kf2v: Kf2v) -> None:
    ran = kf2v("models", "check", "")
    assert (ran.code, ran.out) == (2, "")
    assert "a name is empty" in ran.err


def test_weights_of_one_name_count_for_the_other_names_of_the_model() -> None:
    chosen = wan_weights(Settings(wan_weights={PLUS: "someone/plus"}))
    assert chosen[ALIAS] == Weights(model=ALIAS, base="someone/plus")
    assert chosen[FLASH] == row_of(FLASH).weights
    assert wan_weights(Settings(wan_weights={ALIAS: "lora"}))[PLUS] == CATALOGUE[f"{PLUS}:lora"].weights
    both = wan_weights(Settings(wan_weights={PLUS: "someone/plus", ALIAS: "lora"}))
    assert (both[PLUS].base, both[ALIAS]) == ("someone/plus", CATALOGUE[f"{ALIAS}:lora"].weights)


def test_weights_of_another_family_than_the_model_is_named_for_are_noticed(home: Path) -> None:
    weights = {
        FLASH: Weights(model=FLASH, base=str(write_base(home / "plus", FLF2V))),
        PLUS: Weights(model=PLUS, base=str(home / "plus")),
        ALIAS: Weights(model=ALIAS, base=str(home / "nowhere")),
    }
    told = unlike_their_names(weights)
    assert told == {FLASH: f"{FLASH} runs on weights of wan2.1-flf2v, not of wan2.2-a14b"}


def test_a_model_nobody_knows_is_wrong_usage(kf2v: Kf2v) -> None:
    ran = kf2v("models", "pull", "wan9-kf2v")
    assert ran.code == 2
    assert "wan9-kf2v is none of wan2.2-kf2v-flash:distilled" in ran.err


def test_check_says_what_was_checked_and_what_values_need(kf2v: Kf2v, home: Path) -> None:
    ran = kf2v("models", "check", write_base(home / "mine", A14B))
    assert (ran.code, ran.out) == (0, f"ok    {home / 'mine'}\n")
    assert ran.err == (
        "files, sizes, names and shapes were checked; values were not, "
        "for that, install torch and the rest: pip install 'kf2v[wan]'\n"
    )
    assert "values were not, as asked" in kf2v("models", "check", home / "mine", "--quick").err


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("transformer_2/config.json", "is wan2.2-a14b, which has 2 transformers; 1 found"),
        ("transformer/diffusion_pytorch_model.safetensors", "has no diffusion_pytorch_model.safetensors"),
        ("text_encoder/model.safetensors", "has no model.safetensors, only config.json"),
        ("vae/config.json", "is not there or no config"),
        ("tokenizer/tokenizer.json", "tokenizer: is empty"),
    ],
)
def test_what_is_missing_is_named_in_one_line(kf2v: Kf2v, home: Path, spoil: str, said: str) -> None:
    (write_base(home / "mine", A14B) / spoil).unlink()
    ran = kf2v("models", "check", home / "mine")
    assert ran.code == 1
    first, second = ran.out.splitlines()
    assert first == f"fail  {home / 'mine'}"
    assert said in second


def test_a_link_to_nothing_is_called_that(kf2v: Kf2v, home: Path) -> None:
    path = write_base(home / "mine", A14B) / "text_encoder/model.safetensors"
    path.unlink()
    path.symlink_to(home / "nowhere")
    ran = kf2v("models", "check", home / "mine")
    assert "has no model.safetensors, only config.json, model.safetensors (a link to nothing)" in ran.out


def test_a_file_cut_short_fails_the_check(kf2v: Kf2v, home: Path) -> None:
    path = write_base(home / "mine", FLF2V) / "image_encoder/model.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    told = json.loads(kf2v("models", "check", home / "mine", "--json").out)
    assert (told["ok"], told["values"]) == (False, False)
    assert "is cut short: 3 of 16 bytes" in told["checks"][0]["fault"]


def test_other_experts_and_loras_of_a_directory_can_be_checked(kf2v: Kf2v, home: Path) -> None:
    base = write_base(home / "mine", A14B, transformers=False)
    for index, name in enumerate(("high", "low")):
        write_tensors(home / f"{name}.safetensors", A14B.tensors(), 3.0 + index)
    write_tensors(home / "lora.safetensors", {"blocks.0.diff_m": (1, 6, 24)})
    words = ["models", "check", base, "--expert", home / "high.safetensors", "--expert", home / "low.safetensors"]
    assert kf2v(*words, "--lora", home / "lora.safetensors").code == 0
    assert kf2v(*words, "--lora", home / "high.safetensors").code == 1
    twice = kf2v(*words[:-1], home / "high.safetensors")
    assert "are high- and high-noise by name" in twice.out
    ran = kf2v("models", "check", "--expert", home / "high.safetensors")
    assert (ran.code, ran.err.splitlines()[0]) == (2, "Usage: --expert and --lora go with one DIRECTORY")


def test_without_a_name_what_the_settings_use_is_checked(
    kf2v: Kf2v, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = kf2v("models", "check")
    assert ran.code == 1
    assert f"fetch it: kf2v models pull {FLASH}:distilled" in ran.out
    assert "fetch it: kf2v models pull wan2.1-kf2v-plus:full" in ran.out
    base = write_base(home / "flf2v", FLF2V)
    told = {"wan2.1-kf2v-plus": str(base), "wanx2.1-kf2v-plus": str(base)}
    monkeypatch.setenv("KF2V_WAN_WEIGHTS", json.dumps(told))
    fetched(home, row_of(FLASH), A14B)
    ran = kf2v("models", "check")
    assert (ran.code, sorted(ran.out.splitlines())) == (0, [f"ok    {model}" for model in sorted(MODELS)])


def test_a_model_by_name_is_checked_in_the_cache(kf2v: Kf2v, home: Path) -> None:
    row = row_of("wan2.1-kf2v-plus")
    fetched(home, row, FLF2V)
    assert kf2v("models", "check", "wan2.1-kf2v-plus").out == "ok    wan2.1-kf2v-plus:full\n"
    shutil.rmtree(cached(home, row.weights.base) / "vae")
    ran = kf2v("models", "check", "wan2.1-kf2v-plus:full")
    assert ran.code == 1
    assert "fetch it again: kf2v models pull wan2.1-kf2v-plus:full" in ran.out


def test_the_cache_is_where_huggingface_hub_has_it() -> None:
    home = Path("~").expanduser()
    assert hub_cache({}) == home / ".cache/huggingface/hub"
    assert hub_cache({"XDG_CACHE_HOME": "/x"}) == Path("/x/huggingface/hub")
    assert hub_cache({"XDG_CACHE_HOME": "/x", "HF_HOME": "/h"}) == Path("/h/hub")
    assert hub_cache({"HF_HOME": "/h", "HF_HUB_CACHE": "/c"}) == Path("/c")

"""Prompts to embeddings, against the stock pipeline's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.wan.pipeline_wan_i2v import prompt_clean
from safetensors.torch import load_file, save_file
from torch import nn

from kf2v.engines.wan.checkpoint import Bundle, CheckpointError, open_bundle
from kf2v.engines.wan.family import FAMILIES, FLF2V
from kf2v.engines.wan.text import REMEMBERED, TextEncoder, cleaned
from kf2v.engines.wan.weights import Weights
from kf2v.errors import Canceled
from wan import tiny

CPU = torch.device("cpu")

PROMPTS = [
    "a cat walks",
    "",
    "  a   cat\n\twalks &amp;amp; sleeps &lt;b&gt; ",
    "schÃ¶n",
    "“a cat” — 一只猫走过桥，镜头左移。",
    FLF2V.default_negative,
    "a cat walks over a bridge at night, " * 200,
]


@pytest.fixture(scope="module")
def bundle(flf2v_dir: Path) -> Bundle:
    return open_bundle(Weights(model="tiny", base=str(flf2v_dir)))


@pytest.fixture(scope="module")
def pipeline(flf2v_dir: Path) -> Any:
    return tiny.load(flf2v_dir)


@pytest.fixture(scope="module")
def encoder(bundle: Bundle) -> TextEncoder:
    return TextEncoder.load(bundle, device=CPU, dtype=torch.float32)


@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_embeddings_are_the_stock_pipelines(prompt: str, encoder: TextEncoder, pipeline: Any) -> None:
    with torch.inference_mode():
        expected, _ = pipeline.encode_prompt(prompt, do_classifier_free_guidance=False, max_sequence_length=512)
    made = encoder.encode(prompt)
    assert made.shape == (1, 512, 32)
    assert torch.equal(made, expected)


@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_prompts_are_cleaned_as_the_stock_pipeline_does(prompt: str) -> None:
    assert cleaned(prompt) == prompt_clean(prompt)


def test_what_cleaning_does() -> None:
    assert cleaned("schÃ¶n &amp;lt;3 \n\n  weit") == "schön <3 weit"


def test_beyond_the_prompts_end_there_is_nothing(encoder: TextEncoder) -> None:
    states = encoder.encode("a cat walks")[0]
    length = int(states.any(dim=1).sum())
    assert 2 <= length < 20
    assert not states[length:].any()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_default_negative_prompt_is_encoded_once(family: str, bundle: Bundle) -> None:
    encoder, negative = TextEncoder.load(bundle, device=CPU, dtype=torch.float32), FAMILIES[family].default_negative
    once = encoder.encode(negative)
    for job in range(3 * REMEMBERED):
        encoder.encode(f"a cat walks {job} times")
        assert encoder.encode(negative) is once


def test_each_layer_is_heard_of_and_may_be_the_last(bundle: Bundle) -> None:
    encoder, heard = TextEncoder.load(bundle, device=CPU, dtype=torch.float32), list[float]()

    def enough(done: float) -> None:
        heard.append(done)
        if len(heard) == 1:
            raise Canceled

    with pytest.raises(Canceled):
        encoder.encode("a long way", enough)
    layers = len(encoder._model.encoder.block)
    assert heard == [1 / layers]
    heard.append(0.0)
    whole = encoder.encode("a long way", heard.append)
    assert heard[2:] == [(index + 1) / layers for index in range(layers)]
    assert torch.equal(whole, TextEncoder.load(bundle, device=CPU, dtype=torch.float32).encode("a long way"))


def test_only_a_few_prompts_are_remembered(encoder: TextEncoder) -> None:
    once = encoder.encode("one cat")
    for job in range(REMEMBERED):
        encoder.encode(f"cat number {job}")
    again = encoder.encode("one cat")
    assert again is not once
    assert torch.equal(again, once)


def test_embeddings_that_were_lost_are_noticed() -> None:
    model = tiny.text_encoder()
    nn.init.zeros_(model.shared.weight)
    with pytest.raises(CheckpointError, match="zero"):
        TextEncoder(tiny.tokenizer(), model, device=CPU)


def test_embeddings_that_are_not_the_encoders_are_noticed() -> None:
    model = tiny.text_encoder()
    model.encoder.embed_tokens = nn.Embedding(256, 32)
    with pytest.raises(CheckpointError, match="share"):
        TextEncoder(tiny.tokenizer(), model, device=CPU)


def test_embeddings_that_are_no_numbers_are_noticed() -> None:
    model = tiny.text_encoder()
    with torch.no_grad():
        model.shared.weight[7] = float("nan")
    with pytest.raises(CheckpointError, match="no numbers"):
        TextEncoder(tiny.tokenizer(), model, device=CPU)


@pytest.mark.parametrize("kept", ["shared.weight", "encoder.embed_tokens.weight"])
def test_a_file_may_name_the_embeddings_either_way(kept: str, tmp_path: Path, bundle: Bundle) -> None:
    """Published files carry one name or the other; both mean the same tensor."""
    other = replace(bundle, base=tiny.save(tmp_path, "wan2.1-flf2v", seed=5))
    expected = TextEncoder.load(other, device=CPU, dtype=torch.float32).encode("a cat")
    file = tmp_path / "text_encoder/model.safetensors"
    tensors = load_file(file)
    table = tensors.pop("shared.weight", None)
    second = tensors.pop("encoder.embed_tokens.weight", None)
    weight = table if table is not None else second
    assert weight is not None
    save_file({**tensors, kept: weight}, file, metadata={"format": "pt"})
    assert torch.equal(TextEncoder.load(other, device=CPU, dtype=torch.float32).encode("a cat"), expected)


def test_an_encoder_in_training_mode_is_put_to_work() -> None:
    encoder = TextEncoder(tiny.tokenizer(), tiny.text_encoder().train(), device=CPU)
    first = encoder.encode("a cat")
    encoder._remembered.clear()
    assert torch.equal(encoder.encode("a cat"), first)


def test_a_folder_without_an_encoder_is_told(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        TextEncoder.load(replace(bundle, base=tmp_path), device=CPU, dtype=torch.float32)

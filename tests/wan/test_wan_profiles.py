"""Which card gets what, from computed sizes."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from kf2v.engines.wan.family import A14B, FLF2V, Family
from kf2v.engines.wan.profiles import GB, PLACEMENTS, PROFILES, Options, ProfileName, choose, needed

GIB = 1024**3
PLACED = {placement.name: placement for placement in PLACEMENTS}


@pytest.mark.parametrize(
    ("family", "placement", "gigabytes"),
    [(A14B, "fp8", 48), (A14B, "bf16", 76), (FLF2V, "fp8", 37), (FLF2V, "bf16", 53)],
    ids=lambda value: value.id if isinstance(value, Family) else value,
)
def test_the_computed_need_is_the_designs_and_a_second_prompts(family: Family, placement: str, gigabytes: int) -> None:
    assert needed(family, PLACED[placement]) / GB == pytest.approx(gigabytes, abs=1)


def test_offloaded_blocks_need_a_fraction() -> None:
    for family in (A14B, FLF2V):
        assert needed(family, PLACED["fp8, blocks offloaded"]) < 0.3 * needed(family, PLACED["fp8"])


@pytest.mark.parametrize(
    ("gib", "family", "distilled", "profile", "placement"),
    [
        (79, A14B, True, "fast", "fp8"),
        (140, A14B, True, "fast", "fp8"),
        (140, A14B, False, "quality", "bf16"),
        (48, A14B, True, "fast", "fp8, umT5 on the CPU"),
        (24, A14B, True, "low-vram", "fp8, blocks offloaded"),
        (79, FLF2V, False, "quality", "bf16"),
        (48, FLF2V, False, "quality", "fp8"),
        (32, FLF2V, True, "fast", "fp8, umT5 on the CPU"),
        (24, FLF2V, False, "low-vram", "fp8, blocks offloaded"),
        (12, FLF2V, False, "low-vram", "fp8, blocks offloaded"),
    ],
    ids=str,
)
def test_a_card_gets_the_best_that_fits(
    gib: int, family: Family, distilled: bool, profile: str, placement: str
) -> None:
    plan = choose(gib * GIB, family, distilled=distilled)
    assert (plan.profile.name, plan.placement.name) == (profile, placement)
    assert "which fits" in plan.sentence
    assert needed(family, plan.placement) < gib * GIB


def test_a_card_too_small_for_anything_is_told_so() -> None:
    plan = choose(6 * GIB, FLF2V, distilled=False)
    assert plan.profile.name == "low-vram"
    assert plan.placement == min(PLACEMENTS, key=lambda placement: needed(FLF2V, placement))
    assert "may not fit" in plan.sentence


def test_the_sentence_says_what_was_chosen_and_what_it_was_chosen_for() -> None:
    sentence = choose(80 * GIB, A14B, distilled=True).sentence
    assert sentence == "fast for wan2.2-a14b: fp8, computed 48 GB at 720P of the card's 86 GB, which fits"


def test_1080p_as_it_is_needs_another_14_gigabytes_and_is_planned_for() -> None:
    for placement in PLACEMENTS:
        more = needed(A14B, placement, native_1080p=True) - needed(A14B, placement)
        assert more / GB == pytest.approx(14)
    assert choose(60 * GIB, A14B, distilled=True).placement.name == "fp8"
    plan = choose(60 * GIB, A14B, distilled=True, native_1080p=True)
    assert plan.placement.name == "fp8, umT5 on the CPU"
    assert "at 1080P" in plan.sentence


def test_each_transformer_has_blocks_of_its_own_on_the_gpu() -> None:
    offloaded = PLACED["bf16, blocks offloaded"]
    blocks = A14B.shape.parameters * 2 / A14B.shape.layers
    assert needed(A14B, offloaded) - needed(A14B, PLACED["fp8, blocks offloaded"]) == pytest.approx(
        3 * blocks, rel=0.01
    )


@pytest.mark.parametrize(
    ("wanted", "distilled", "said"),
    [
        ("quality", True, "its weights are distilled, so it takes 4 steps all the same"),
        ("fast", False, "its weights are not distilled, so it takes 40 steps all the same"),
        ("low-vram", False, "which fits"),
        ("fast", True, "which fits"),
    ],
)
def test_weights_say_how_many_steps_there_are(wanted: ProfileName, distilled: bool, said: str) -> None:
    assert choose(141 * GIB, A14B, distilled=distilled, wanted=wanted).sentence.endswith(said)


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_that_is_asked_for_is_taken_whatever_it_takes(name: str) -> None:
    assert choose(10 * GIB, A14B, distilled=True, wanted=PROFILES[name].name).profile.name == name


@pytest.mark.parametrize("gib", [8, 24, 48, 80, 141])
@pytest.mark.parametrize("wanted", ["auto", *PROFILES])
@pytest.mark.parametrize("eight_bits", [True, False])
def test_matrices_have_the_bits_that_the_card_can_multiply(gib: int, wanted: str, eight_bits: bool) -> None:
    plan = choose(gib * GIB, FLF2V, distilled=True, wanted=wanted, eight_bits=eight_bits)  # type: ignore[arg-type]
    assert plan.placement.eight_bits == eight_bits


def test_a_cpu_keeps_everything_where_it_is() -> None:
    for distilled, name in ((True, "fast"), (False, "quality")):
        plan = choose(None, A14B, distilled=distilled)
        assert (plan.profile.name, plan.placement.offload, plan.placement.eight_bits) == (name, False, False)


def test_options_have_the_defaults_that_the_reference_of_settings_documents() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/settings.md").read_text()
    told = dict(re.findall(r"^\| `KF2V_WAN_(\w+)` \| `(\w+)` \|", page, re.MULTILINE))
    assert set(told) == {field.name.upper() for field in fields(Options)} - {"SEAT", "NORM", "CLIP", "FRAMES"}
    for name, default in told.items():
        meant = getattr(Options(), name.lower())
        assert float(default) == meant if default.isdigit() else default == str(meant), name


def test_asking_about_the_engine_loads_no_torch() -> None:
    """Neither do the command line, doctor and server, which ask the same."""
    code = (
        "import sys\n"
        "import kf2v.engines.wan, kf2v.engines.wan.profiles, kf2v.engines.wan.readiness, kf2v.engines.wan.geometry\n"
        "import kf2v.engines.wan.colour, kf2v.engines.wan.preview, kf2v.engines.wan.weights\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'safetensors', 'huggingface_hub', 'ftfy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_table_of_cards_says_what_would_be_chosen() -> None:
    page = (Path(__file__).parents[2] / "docs/howto/run-wan.md").read_text()
    rows = re.findall(r"^\| ([\d][^|]*GB[^|]*) \| (`[^|]*) \| (`[^|]*) \|$", page, re.MULTILINE)
    assert len(rows) == 4
    for cards, flash, plus in rows:
        for gib in map(int, re.findall(r"\d+", cards)):
            for family, distilled, said in ((A14B, True, flash), (FLF2V, False, plus)):
                plan = choose(gib * GIB, family, distilled=distilled)
                need = round(needed(family, plan.placement) / GB)
                assert said == f"`{plan.profile.name}`: {plan.placement.name}, {need} GB", (gib, family.id)

"""The wan engine under the suite that runs on every engine, with tiny weights of both families.

One variant has Wan's own schedule and classifier-free guidance, the other distilled weights and a negative prompt.
"""

# ruff: noqa: E402, F403, I001  # asserts of the suite are only explained if it is imported after saying so

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.register_assert_rewrite("contract.test_engine")

from contract.test_engine import *
from contract.test_engine import Engine

from kf2v.engines import Scene, Watch
from kf2v.engines.wan import Options, Wan, Weights
from kf2v.video import Clip

#: as few as there can be: decoding takes most of the time. ``test_wan_engine.py`` makes longer ones
FRAMES = 5


class Warned(Wan):
    """Told in every scene what to avoid."""

    def generate(self, scene: Scene, watch: Watch) -> Clip:
        return super().generate(replace(scene, negative_prompt="blurred, 模糊"), watch)


@pytest.fixture(scope="module", params=["quality with guidance", "distilled with NAG"])
def make(request: pytest.FixtureRequest, flf2v_dir: Path, a14b_dir: Path) -> Callable[[], Engine]:
    options = Options(device="cpu", frames=FRAMES)
    if request.param == "quality with guidance":
        weights = Weights(model="wan2.1-kf2v-plus", base=str(flf2v_dir))
        return lambda: Wan({weights.model: weights}, options)
    weights = Weights(model="wan2.2-kf2v-flash", base=str(a14b_dir), distilled=True)
    return lambda: Warned({weights.model: weights}, options)


def test_an_engine_has_the_name_it_is_chosen_by(make: Callable[[], Engine]) -> None:
    assert make().name == "wan"

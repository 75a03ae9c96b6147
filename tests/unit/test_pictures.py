"""The page about morph: its pictures have a maker and terms, and what they are made of can be used."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "examples"))

import drawn  # noqa: E402
import pictures  # noqa: E402

NAMES = sorted(pictures.PICTURES)


def test_every_picture_on_the_page_is_made_by_the_script_and_the_other_way_round() -> None:
    text = (ROOT / "docs" / "explanation" / "morph.md").read_text()
    assert sorted(re.findall(r"images/morph/(\w+)\.jpg", text)) == NAMES


@pytest.mark.parametrize("name", [*NAMES, *(path.stem for path in (pictures.OUT / "pairs").iterdir())])
def test_every_picture_has_its_terms(name: str) -> None:
    terms = (pictures.OUT / "README.md").read_text()
    assert re.search(rf"`(pairs/)?{name}\.jpg`|`-{name.rpartition('-')[2]}`", terms)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_with_pictures_stays_light(name: str) -> None:
    assert (pictures.OUT / f"{name}.jpg").stat().st_size < 120_000


@pytest.mark.parametrize("draw", [drawn.stalks, drawn.walker, drawn.facade, drawn.writing], ids=lambda f: f.__name__)
def test_what_is_drawn_is_two_pictures_of_one_size_and_the_same_each_time(draw: Callable[[], drawn.Pair]) -> None:
    first, last = draw()
    assert first.shape == last.shape == (drawn.HEIGHT, drawn.WIDTH, 3)
    assert not np.array_equal(first, last)
    assert all(np.array_equal(mine, again) for mine, again in zip((first, last), draw(), strict=True))

"""``kf2v inspect``: the sheet is there, the numbers are right, and what cannot be looked at is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kf2v.video import Frame, Size, mp4
from scenery import clip_of, landscape

Kf2v = Callable[..., Any]

SIZE = Size(width=480, height=368)
WIDE = landscape(Size(width=600, height=368))


def moment(index: int) -> Frame:
    return np.ascontiguousarray(WIDE[:, 2 * index : 2 * index + SIZE.width])


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filmed") / "film.mp4"
    mp4.write(path, clip_of((moment(index) for index in range(60)), size=SIZE, count=60))
    return path


@pytest.fixture
def film(filmed: Path, home: Path) -> Path:
    """A film in the user's own directory."""
    (home / "film.mp4").write_bytes(filmed.read_bytes())
    return home / "film.mp4"


def test_the_path_of_the_sheet_is_the_result(kf2v: Kf2v, film: Path) -> None:
    ran = kf2v("inspect", film, "-o", "out.png", "--width", 100, "--columns", 6)
    assert (ran.code, ran.out, ran.err) == (0, "out.png\n", "")
    with Image.open("out.png") as drawn:
        assert (drawn.format, drawn.width) == ("PNG", 6 * 108 + 8)


def test_without_a_name_the_sheet_is_named_after_the_video(kf2v: Kf2v, film: Path) -> None:
    assert kf2v("inspect", film).out == "film.sheet.png\n"
    assert Path("film.sheet.png").is_file()


def test_the_suffix_chooses_the_kind_of_file(kf2v: Kf2v, film: Path) -> None:
    assert kf2v("inspect", film, "-o", "out.JPG").code == 0
    with Image.open("out.JPG") as drawn:
        assert drawn.format == "JPEG"


def test_json_tells_facts_and_numbers_and_draws_nothing_unasked(kf2v: Kf2v, film: Path) -> None:
    before = set(Path.cwd().iterdir())
    told = json.loads(kf2v("inspect", film, "--json").out)
    assert set(Path.cwd().iterdir()) == before
    assert (told["facts"]["width"], told["facts"]["frames"], told["decoded"]) == (480, 60, 60)
    assert told["bytes"] == film.stat().st_size
    assert (len(told["change"]), len(told["flicker"])) == (59, 58)
    assert "first" not in told


def test_both_ends_are_measured_where_pictures_are_given(kf2v: Kf2v, film: Path) -> None:
    Image.fromarray(moment(0)).save("first.png")
    Image.fromarray(moment(0)).save("wrong.png")
    words = ("inspect", film, "-o", "out.png", "--first", "first.png", "--last", "wrong.png")
    told = json.loads(kf2v(*words, "--json").out)
    assert told["sheet"] == "out.png"
    assert told["first"]["psnr_luma"] > 40 > told["last"]["psnr_luma"]
    ran = kf2v(*words)
    assert f"first frame: luma PSNR {told['first']['psnr_luma']:.2f} dB" in ran.err


def test_a_damaged_film_is_shown_and_told(kf2v: Kf2v, film: Path) -> None:
    film.write_bytes(film.read_bytes()[: film.stat().st_size * 9 // 10])
    ran = kf2v("inspect", film, "-o", "out.png")
    assert (ran.code, ran.out) == (0, "out.png\n")
    assert "film.mp4 is damaged: " in ran.err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("nowhere.mp4",), "No such file"),
        ((".",), "Is a directory"),
        (("words.mp4",), "it is no video"),
        (("film.mp4", "-o", "out.gif"), "should end in .png"),
        (("film.mp4", "-o", "nowhere/out.png"), "there is no directory"),
        (("film.mp4", "--frames", "1"), "greater than or equal to 2"),
        (("film.mp4", "--frames", "150", "--width", "4096"), "fewer or smaller"),
        (("film.mp4", "--first", "nowhere.png"), "nowhere.png"),
        (("film.mp4", "--first", "words.mp4"), "JPEG, PNG, BMP and WEBP"),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(kf2v: Kf2v, film: Path, words: tuple[str, ...], reason: str) -> None:
    Path("words.mp4").write_text("these are words")
    before = set(Path.cwd().iterdir())
    ran = kf2v("inspect", *words)
    assert (ran.code, ran.out) == (2, "")
    assert reason in ran.err
    assert "Traceback" not in ran.err
    assert set(Path.cwd().iterdir()) == before


def test_a_sheet_never_takes_the_place_of_what_it_shows(kf2v: Kf2v, film: Path) -> None:
    picture = film.rename("film.png")
    content = picture.read_bytes()
    assert kf2v("inspect", picture, "-o", "film.png").code == 2
    assert picture.read_bytes() == content

"""What is said about all films follows from their rows, and a film that failed is told, not averaged away."""

import json
from pathlib import Path
from typing import Any

import pytest
from bench import quality
from PIL import Image

from stage import texture


def film(name: str, maker: str, score: float, **more: Any) -> dict[str, Any]:
    end = {"psnr": score / 2, "ssim": score / 100}
    told = {"kind": name[0], "name": name, "maker": maker, "Q": score, "parts": {"smooth": 1.0}, "stream_ok": True}
    return {**told, "ends": {"first": end, "last": {"psnr": 60.0, "ssim": 1.0}}, **more}


def test_means_the_worst_and_the_least_are_those_of_the_rows() -> None:
    rows = [film(f"{kind}{number}", "morph", 90 + number) for kind in "ab" for number in range(4)]
    rows += [film("a0", "dis", 70.0), film("b0", "dis", 80.0)]
    told = quality.summary(rows)
    assert told["kinds"]["a"] == {"morph": 91.5, "dissolve": None, "minterpolate": None, "dis": 70.0}
    assert told["mean"]["dis"] == 75.0
    assert [each["Q"] for each in told["worst"]] == [90, 90, 91, 91, 92]
    assert told["least"]["psnr"] == {"at": "a/a0", "psnr": 45.0}
    assert told["failed"] == []
    assert told["streams_ok"]


def test_nearness_to_true_frames_counts_only_where_there_are_any() -> None:
    rows = [film("a0", "morph", 90, truth={"psnr_t": 30.0}), film("a1", "morph", 90), film("a0", "dis", 80)]
    assert quality.summary(rows)["psnr_t"] == {"morph": 30.0, "dissolve": None, "minterpolate": None, "dis": None}


def test_a_film_that_failed_is_told() -> None:
    broken = {"kind": "a", "name": "a1", "maker": "morph", "error": "ValueError: no"}
    rows = [film("a0", "morph", 90), broken]
    told = quality.summary(rows)
    assert (told["failed"], told["mean"]["morph"]) == (["a/a1 morph"], 90)
    lines = list(quality.table({"tier": "480P", "seed": 1, "summary": told, "rows": rows}))
    assert "FAILED a/a1 morph: ValueError: no" in lines


def test_nothing_at_all_is_still_a_table() -> None:
    broken = {"kind": "a", "name": "a1", "maker": "morph", "error": "ValueError: no"}
    told = quality.summary([broken])
    assert "-" in "".join(quality.table({"tier": "480P", "seed": 1, "summary": told, "rows": [broken]}))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with two pairs of one kind."""
    for name in ("first.png", "last.png", "true.png"):
        Image.fromarray(texture(len(name), (368, 384))).save(tmp_path / name)
    row = {"kind": "small", "first": "first.png", "last": "last.png"}
    index = [{**row, "name": "a", "gt": [{"u": 0.5, "file": "true.png"}]}, {**row, "name": "b"}]
    (tmp_path / "index.json").write_text(json.dumps(index))
    return tmp_path


def test_the_index_names_the_files_of_every_entry(data: Path) -> None:
    first, second = quality.entries(data)
    assert (first.name, first.truths) == ("a", ((0.5, data / "true.png"),))
    assert (second.last, second.truths) == (data / "last.png", ())
    assert quality.one_of_each([first, second]) == [first]


SCORER = """
from pathlib import Path

def score(video, first, last, gts):
    end = {"psnr": 50.0, "ssim": 0.99}
    gt = {"gt": dict.fromkeys(("psnr", "psnr_t", "ssim", "ssim_t"), gts[0][0])} if gts else {}
    ok = Path(video).read_bytes()[4:8] == b"ftyp"
    return {"Q": 88.0, "parts": {}, "endpoint": {"first": end, "last": end}, "stream": {"ok": ok}, **gt}
"""


def test_a_film_is_made_scored_and_drawn(data: Path) -> None:
    (data / "scorer.py").write_text(SCORER)
    entry = quality.entries(data)[0]
    sheets = data / "sheets"
    told = quality.row(quality.Order(entry=entry, maker="dissolve", scorer=data / "scorer.py", sheets=sheets))
    assert (told["Q"], told["stream_ok"], told["truth"]["psnr_t"]) == (88.0, True, 0.5)
    assert (sheets / "small-a-dissolve.png").is_file()


def test_a_scorer_that_breaks_costs_one_row(data: Path) -> None:
    (data / "breaks.py").write_text("def score(*given): raise ArithmeticError('no number')")
    order = quality.Order(entry=quality.entries(data)[1], maker="dissolve", scorer=data / "breaks.py", sheets=None)
    assert quality.row(order)["error"] == "ArithmeticError: no number"

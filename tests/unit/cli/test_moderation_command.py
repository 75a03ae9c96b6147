"""``kf2v moderation``, what ``kf2v run`` does with what may not pass, and what ``kf2v doctor`` says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from censor import KEY, Answers, Censor, flags, judging, says
from kf2v.cli import doctor
from kf2v.cli.doctor import State
from kf2v.settings import Settings
from stage import texture

Kf2v = Callable[..., Any]


@pytest.fixture
def lists(home: Path) -> Path:
    """The folder of this user's lists."""
    folder = home / "data" / "moderation"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def world(home: Path) -> Path:
    """A picture worth knowing again."""
    path = home / "world.png"
    Image.fromarray(texture(1, (480, 640))).save(path)
    return path


def test_a_hashed_picture_is_a_line_of_the_list_and_then_refused(kf2v: Kf2v, lists: Path, world: Path) -> None:
    ran = kf2v("moderation", "hash", world)
    assert ran.code == 0, ran.err
    assert ran.out.endswith(" world.png\n")
    (lists / "pictures.txt").write_text(ran.out)
    small = world.with_name("small.jpg")
    Image.open(world).resize((320, 240)).save(small, quality=50)
    ran = kf2v("moderation", "check", small)
    assert ran.code == 10
    assert "inappropriate  line 1 of pictures.txt (world.png)" in ran.out
    assert kf2v("moderation", "hash", "--ip", world).out.startswith("ip: ")
    told = json.loads(kf2v("moderation", "hash", "--json", world, small).out)
    assert [len(picture["hash"]) for picture in told["pictures"]] == [16, 16]


@pytest.mark.parametrize("before", [None, "", "# mine", "# mine\n"])
def test_hashes_are_added_to_the_list_whatever_is_there(
    kf2v: Kf2v, home: Path, world: Path, before: str | None
) -> None:
    pictures = home / "data" / "moderation" / "pictures.txt"
    if before is not None:
        pictures.parent.mkdir(parents=True)
        pictures.write_text(before)
    ran = kf2v("moderation", "hash", "--add", "--ip", world)
    assert ran.code == 0, ran.err
    lines = pictures.read_text("utf-8").splitlines()
    assert lines[-1] == ran.out.strip()
    assert all(line.startswith("#") or not line for line in lines[:-1])
    assert kf2v("moderation", "check", world).code == 10


def test_a_picture_that_is_not_there_is_no_prompt(kf2v: Kf2v) -> None:
    ran = kf2v("moderation", "check", "holiday/nosuch.JPG")
    assert ran.code != 0
    assert "there is no file holiday/nosuch.JPG" in ran.err
    assert kf2v("moderation", "check", "make it look like photo.jpg").code == 0


def test_texts_are_checked_as_prompts_are(kf2v: Kf2v, lists: Path) -> None:
    (lists / "words.txt").write_text("gore\nip: mickey mouse\n")
    assert kf2v("moderation", "check", "a cat").code == 0
    ran = kf2v("moderation", "check", "--json", "Mickey  Mouse")
    assert ran.code == 10
    assert json.loads(ran.out) == {
        "verdicts": [{"moderator": "lists", "verdict": "ip", "reason": "line 2 of words.txt"}]
    }


def test_every_moderator_is_heard(kf2v: Kf2v, lists: Path, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (lists / "words.txt").write_text("gore\n")
    with judging(Censor(flags("violence"), flags(), Answers(status=404))) as censor:
        for name, value in {"": "lists,openai", "_URL": censor.url, "_API_KEY": KEY}.items():
            monkeypatch.setenv(f"KF2V_MODERATION{name}", value)
        rows = [kf2v("moderation", "check", what, "--stage", "output") for what in ("gore", world, "a cat")]
    assert [row.code for row in rows] == [10, 0, 0]
    assert [line.split()[:2] for line in rows[0].out.splitlines()[1:]] == [
        ["lists", "inappropriate"],
        ["openai", "inappropriate"],
    ]
    assert rows[2].out.splitlines()[2].split()[:2] == ["openai", "undecided"]
    assert KEY not in "".join(row.out + row.err for row in rows)


def test_what_cannot_be_used_is_told(kf2v: Kf2v, home: Path) -> None:
    (home / "page.html").write_text("<html>")
    plain = home / "plain.png"
    Image.new("RGB", (400, 400), (9, 9, 9)).save(plain)
    assert kf2v("moderation", "hash", home / "page.html").code == 2
    assert kf2v("moderation", "hash", home / "none.png").code == 2
    assert kf2v("moderation", "check", "x", "--stage", "later").code == 2
    ran = kf2v("moderation", "hash", plain)
    assert ran.code == 1
    assert "so plain" in ran.err


def test_nobody_is_asked_where_moderation_is_off(kf2v: Kf2v, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF2V_MODERATION", "off")
    ran = kf2v("moderation", "check", "gore")
    assert (ran.code, ran.out) == (0, "moderation is off\n")
    rows = [line.split() for line in kf2v("config", "show").out.splitlines()]
    assert ["moderation", "-", "env", "KF2V_MODERATION"] in rows


def test_a_video_made_without_a_server_is_inspected_too(
    kf2v: Kf2v, lists: Path, home: Path, frames: tuple[Path, Path], world: Path
) -> None:
    (lists / "words.txt").write_text("gore\n")
    (lists / "pictures.txt").write_text(kf2v("moderation", "hash", "--ip", world).out)
    words = ("run", "--engine", "still", "--resolution", "480P", "-o", home / "out.mp4")
    ran = kf2v(*words, *frames, "--prompt", "a gore film")
    assert ran.code == 10
    assert "DataInspectionFailed: Input data may contain inappropriate content." in ran.err
    ran = kf2v(*words, frames[0], world, "--prompt", "a film")
    assert ran.code == 10
    assert "IPInfringementSuspect" in ran.err
    assert not (home / "out.mp4").exists()
    assert kf2v(*words, *frames, "--prompt", "a film").code == 0


def test_without_a_server_no_more_is_inspected_than_with_one(
    kf2v: Kf2v, lists: Path, home: Path, frames: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (lists / "words.txt").write_text("gore\n")
    words = ("run", "--engine", "still", "--resolution", "480P", "-o", home / "out.mp4", "--prompt", "gore")
    monkeypatch.setenv("KF2V_MODERATION_INSPECTS", "output")
    assert kf2v(*words, *frames).code == 0
    monkeypatch.setenv("KF2V_MODERATION_INSPECTS", "input")
    assert kf2v(*words, *frames).code == 10


def test_a_moderator_without_an_address_is_a_setting_that_cannot_be_used(
    kf2v: Kf2v, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, said in {"http": "needs moderation_url", "http,openai": "not both", "nobody": "'lists'"}.items():
        monkeypatch.setenv("KF2V_MODERATION", given)
        ran = kf2v("config", "show")
        assert ran.code == 1
        assert said in ran.err


def test_the_doctor_says_who_moderates(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.moderation(Settings()).detail == "lists"
    assert doctor.moderation(Settings(moderation="off")).detail.startswith("off")  # type: ignore[arg-type]
    with judging(Censor(says("pass"))) as censor:
        asked = {"moderation": "lists,http", "moderation_url": censor.url, "moderation_api_key": KEY}
        found = doctor.moderation(Settings(**asked))  # type: ignore[arg-type]
    assert (found.state, found.detail) == (State.OK, f"lists, http at {censor.url}, which answers")
    for then, state in {"pass": State.WARN, "fail": State.FAIL}.items():
        found = doctor.moderation(Settings(**asked, moderation_on_failure=then))  # type: ignore[arg-type]
        assert found.state is state
        assert "cannot be reached" in found.detail
        assert found.fix
        assert KEY not in found.detail + found.fix

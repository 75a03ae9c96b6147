"""``kf2v rewrite`` and what ``kf2v doctor`` says about rewriting."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kf2v.cli import doctor
from kf2v.cli.doctor import State
from kf2v.settings import Settings
from language_model import KEY, LanguageModel, Refuses, Says, listening

Kf2v = Callable[..., Any]

ANSWER = "A ball rolls. It turns from red to blue while the camera holds still."


@pytest.fixture
def model(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LanguageModel]:
    """A language model that this user's environment points at."""
    with listening(LanguageModel(Says(text=ANSWER))) as running:
        for name, value in {
            "REWRITER": "openai",
            "REWRITE_BASE_URL": running.base_url,
            "REWRITE_MODEL": "tiny",
            "REWRITE_API_KEY": KEY,
        }.items():
            monkeypatch.setenv(f"KF2V_{name}", value)
        yield running


def test_the_rules_are_shown_at_work(kf2v: Kf2v, frames: tuple[Path, Path]) -> None:
    ran = kf2v("rewrite", "--first", frames[0], "--last", frames[1], "A ball rolls")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0] == "orig    A ball rolls"
    assert ran.out.splitlines()[1].startswith("actual  A ball rolls. ")
    assert "from red to blue" in ran.out


def test_no_prompt_is_a_prompt(kf2v: Kf2v, frames: tuple[Path, Path]) -> None:
    ran = kf2v("rewrite", "--first", frames[0], "--last", frames[1], "--json")
    told = json.loads(ran.out)
    assert (told["rewriter"], told["orig_prompt"]) == ("rules", "")
    assert "from red to blue" in told["actual_prompt"]


def test_a_model_is_asked_once_as_a_task_would(kf2v: Kf2v, frames: tuple[Path, Path], model: LanguageModel) -> None:
    ran = kf2v("rewrite", "--first", frames[0], "--last", frames[1], "A ball rolls.")
    assert ran.out == f"orig    A ball rolls.\nactual  {ANSWER}\n"
    assert [len(heard.pictures) for heard in model.heard] == [2]


def test_a_model_that_fails_is_told_and_the_prompt_kept(
    kf2v: Kf2v, frames: tuple[Path, Path], model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KF2V_REWRITE_API_KEY", "sk-mistyped")
    ran = kf2v("rewrite", "--first", frames[0], "--last", frames[1], "A ball rolls.")
    assert (ran.code, ran.out) == (0, "orig    A ball rolls.\nactual  A ball rolls.\n")
    assert "401" in ran.err
    assert "sk-mistyped" not in ran.err
    monkeypatch.setenv("KF2V_REWRITE_ON_FAILURE", "fail")
    ran = kf2v("rewrite", "--first", frames[0], "--last", frames[1], "A ball rolls.")
    assert (ran.code, ran.out) == (1, "")
    assert "RewriteFailed" in ran.err


def test_a_picture_that_is_none_is_told(kf2v: Kf2v, frames: tuple[Path, Path], home: Path) -> None:
    (home / "page.html").write_text("<html>")
    ran = kf2v("rewrite", "--first", home / "page.html", "--last", frames[1], "x")
    assert ran.code == 1
    assert "InvalidImage.FileFormat" in ran.err


def test_the_key_of_a_model_is_not_shown(kf2v: Kf2v, model: LanguageModel) -> None:
    ran = kf2v("config", "show")
    assert KEY not in ran.out + ran.err
    assert "env KF2V_REWRITE_API_KEY" in ran.out


def test_a_model_without_an_address_is_a_setting_that_cannot_be_used(
    kf2v: Kf2v, model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KF2V_REWRITE_BASE_URL")
    ran = kf2v("config", "show")
    assert ran.code == 1
    assert "rewrite_base_url" in ran.err
    assert KEY not in ran.err


@pytest.mark.parametrize("name", ["rules", "verbatim"])
def test_the_doctor_says_who_rewrites(home: Path, name: str) -> None:
    found = doctor.rewriter(Settings(rewriter=name))  # type: ignore[arg-type]
    assert (found.state, found.fix) == (State.OK, "")
    assert found.detail.startswith(name)


def test_the_doctor_asks_the_model(model: LanguageModel) -> None:
    found = doctor.rewriter(Settings())
    assert found.state is State.OK
    assert f"tiny at {model.base_url} answers" in found.detail
    assert [len(heard.pictures) for heard in model.heard] == [0]


@pytest.mark.parametrize(("then", "state"), [("keep", State.WARN), ("fail", State.FAIL)])
def test_the_doctor_says_how_bad_it_is_that_no_model_answers(
    home: Path, monkeypatch: pytest.MonkeyPatch, then: str, state: State
) -> None:
    with listening(LanguageModel(Refuses(status=404, message="model tiny not found"))) as running:
        found = doctor.rewriter(
            Settings(
                rewriter="openai",
                rewrite_base_url=running.base_url,
                rewrite_model="tiny",
                rewrite_api_key=KEY,  # type: ignore[arg-type]
                rewrite_on_failure=then,  # type: ignore[arg-type]
            )
        )
    assert found.state is state
    assert "model tiny not found" in found.detail
    assert KEY not in found.detail
    assert found.fix

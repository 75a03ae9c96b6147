import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from kf2v.assembly.engines import ENGINES, build_engine, build_engines, relays, workers_here
from kf2v.assembly.panel import lay_out_lists
from kf2v.assembly.production import build_recipe
from kf2v.blobs.memory import MemoryBlobs
from kf2v.engines import Engine, EngineUnavailable
from kf2v.engines.still import Still
from kf2v.settings import Settings
from kf2v.video import Frame
from stage import Notebook, scene


def test_blank_lists_are_laid_out_once_for_their_owner_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    lay_out_lists(settings)
    words, pictures = tmp_path / "moderation" / "words.txt", tmp_path / "moderation" / "pictures.txt"
    assert "Examples" in pictures.read_text("utf-8")
    assert stat.S_IMODE(words.stat().st_mode) == 0o600
    words.write_text("mine\n")
    lay_out_lists(settings)
    assert words.read_text() == "mine\n"


def test_nothing_is_laid_out_where_nobody_reads_it(tmp_path: Path) -> None:
    lay_out_lists(Settings(data_dir=tmp_path, moderation="off"))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def absent(settings: Settings, seat: int) -> Engine:
    raise EngineUnavailable("There is no GPU.", fix="Plug one in.")


def test_an_engine_that_cannot_work_here_is_stood_in_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "absent", absent)
    assert build_engine(Settings(engine="absent", fallback_engine="still")).name == "still"


@pytest.mark.parametrize("fallback", ["", "absent"])
def test_without_anything_to_stand_in_it_is_told(monkeypatch: pytest.MonkeyPatch, fallback: str) -> None:
    monkeypatch.setitem(ENGINES, "absent", absent)
    with pytest.raises(EngineUnavailable, match=r"There is no GPU\. Plug one in\."):
        build_engine(Settings(engine="absent", fallback_engine=fallback))


def test_an_engine_is_built_for_the_seat_of_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    seats: list[int] = []

    def build(settings: Settings, seat: int) -> Engine:
        seats.append(seat)
        return Still()

    monkeypatch.setitem(ENGINES, "seated", build)
    build_recipe(Settings(engine="seated"), blobs=MemoryBlobs(), scratch=Path(), seat=3)
    assert seats == [3]


def test_with_routes_an_engine_that_cannot_work_says_so_to_each_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "absent", absent)
    engines = build_engines(Settings(routes={"*": ("absent", "still")}))
    assert set(engines) == {"absent", "still"}
    frame = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(EngineUnavailable, match=r"There is no GPU\. Plug one in\."):
        engines["absent"].generate(scene(frame, frame), NoPreview())


class NoPreview(Notebook):
    def show(self, preview: Frame) -> None:
        del preview


def far(**told: Any) -> Settings:
    return Settings(remote_base_url="https://example.com/api/v1", remote_api_key=SecretStr("sk-far"), **told)


@pytest.mark.parametrize(
    ("settings", "here", "elsewhere"),
    [
        (Settings(workers=3), 3, 0),
        (far(engine="remote", fallback_engine="", workers=3), 0, 1),
        (far(engine="remote", workers=3), 3, 1),
        (far(engine="remote", workers=0), 0, 1),
        (far(workers=1), 1, 0),
    ],
)
def test_there_are_processes_for_what_is_made_here_and_one_for_what_is_made_elsewhere(
    settings: Settings, here: int, elsewhere: int
) -> None:
    assert (workers_here(settings), relays(settings)) == (here, elsewhere)

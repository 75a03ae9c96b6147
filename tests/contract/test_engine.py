"""What every engine owes: both ends exact, frames made as they are asked for, and a way to call it off."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from kf2v.engines import Engine, Scene
from kf2v.engines.morph import Morph
from kf2v.engines.still import Still
from kf2v.errors import Canceled
from kf2v.video import Clip, Frame, Size, mp4
from kf2v.video.frames import size_of
from kf2v.video.retime import retime
from scenery import Held, landscape

ENGINES: dict[str, Callable[[], Engine]] = {"still": Still, "morph": Morph}

SIZE = Size(width=192, height=112)


class Notes:
    """A watch that writes down what it hears and, after ``patience`` reports, has had enough."""

    def __init__(self, patience: int | None = None) -> None:
        self.heard: list[tuple[str, float]] = []
        self._patience = patience

    def report(self, phase: str, done: float) -> None:
        self.heard.append((phase, done))
        if self._patience is not None and len(self.heard) > self._patience:
            raise Canceled

    def note(self, text: str) -> None:
        assert text

    def show(self, preview: Frame) -> None:
        assert preview.dtype == np.uint8
        assert preview.ndim == 3


def scene_of(seed: int = 7) -> Scene:
    """The camera moves a little to the right."""
    return Scene(first=landscape(SIZE), last=landscape(SIZE, shift=12), prompt="A ride", negative_prompt="", seed=seed)


@dataclass(frozen=True, kw_only=True)
class Take:
    """One scene from beginning to end: what went in, what came out, and what the watch heard meanwhile."""

    scene: Scene
    clip: Clip
    frames: list[Frame]
    #: how many reports there had been when each frame came out
    reports: list[int]
    heard: list[tuple[str, float]]


def shoot(engine: Engine) -> Take:
    scene, notes, frames, reports = scene_of(), Notes(), [], []
    clip = engine.generate(scene, notes)
    for frame in clip.frames:
        frames.append(frame)
        reports.append(len(notes.heard))
    return Take(scene=scene, clip=clip, frames=frames, reports=reports, heard=notes.heard)


@pytest.fixture(scope="module", params=ENGINES)
def make(request: pytest.FixtureRequest) -> Callable[[], Engine]:
    """Builds the variant; the one thing to override where this suite runs on others."""
    return ENGINES[request.param]


@pytest.fixture
def engine(make: Callable[[], Engine]) -> Engine:
    return make()


@pytest.fixture(scope="module")
def take(make: Callable[[], Engine]) -> Take:
    return shoot(make())


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_has_the_name_it_is_chosen_by(name: str) -> None:
    assert ENGINES[name]().name == name


def test_a_clip_begins_and_ends_with_the_scenes_own_pixels(take: Take) -> None:
    assert np.array_equal(take.frames[0], take.scene.first)
    assert np.array_equal(take.frames[-1], take.scene.last)


def test_a_clip_is_what_it_says(take: Take) -> None:
    assert take.clip.size == SIZE
    assert take.clip.fps > 0
    assert len(take.frames) == take.clip.count
    for frame in take.frames:
        assert size_of(frame) == SIZE
        assert frame.dtype == np.uint8
        assert frame.flags.c_contiguous


def test_the_scene_is_left_as_it_was(take: Take) -> None:
    assert np.array_equal(take.scene.first, scene_of().first)
    assert np.array_equal(take.scene.last, scene_of().last)


def test_a_watch_hears_of_every_frame(take: Take) -> None:
    assert len(take.heard) >= take.clip.count
    for index, reports in enumerate(take.reports):
        assert reports > index


def test_progress_is_named_by_a_word_and_never_goes_back(take: Take) -> None:
    for phase in dict.fromkeys(phase for phase, _ in take.heard):
        assert phase.isidentifier()
        course = [done for at, done in take.heard if at == phase]
        assert course == sorted(course)
        assert 0 <= course[0] <= course[-1] <= 1


def test_the_same_scene_and_seed_give_the_same_frames(engine: Engine) -> None:
    first, second = (hashlib.sha256(b"".join(f.tobytes() for f in shoot(engine).frames)).digest() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.4, 0.93])
def test_work_can_be_called_off_at_any_report(engine: Engine, take: Take, share: float) -> None:
    patience = int(share * len(take.heard))
    notes = Notes(patience)
    with pytest.raises(Canceled):
        list(engine.generate(scene_of(), notes).frames)
    assert len(notes.heard) == patience + 1


def test_frames_are_made_as_they_are_asked_for(engine: Engine) -> None:
    held = Held()
    for frame in held.passing(engine.generate(scene_of(), Notes()).frames):
        del frame
    assert held.most < 12


def test_a_clip_may_be_left_in_the_middle(engine: Engine) -> None:
    clip = engine.generate(scene_of(), Notes())
    for _ in range(3):
        next(clip.frames)


def test_a_clip_becomes_a_film_of_five_seconds(engine: Engine, tmp_path: Path) -> None:
    scene = scene_of()
    path = tmp_path / "film.mp4"
    mp4.write(path, retime(engine.generate(scene, Notes())))
    facts = mp4.facts(path)
    assert (facts.frames, facts.fps, facts.duration) == (150, 30.0, 5.0)
    assert (facts.width, facts.height) == (SIZE.width, SIZE.height)

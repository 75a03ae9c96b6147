import numpy as np
import pytest

from kf2v.engines import EngineUnavailable, Scene, Watch
from kf2v.engines.standby import Standby
from kf2v.engines.still import Still
from kf2v.errors import AlgorithmError
from kf2v.video import Clip
from stage import Notebook

FRAME = np.zeros((16, 16, 3), np.uint8)


def scene(model: str) -> Scene:
    return Scene(first=FRAME, last=FRAME, prompt="", negative_prompt="", seed=0, model=model)


class Specialist:
    """Knows one model; ``broken`` is another that it fails at."""

    name = "specialist"

    def generate(self, scene: Scene, watch: Watch) -> Clip:
        if scene.model == "broken":
            raise AlgorithmError
        if scene.model != "its own":
            raise EngineUnavailable(f"{scene.model} has no weights here.", fix="Fetch them.")
        return Still().generate(scene, watch)


class Calls:
    """Makes ``Still`` when called, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> Still:
        self.count += 1
        return Still()


def test_what_an_engine_can_make_it_makes_alone() -> None:
    other = Calls()
    engine = Standby(Specialist(), other)
    assert engine.name == "specialist"
    assert engine.generate(scene("its own"), Notebook()).count == 150
    assert other.count == 0


def test_what_it_cannot_make_here_another_makes() -> None:
    other = Calls()
    engine = Standby(Specialist(), other)
    for _ in range(2):
        notebook = Notebook()
        assert engine.generate(scene("another"), notebook).count == 150
        assert len(notebook.notes) == 1
        assert "still stood in for specialist" in notebook.notes[0]
    assert other.count == 1, "it is built once"


def test_work_that_goes_wrong_stays_wrong() -> None:
    other = Calls()
    with pytest.raises(AlgorithmError):
        Standby(Specialist(), other).generate(scene("broken"), Notebook())
    assert other.count == 0

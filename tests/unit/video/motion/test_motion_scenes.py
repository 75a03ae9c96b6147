"""Scenes whose motion is known: what is found of it, and what is seen halfway."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from kf2v.video import Frame
from kf2v.video.motion.correspondence import Correspondence, Strand, analyse
from kf2v.video.motion.field import Field, grid
from kf2v.video.motion.path import project
from kf2v.video.motion.render import Renderer
from stage import SIZE, Plan, chroma, luma, psnr, texture, viewed, with_disc, zoom_and_turn

WORLD = texture(5, (480, 720))
HERE = grid(*SIZE)
#: by the name of a camera's move, where it has brought the picture at 0 … 1 of the way
CAMERAS: dict[str, Callable[[float], Plan]] = {
    "a short way": lambda s: zoom_and_turn(1, 0, 18 * s, -11 * s),
    "a long way": lambda s: zoom_and_turn(1, 0, 90 * s, 20 * s),
    "nearer": lambda s: zoom_and_turn(1.4**s, 0),
    "further off": lambda s: zoom_and_turn(1.4**-s, 0),
    "turned": lambda s: zoom_and_turn(1, 25 * s),
    "turned far": lambda s: zoom_and_turn(1, 40 * s),
    "nearer and turned": lambda s: zoom_and_turn(1.25**s, -15 * s),
}
SCENE = texture(1) // 2


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of a pair of pictures, and where the camera truly stood."""

    plan: Callable[[float], Plan]
    pair: Correspondence
    middle: Frame
    true_middle: Frame


@pytest.fixture(scope="module", params=CAMERAS)
def trial(request: pytest.FixtureRequest) -> Trial:
    plan = CAMERAS[request.param]
    first, last, true_middle = (viewed(WORLD, plan(s)) for s in (0, 1, 0.5))
    pair = analyse(first, last)
    return Trial(plan=plan, pair=pair, middle=Renderer(first, last, pair).frame(0.5), true_middle=true_middle)


def placed(pair: Correspondence, strand: Strand, position: float) -> Field:
    return project(pair.path.at(position), strand.anchor + position * strand.drift)


def missed(found: Field, true: Field, where: np.ndarray) -> tuple[float, float]:
    """Pixels; the median and the 90th percentile of the distances."""
    distances = np.linalg.norm(found - true, axis=2)[where]
    return float(np.median(distances)), float(np.percentile(distances, 90))


def inside(places: Field, margin: float = 6) -> np.ndarray:
    x, y = places[..., 0], places[..., 1]
    return (x >= margin) & (y >= margin) & (x < SIZE[1] - margin) & (y < SIZE[0] - margin)


@pytest.mark.parametrize("position", [0.5, 1.0])
def test_pixels_of_the_first_frame_go_where_the_camera_takes_them(trial: Trial, position: float) -> None:
    there, goal = project(trial.plan(1), HERE), project(trial.plan(position), HERE)
    median, worse = missed(placed(trial.pair, trial.pair.first, position), goal, inside(there))
    assert median < 0.1
    assert worse < 0.2


@pytest.mark.parametrize("position", [0.0, 0.5])
def test_pixels_of_the_last_frame_come_from_where_the_camera_saw_them(trial: Trial, position: float) -> None:
    origin = project(np.linalg.inv(trial.plan(1)), HERE)
    median, worse = missed(
        placed(trial.pair, trial.pair.last, position), project(trial.plan(position), origin), inside(origin)
    )
    assert median < 0.1
    assert worse < 0.2


def test_what_both_frames_see_is_trusted_and_what_one_sees_is_not(trial: Trial) -> None:
    there = project(trial.plan(1), HERE)
    assert trial.pair.first.trust[inside(there)].mean() > 0.95
    beyond = ~inside(there, -4)
    assert not beyond.any() or trial.pair.first.trust[beyond].mean() < 0.05


def test_halfway_is_seen_what_the_camera_sees_there(trial: Trial) -> None:
    assert psnr(luma(trial.middle)[8:-8, 8:-8], luma(trial.true_middle)[8:-8, 8:-8]) > 38
    assert psnr(luma(trial.middle), luma(trial.true_middle)) > 32
    assert psnr(chroma(trial.middle), chroma(trial.true_middle)) > 32


@pytest.fixture(scope="module", params=[8, 42, 80])
def way(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(scope="module")
def disc(way: int) -> Trial:
    """A disc of 24 pixels goes to the right before a scene that stays as it is."""
    first, last, true_middle = (with_disc(SCENE, 110 + way * s, 96) for s in (0, 1, 0.5))
    pair = analyse(first, last)
    middle = Renderer(first, last, pair).frame(0.5)
    return Trial(plan=lambda s: zoom_and_turn(1, 0, way * s), pair=pair, middle=middle, true_middle=true_middle)


def from_disc(x: float) -> Field:
    return np.hypot(HERE[..., 0] - x, HERE[..., 1] - 96)


def test_a_disc_moves_and_what_it_passes_does_not(disc: Trial, way: int) -> None:
    found = placed(disc.pair, disc.pair.first, 1)
    median, worse = missed(found, HERE + np.float32([way, 0]), from_disc(110) < 20)
    assert median < 0.5
    assert worse < 1.0
    median, worse = missed(found, HERE, (from_disc(110) > 30) & (from_disc(110 + way) > 30))
    assert median < 0.05
    assert worse < 0.1


def test_a_disc_is_seen_once_halfway_and_whole(disc: Trial) -> None:
    assert psnr(luma(disc.middle), luma(disc.true_middle)) > 30
    assert psnr(chroma(disc.middle), chroma(disc.true_middle)) > 31


def test_far_from_a_disc_nothing_stirs(disc: Trial) -> None:
    far = np.s_[:, 240:]
    assert psnr(luma(disc.middle)[far], luma(SCENE)[far]) > 50

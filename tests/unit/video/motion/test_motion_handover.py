"""When places change hands, and how the whole moves meanwhile."""

import numpy as np
import pytest

from kf2v.video import Frame
from kf2v.video.motion.field import grid, sample
from kf2v.video.motion.handover import FRONTS, INWARD, OUTWARD, SPAN, Front, best_front, front_of, journey_of, turns
from kf2v.video.motion.path import Geodesic, project
from stage import SIZE, flat, texture

HERE = grid(*SIZE)
ONE, OTHER = texture(1), texture(2)
REST = np.zeros((*SIZE, 2), np.float32)
WALL = np.float32([20, 6])


def lean(front: Front) -> tuple[float, float, float]:
    """How much later places on the right, at the bottom and far from the middle change hands: −1 … 1."""
    when = turns(ONE, OTHER, REST, REST, front).first
    x, y = HERE[..., 0] / SIZE[1] - 0.5, HERE[..., 1] / SIZE[0] - 0.5
    right, down, out = (float(np.corrcoef(when.ravel(), way.ravel())[0, 1]) for way in (x, y, np.hypot(x, y)))
    return right, down, out


@pytest.mark.parametrize("front", FRONTS, ids=str)
def test_a_change_takes_its_span_and_no_longer(front: Front) -> None:
    when = turns(ONE, OTHER, REST, REST, front).first
    assert when.min() == pytest.approx(-SPAN / 2, abs=0.01)
    assert when.max() == pytest.approx(SPAN / 2, abs=0.01)


@pytest.mark.parametrize("front", FRONTS, ids=str)
def test_in_every_tenth_of_it_about_as_much_changes_hands(front: Front) -> None:
    """Of two pictures that have something to see everywhere."""
    when = turns(ONE, OTHER, REST, REST, front).first
    share, _ = np.histogram(when, bins=10, range=(-SPAN / 2, SPAN / 2))
    assert share.max() / when.size < 0.15
    assert share.min() / when.size > 0.06


def test_what_there_is_to_see_paces_a_change() -> None:
    """An empty half takes less time than a busy one."""
    one, other = ONE.copy(), OTHER.copy()
    one[:, : SIZE[1] // 2] = other[:, : SIZE[1] // 2] = 90
    when = turns(one, other, REST, REST, Front(across=1.0, down=0.0, outward=0.0)).first
    assert np.median(when[:, SIZE[1] // 2]) < -0.05


def test_a_front_runs_the_way_it_says() -> None:
    right, down, out = lean(Front(across=1.0, down=0.1, outward=0.0))
    assert right > 0.9
    assert abs(out) < 0.2
    right, down, _ = lean(Front(across=0.1, down=-1.0, outward=0.0))
    assert down < -0.9
    assert lean(OUTWARD)[2] > 0.9
    assert lean(INWARD)[2] < -0.9


def test_both_frames_agree_when_a_place_changes_hands() -> None:
    flow = REST + WALL
    when = turns(ONE, OTHER, flow, -flow, FRONTS[2])
    assert np.abs(sample(when.last, HERE + flow) - when.first)[8:-16, 8:-32].max() < 1e-5


def test_a_change_holds_to_the_edges_of_things() -> None:
    """A plain panel before a plain wall: less time passes between places inside it than across its border."""
    panel = flat(60)
    panel[48:144, 120:200] = 210
    when = turns(panel, panel, REST, REST, FRONTS[2]).first
    steps = np.abs(np.diff(when[60:132], axis=1))
    assert steps[:, 116:124].max() > 3 * np.median(steps[:, 130:190])


@pytest.mark.parametrize("front", FRONTS, ids=str)
def test_a_front_fits_the_journey_it_is_made_for(front: Front) -> None:
    fitting = front_of(journey_of(front, SIZE), SIZE)
    assert fitting is not None
    mine, yours = (np.array([f.across, f.down, f.outward]) for f in (front, fitting))
    assert np.allclose(yours, mine / np.linalg.norm(mine), atol=1e-6)


def test_a_whole_that_hardly_moves_asks_for_no_front() -> None:
    assert front_of(np.eye(3), SIZE) is None


@pytest.mark.parametrize("front", FRONTS, ids=str)
def test_a_journey_has_a_path_and_leaves_each_picture_time_to_be_seen(front: Front) -> None:
    """Where a picture has not come yet (has left already), the other one still has (already has) its turn."""
    path = Geodesic(journey_of(front, SIZE))
    when = turns(ONE, OTHER, REST, REST, front).first
    for position in (0.25, 0.5, 0.75):
        origin = project(np.linalg.inv(path.at(position)), HERE)
        lacks_first = ((origin < 0) | (origin > np.array(SIZE[::-1]) - 1)).any(axis=2)
        behind = project(path.at(1), origin)
        lacks_last = ((behind < 0) | (behind > np.array(SIZE[::-1]) - 1)).any(axis=2)
        turned = when < position - 0.5
        assert (lacks_first & ~turned).mean() < 0.08
        assert (lacks_last & turned).mean() < 0.08


def portrait(seed: int, level: int) -> Frame:
    """A disc of one brightness before a grey wall, both with a little texture."""
    wall = texture(seed) // 8 + np.uint8(100)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    inside = np.hypot(x - SIZE[1] / 2, y - SIZE[0] / 2) < 60
    return np.where(inside[..., None], texture(seed + 1) // 8 + np.uint8(level), wall).astype(np.uint8)


CLEAR, FAINT = portrait(3, 220), portrait(5, 160)


def test_of_two_subjects_the_clearer_is_seen_longer() -> None:
    assert best_front(CLEAR, FAINT, REST, REST) == INWARD
    assert best_front(FAINT, CLEAR, REST, REST) == OUTWARD


@pytest.mark.parametrize("pair", [(ONE, OTHER), (CLEAR, FAINT), (CLEAR, ONE), (texture(7), texture(8))])
def test_a_pair_turned_round_has_the_front_turned_round(pair: tuple[Frame, Frame]) -> None:
    one, other = pair
    there, back = best_front(one, other, REST, REST), best_front(other, one, REST, REST)
    assert (there.across, there.down, there.outward) == (-back.across, -back.down, -back.outward)


def test_a_change_between_empty_pictures_is_finite_and_even() -> None:
    when = turns(flat(0), flat(255), REST, REST, INWARD)
    assert np.isfinite(when.first).all()
    assert np.isfinite(when.last).all()
    assert np.isfinite(when.evenness)

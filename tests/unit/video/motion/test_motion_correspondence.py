import numpy as np
import pytest

from kf2v.video.motion.correspondence import LONG_SIDE, Correspondence, Strand, analyse
from kf2v.video.motion.path import project
from stage import SIZE, cut, flat, texture

WIDE = texture(5, (300, 480))


def goal(pair: Correspondence, strand: Strand, position: float) -> np.ndarray:
    return project(pair.path.at(position), strand.anchor + position * strand.drift)


def test_every_pixel_of_the_first_frame_starts_at_home_and_arrives() -> None:
    pair = analyse(cut(WIDE, 40, 30), cut(WIDE, 22, 41))
    y, x = np.mgrid[30:160, 30:290]
    assert np.allclose(goal(pair, pair.first, 0)[30:160, 30:290], np.dstack([x, y]), atol=1e-3)
    assert np.allclose(goal(pair, pair.first, 1)[30:160, 30:290], np.dstack([x + 18, y - 11]), atol=0.5)


def test_every_pixel_of_the_last_frame_comes_from_where_it_was() -> None:
    pair = analyse(cut(WIDE, 40, 30), cut(WIDE, 22, 41))
    y, x = np.mgrid[30:160, 30:290]
    assert np.allclose(goal(pair, pair.last, 0)[30:160, 30:290], np.dstack([x - 18, y + 11]), atol=0.5)
    assert np.allclose(goal(pair, pair.last, 1)[30:160, 30:290], np.dstack([x, y]), atol=0.05)


def test_what_leaves_the_picture_is_not_trusted_and_what_stays_is() -> None:
    pair = analyse(cut(WIDE, 40, 30), cut(WIDE, 80, 30))
    assert pair.first.trust[20:-20, :30].max() < 0.1
    assert pair.first.trust[20:-20, 60:-20].mean() > 0.9
    assert pair.last.trust[20:-20, -30:].max() < 0.1


def test_what_enters_moves_as_what_is_next_to_it_and_not_as_the_whole() -> None:
    near, far = texture(6, (300, 480)), WIDE
    one, other = cut(far, 40, 30), cut(far, 46, 30)
    one[128:], other[128:] = cut(near, 40, 30)[128:], cut(near, 70, 30)[128:]
    pair = analyse(one, other)
    way = goal(pair, pair.last, 1) - goal(pair, pair.last, 0)
    assert np.allclose(np.median(way[140:, -24:], axis=(0, 1)), (-30, 0), atol=3)
    assert np.allclose(np.median(way[10:110, -4:], axis=(0, 1)), (-6, 0), atol=1)


def test_strangers_trust_each_other_little() -> None:
    pair = analyse(texture(1), texture(2))
    assert pair.first.trust.mean() < 0.3


def test_a_change_of_light_is_told_from_motion() -> None:
    one = cut(WIDE, 40, 30) // 2 + 30
    pair = analyse(one, one + np.uint8(40))
    assert np.allclose(pair.first_light.at(1.0), 40, atol=4)
    assert np.allclose(pair.last_light.at(1.0), -40, atol=4)
    assert np.abs(goal(pair, pair.first, 1) - goal(pair, pair.first, 0)).max() < 0.5


def test_analysis_is_never_larger_than_its_long_side() -> None:
    pair = analyse(texture(1, (1280, 240)), texture(1, (1280, 240)))
    assert max(pair.first.trust.shape) == LONG_SIDE


NOISE = np.random.default_rng(3).integers(0, 255, (*SIZE, 3), np.uint8)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (flat(0), flat(0)),
        (flat(0), flat(255)),
        (flat(0), texture(1)),
        (NOISE, NOISE[::-1].copy()),
        (texture(1), np.rot90(texture(1, SIZE[::-1])).copy()),
        (texture(1), texture(1)[:, ::-1].copy()),
        (texture(1, (16, 16)), texture(2, (16, 16))),
        (texture(1, (32, 1280)), texture(2, (32, 1280))),
    ],
    ids=["black", "black to white", "black to texture", "noise", "strangers", "mirrored", "tiny", "ribbon"],
)
def test_any_two_pictures_have_an_answer_that_is_finite(first: np.ndarray, last: np.ndarray) -> None:
    pair = analyse(first, last)
    for strand in (pair.first, pair.last):
        assert np.isfinite(strand.anchor).all()
        assert np.isfinite(strand.drift).all()
        assert (strand.trust >= 0).all()
        assert (strand.trust <= 1).all()
    assert np.isfinite(pair.first_light.at(1.0)).all()
    assert np.isfinite(pair.last_light.at(1.0)).all()

import numpy as np
import pytest

from kf2v.engines.morph.timing import ease


def test_a_path_begins_at_the_beginning_and_ends_at_the_end() -> None:
    assert ease(0.0) == 0.0
    assert ease(1.0) == 1.0
    assert ease(0.5) == pytest.approx(0.5)


def test_speed_rises_stays_even_and_falls_again() -> None:
    speed = np.diff([ease(k / 149) for k in range(150)])
    assert (speed > 0).all()
    assert np.allclose(speed, speed[::-1])
    assert np.allclose(speed[30:-30], speed[74])
    assert (np.diff(speed[:24]) > 0).all()
    assert speed[0] < speed[74] / 3

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kf2v.engines.morph.timing import STEADY, Pace, ease

TEMPOS = (-1.0, -0.5, 0.0, 0.5, 1.0)
paces = st.builds(Pace.of, st.sampled_from(TEMPOS), st.integers(0, 2**31 - 1)) | st.just(STEADY)


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


@given(paces)
def test_every_pace_begins_and_ends_exactly_and_never_stands_still(pace: Pace) -> None:
    positions = [ease(k / 149, pace) for k in range(150)]
    assert (positions[0], positions[-1]) == (0.0, 1.0)
    assert (np.diff(positions) > 0.15 / 149).all()


@given(paces, st.floats(0, 1))
def test_backwards_every_pace_is_the_same(pace: Pace, moment: float) -> None:
    assert ease(1 - moment, pace) == pytest.approx(1 - ease(moment, pace), abs=1e-12)


def top(pace: Pace) -> float:
    return float(np.diff([ease(k / 149, pace) for k in range(150)]).max() * 149)


def test_a_slow_clip_never_hurries_and_a_fast_one_dashes_in_the_middle() -> None:
    slow, even, fast = (top(Pace.of(tempo, 5)) for tempo in (-1.0, 0.0, 1.0))
    assert slow < even < fast


def test_the_seed_varies_the_top_speed_by_a_few_percent() -> None:
    tops = [top(Pace.of(0.0, seed)) for seed in range(40)]
    assert max(tops) < 1.05 * top(STEADY)
    assert min(tops) > 0.95 * top(STEADY)
    assert len(set(tops)) == 40
    assert Pace.of(0.0, 7) == Pace.of(0.0, 7)

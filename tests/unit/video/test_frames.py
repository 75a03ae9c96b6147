import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kf2v.video import Frame, Size
from kf2v.video.frames import fit, size_of
from scenery import landscape, plain

SIZES = st.builds(Size, width=st.integers(16, 200), height=st.integers(16, 200))
TARGETS = st.builds(
    Size, width=st.integers(1, 10).map(lambda n: 16 * n), height=st.integers(1, 10).map(lambda n: 16 * n)
)


def disc(size: Size, radius: float) -> Frame:
    """A white disc in the middle of black."""
    ys, xs = np.mgrid[: size.height, : size.width]
    inside = (xs - (size.width - 1) / 2) ** 2 + (ys - (size.height - 1) / 2) ** 2 <= radius**2
    return np.where(inside[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=2)


def spread(frame: Frame) -> tuple[float, float, float, float]:
    """Where the light is: mean and standard deviation along x, then along y, in pixels."""
    light = frame[..., 0].astype(float)
    ys, xs = np.mgrid[: frame.shape[0], : frame.shape[1]]
    x, y = np.average(xs, weights=light), np.average(ys, weights=light)
    return x, np.sqrt(np.average((xs - x) ** 2, weights=light)), y, np.sqrt(np.average((ys - y) ** 2, weights=light))


def test_a_frame_that_fits_already_comes_back_itself() -> None:
    frame = landscape(Size(width=64, height=48))
    assert fit(frame, Size(width=64, height=48)) is frame


@settings(deadline=None)
@given(given_size=SIZES, wanted=TARGETS)
def test_every_frame_covers_the_whole_size_without_padding(given_size: Size, wanted: Size) -> None:
    fitted = fit(plain(given_size, (200, 30, 90)), wanted)
    assert size_of(fitted) == wanted
    assert fitted.dtype == np.uint8
    assert fitted.flags.c_contiguous
    # OpenCV's Lanczos weights do not always add up to one whole grey level
    assert np.abs(fitted.astype(int) - (200, 30, 90)).max() <= 1


@pytest.mark.parametrize(
    "wanted",
    [
        Size(width=320, height=320),
        Size(width=96, height=160),
        Size(width=160, height=96),
        Size(width=640, height=480),
        Size(width=480, height=720),
    ],
)
def test_a_disc_in_the_middle_stays_a_disc_in_the_middle(wanted: Size) -> None:
    x, wide, y, high = spread(fit(disc(Size(width=400, height=300), 60), wanted))
    assert wide == pytest.approx(high, rel=0.01)
    assert x == pytest.approx((wanted.width - 1) / 2, abs=0.6)
    assert y == pytest.approx((wanted.height - 1) / 2, abs=0.6)


def test_a_frame_as_wide_as_wanted_is_cropped_and_otherwise_untouched() -> None:
    frame = landscape(Size(width=96, height=100))
    assert np.array_equal(fit(frame, Size(width=96, height=64)), frame[18:82])


def test_shrinking_averages_what_falls_together() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.array_equal(np.unique(fit(stripes, Size(width=32, height=32))), [100])

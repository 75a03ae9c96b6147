import pytest
from hypothesis import given
from hypothesis import strategies as st

from kf2v.catalog.models import AREAS
from kf2v.video import Size
from kf2v.video.size import output_size

SIDES = st.integers(1, 10_000)
TIERS = st.sampled_from(sorted(AREAS.values())) | st.integers(256, 3840 * 2160)


def test_the_references_own_example_comes_out() -> None:
    assert output_size(750, 1000, 1280 * 720) == Size(width=816, height=1104)


@pytest.mark.parametrize(
    ("tier", "size"),
    [("480P", Size(width=832, height=480)), ("720P", Size(width=1280, height=720))],
)
def test_a_frame_of_the_tiers_own_shape_keeps_it(tier: str, size: Size) -> None:
    assert output_size(size.width, size.height, AREAS[tier]) == size


def test_a_full_hd_frame_loses_eight_lines_to_the_step_of_sixteen() -> None:
    assert output_size(1920, 1080, AREAS["1080P"]) == Size(width=1920, height=1072)


def test_a_picture_of_a_thread_still_gets_a_macroblock() -> None:
    assert output_size(1, 10_000, 832 * 480).width == 16


@given(width=SIDES, height=SIDES, area=TIERS)
def test_each_side_is_the_largest_multiple_of_sixteen_that_fits(width: int, height: int, area: int) -> None:
    size = output_size(width, height, area)
    for side, along, across in ((size.width, width, height), (size.height, height, width)):
        assert side % 16 == 0
        assert side == 16 or side * side * across <= area * along
        assert (side + 16) ** 2 * across > area * along


@given(width=SIDES, height=SIDES, area=TIERS)
def test_turning_the_frame_turns_the_video(width: int, height: int, area: int) -> None:
    size = output_size(width, height, area)
    assert output_size(height, width, area) == Size(width=size.height, height=size.width)


@given(ratio=st.tuples(st.integers(1, 40), st.integers(1, 40)), scale=st.integers(1, 200), area=TIERS)
def test_only_the_ratio_of_the_frame_matters(ratio: tuple[int, int], scale: int, area: int) -> None:
    assert output_size(ratio[0] * scale, ratio[1] * scale, area) == output_size(*ratio, area)


@pytest.mark.parametrize("sides", [(0, 480, 921600), (640, -1, 921600), (640, 480, 0)])
def test_nothing_has_no_size(sides: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="should be positive"):
        output_size(*sides)

"""The API's ways to write a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kf2v.wire.v1 import times

MOMENTS = st.integers(946_684_800_000, 4_102_444_800_000)


def test_tasks_print_utc_plus_8_with_three_decimals() -> None:
    assert times.render(0) == "1970-01-01 08:00:00.000"
    assert times.render(1_744_943_818_394) == "2025-04-18 10:36:58.394"


def test_policies_print_utc() -> None:
    assert times.render_iso(1_752_322_224_488) == "2025-07-12T12:10:24.488Z"


@given(MOMENTS)
def test_a_bound_reads_back_in_both_spellings(moment: int) -> None:
    assert times.parse_bound(times.render_compact(moment)) == moment // 1000 * 1000
    assert times.parse_bound(str(moment)) == moment


@pytest.mark.parametrize(
    "text", ["", "now", "-1", "20261301000000", "2026-01-01", "１７６００００００００００", "0", "9" * 13]
)
def test_anything_else_is_no_time(text: str) -> None:
    assert times.parse_bound(text) is None

import pytest

from kf2v.clock import HOUR, MINUTE, SECOND
from kf2v.notify.schedule import Schedule


def test_the_ceiling_doubles_up_to_two_hours() -> None:
    schedule = Schedule(draw=lambda: 1.0)
    pauses = [schedule.pause(tries) for tries in range(1, 14)]
    assert pauses[:4] == [5 * SECOND, 10 * SECOND, 20 * SECOND, 40 * SECOND]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 2 * HOUR
    assert schedule.pause(10_000) == 2 * HOUR


def test_every_pause_below_the_ceiling_can_be_drawn() -> None:
    assert Schedule(draw=lambda: 0.0).pause(1) == 1
    assert Schedule(draw=lambda: 0.25).pause(3) == 5 * SECOND


def test_a_host_rests_a_minute_at_most() -> None:
    schedule = Schedule()
    assert [schedule.rest(failures) for failures in (1, 2, 5, 10_000)] == [5 * SECOND, 10 * SECOND, MINUTE, MINUTE]


@pytest.mark.parametrize(
    ("header", "wished"),
    [
        ("", 0),
        ("0", 0),
        ("120", 2 * MINUTE),
        ("86400", 2 * HOUR),
        ("9" * 5_000, 2 * HOUR),
        ("1.5", 0),
        ("٣", 0),
        ("Sat, 21 Nov 2026 10:00:30 GMT", 30 * SECOND),
        ("Sat, 21 Nov 2026 10:00:30 -0000", 30 * SECOND),
        ("Sat, 21 Nov 2026 09:00:00 GMT", 0),
        ("Sun, 22 Nov 2026 10:00:00 GMT", 2 * HOUR),
        ("Fri, 99 Nov 2026 10:00:00 GMT", 0),
        ("soon", 0),
        ("Sat, 21 Nov 99999999999 10:00:30 GMT", 0),
        ("Sat, 21 Nov 2026 99999999999999999999:00:30 GMT", 0),
        ("Sat, 21 Nov 2026 10:00:30 +99999999999999999999", 0),
    ],
)
def test_retry_after_is_read_in_both_its_forms_and_bounded(header: str, wished: int) -> None:
    ten = 1_795_255_200_000  # 2026-11-21T10:00:00Z
    assert Schedule().wished(header, now=ten) == wished

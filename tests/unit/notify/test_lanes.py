from kf2v.clock import SECOND
from kf2v.notify.lanes import SPACING, WAITING, WIDTH, Lane, Standing

NOW = 1_760_000_000_000


def full() -> Lane[int]:
    lane = Lane[int]()
    lane.waiting.extend(range(WAITING))
    return lane


def send(lane: Lane[int]) -> int:
    """How many may go."""
    before = lane.under_way
    while lane.ready:
        lane.waiting.popleft()
        lane.under_way += 1
    return lane.under_way - before


def test_an_unknown_host_gets_one_at_a_time_and_a_good_one_several() -> None:
    lane = full()
    assert send(lane) == 1
    lane.under_way = 0
    lane.answered(well=True, now=NOW)
    assert send(lane) == WIDTH
    lane.under_way = 0
    lane.answered(well=False, now=NOW)
    assert send(lane) == 1


def test_a_full_lane_takes_nobody() -> None:
    lane = full()
    assert not lane.takes(NOW)
    lane.waiting.popleft()
    assert lane.takes(NOW)


def test_a_host_that_fails_rests_and_sends_all_away() -> None:
    lane = full()
    lane.answered(well=True, now=NOW)
    assert lane.failed(until=NOW + 5 * SECOND, now=NOW) == list(range(WAITING))
    assert not lane.takes(NOW + 5 * SECOND - 1)
    assert lane.takes(NOW + 5 * SECOND)
    assert lane.standing is Standing.SILENT


def test_slots_follow_one_another_after_the_rest() -> None:
    lane = Lane[int]()
    assert [lane.next_slot(NOW) for _ in range(3)] == [NOW + SECOND + n * SPACING for n in range(3)]
    lane.failed(until=NOW + 60 * SECOND, now=NOW)
    assert [lane.next_slot(NOW) for _ in range(2)] == [NOW + 60 * SECOND + n * SPACING for n in (1, 2)]


def test_a_host_is_known_by_its_last_answer_until_somebody_says_that_it_is_back() -> None:
    lane = Lane[int]()
    assert lane.standing is Standing.UNKNOWN
    lane.answered(well=True, now=NOW)
    lane.hope()
    assert lane.standing is Standing.ANSWERS
    lane.answered(well=False, now=NOW)
    assert lane.standing is Standing.UNKNOWN
    lane.failed(until=NOW + 5 * SECOND, now=NOW)
    assert lane.standing is Standing.SILENT
    lane.hope()
    assert lane.standing is Standing.UNKNOWN


def test_a_lane_is_idle_when_nothing_waits_and_nothing_is_under_way() -> None:
    lane = Lane[int]()
    assert lane.idle
    lane.under_way = 1
    assert not lane.idle
    assert not full().idle

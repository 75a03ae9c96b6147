"""How fast a far side is asked, and what its refusals mean."""

from itertools import islice, pairwise

import pytest

from kf2v.engines.remote.pace import JITTER, LATEST, SOONEST, Pace, pauses
from kf2v.engines.remote.verdict import Verdict, judge
from kf2v.net.remote_error import Garbled, Refused, TimedOut, Unreachable


def test_calls_of_all_tasks_together_keep_a_distance() -> None:
    slept: list[float] = []
    pace = Pace(10.0, monotonic=lambda: 100.0, sleep=slept.append)
    for _ in range(4):
        pace.turn()
    assert slept == pytest.approx([0.1, 0.2, 0.3])


def test_who_comes_late_does_not_wait() -> None:
    slept: list[float] = []
    times = iter([100.0, 200.0])
    pace = Pace(10.0, monotonic=lambda: next(times), sleep=slept.append)
    pace.turn()
    pace.turn()
    assert slept == []


def test_a_task_is_looked_at_less_and_less_often() -> None:
    waits = list(islice(pauses(), 30))
    assert all(SOONEST * (1 - JITTER) <= wait <= LATEST * (1 + JITTER) for wait in waits)
    assert waits[0] < LATEST / 4
    assert min(waits[10:]) >= LATEST * (1 - JITTER)
    assert len({after / before for before, after in pairwise(waits[10:])}) > 1, "no two tasks stay in step"


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (400, "InvalidParameter", Verdict.TELL),
        (400, "InvalidParameter.DataInspection", Verdict.TELL),
        (400, "InvalidURL.Timeout", Verdict.TELL),
        (400, "Arrearage", Verdict.CLOSED),
        (401, "InvalidApiKey", Verdict.CLOSED),
        (403, "DataInspectionFailed", Verdict.CLOSED),
        (408, "RequestTimeOut", Verdict.AWAY),
        (429, "Throttling", Verdict.WAIT),
        (429, "Throttling.RateQuota", Verdict.WAIT),
        (429, "Throttling.AllocationQuota", Verdict.CLOSED),
        (429, "PrepaidBillOverdue", Verdict.CLOSED),
        (500, "InvalidParameter", Verdict.AWAY),
        (503, "HTTP503", Verdict.AWAY),
        (307, "HTTP307", Verdict.CLOSED),
    ],
)
def test_a_refusal_is_the_callers_or_ours(status: int, code: str, verdict: Verdict) -> None:
    assert judge(Refused(code, "no", status=status)) is verdict


@pytest.mark.parametrize("kind", [Unreachable, TimedOut, Garbled])
def test_no_answer_is_nobodys_word(kind: type[Unreachable]) -> None:
    assert judge(kind("A", "b")) is Verdict.AWAY

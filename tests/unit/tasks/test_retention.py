"""When a task is forgotten."""

import pytest

from kf2v.clock import HOUR
from kf2v.tasks import State
from kf2v.tasks.retention import Retention
from orders import NOW, ended, running


@pytest.mark.parametrize("after, is_forgotten", [(-1, False), (0, True), (1, True)])
def test_a_task_is_forgotten_a_day_after_its_end_to_the_millisecond(after: int, is_forgotten: bool) -> None:
    assert Retention().forgotten(ended(at=NOW), NOW + 24 * HOUR + after) is is_forgotten


def test_a_task_without_an_end_is_never_forgotten() -> None:
    for state in (State.PENDING, State.RUNNING, State.REQUEUED):
        task = running(state=state)
        assert Retention().expires_at(task) is None
        assert not Retention().forgotten(task, NOW + 10_000 * HOUR)


def test_the_time_tasks_are_kept_can_be_chosen() -> None:
    retention = Retention(task=HOUR)
    assert retention.expires_at(ended(at=NOW)) == NOW + HOUR
    assert retention.forgotten(ended(at=NOW), NOW + HOUR)

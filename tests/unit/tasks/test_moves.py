"""What an event makes of a task, beyond the state that the table gives."""

from dataclasses import replace

import pytest

from kf2v.tasks import Failure, State, moves
from orders import EXHAUSTED, FAILED, LATE, MADE, NOW, order, running


def test_a_move_leaves_the_task_it_was_asked_about_alone() -> None:
    before = running()
    moves.settle(before, 1, MADE, now=NOW)
    assert before == running()


def test_every_claim_raises_the_attempt_even_when_none_was_charged() -> None:
    task = order()
    for attempt in (1, 2, 3):
        claimed = moves.claim(task, worker="w", now=NOW, until=NOW)
        assert claimed is not None
        assert (claimed.attempt, claimed.charged) == (attempt, 1)
        back = moves.hand_back(claimed, attempt)
        assert back is not None
        task = back


def test_a_lease_says_what_the_worker_needs() -> None:
    flaw = Failure(code="InvalidParameter", message="size 9")
    lease = moves.lease_of(running(flaw=flaw, attempt=4))
    assert (lease.task_id, lease.attempt, lease.worker, lease.until) == ("task-0", 4, "w", NOW + 30_000)
    assert (lease.job, lease.flaw) == (order().job, flaw)


@pytest.mark.parametrize("attempt", [0, 2])
def test_no_attempt_but_the_current_one_moves_a_task(attempt: int) -> None:
    task = running()
    assert moves.renew(task, attempt, until=NOW, phase="", progress=0.0) is None
    assert moves.settle(task, attempt, MADE, now=NOW) is None
    assert moves.hand_back(task, attempt) is None
    assert moves.lose(task, attempt, now=NOW, cap=9, exhausted=EXHAUSTED) is None
    assert moves.lose(task, attempt, now=NOW, cap=1, exhausted=EXHAUSTED) is None
    assert moves.time_out(task, attempt, LATE, now=NOW) is None


def test_a_failure_keeps_the_progress_it_failed_at_and_a_success_completes_it() -> None:
    task = running(progress=0.4, phase="generate")
    failed, made = moves.settle(task, 1, FAILED, now=NOW), moves.settle(task, 1, MADE, now=NOW)
    assert failed is not None
    assert made is not None
    assert (failed.state, failed.progress, failed.phase) == (State.FAILED, 0.4, "")
    assert (made.state, made.progress, made.phase) == (State.SUCCEEDED, 1.0, "")


def test_only_the_same_outcome_of_the_same_attempt_repeats() -> None:
    made = running(state=State.SUCCEEDED, ended_at=NOW, outcome=MADE)
    assert moves.repeats(made, 1, MADE)
    assert not moves.repeats(made, 2, MADE)
    assert not moves.repeats(made, 1, FAILED)
    assert not moves.repeats(replace(made, state=State.CANCELED, outcome=None), 1, MADE)
    assert not moves.repeats(running(), 1, MADE)

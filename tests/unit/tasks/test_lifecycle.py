"""The table of states: closed, reachable, and one-way for whoever watches."""

from kf2v.tasks import Event, State
from kf2v.tasks.lifecycle import FINAL, TABLE, WAITING, follow

#: what a client sees, in the only order it may see it
ORDER = {"PENDING": 0, "RUNNING": 1, "SUCCEEDED": 2, "FAILED": 2, "CANCELED": 2}


def reachable(start: State) -> set[State]:
    found, fresh = {start}, {start}
    while fresh:
        fresh = {after for (before, _), after in TABLE.items() if before in fresh} - found
        found |= fresh
    return found


def test_no_way_leads_out_of_a_final_state() -> None:
    assert {state for state, _ in TABLE} & FINAL == set()
    assert all(follow(state, event) is None for state in FINAL for event in Event)


def test_every_state_that_is_not_final_has_a_way_out() -> None:
    assert {state for state, _ in TABLE} == set(State) - FINAL


def test_every_state_can_be_reached_from_the_first() -> None:
    assert reachable(State.PENDING) == set(State)


def test_an_end_can_be_reached_from_every_state() -> None:
    assert all(reachable(state) & FINAL for state in State)


def test_every_event_can_happen_somewhere() -> None:
    assert {event for _, event in TABLE} == set(Event)


def test_what_a_client_sees_never_goes_backwards() -> None:
    for (before, _), after in TABLE.items():
        assert ORDER[before.shown] < ORDER[after.shown] or before.shown == after.shown == "RUNNING"


def test_a_client_sees_five_states() -> None:
    assert {state.shown for state in State} == set(ORDER)


def test_exactly_the_waiting_states_can_be_claimed() -> None:
    assert {state for state, event in TABLE if event is Event.CLAIM} == WAITING
    assert {state for state in State if state.waiting} == WAITING
    assert {after for (_, event), after in TABLE.items() if event is Event.CLAIM} == {State.RUNNING}


def test_only_what_is_shown_as_pending_can_be_cancelled() -> None:
    assert {state.shown for state, event in TABLE if event is Event.CANCEL} == {"PENDING"}


def test_only_a_running_task_succeeds() -> None:
    assert {before for (before, _), after in TABLE.items() if after is State.SUCCEEDED} == {State.RUNNING}

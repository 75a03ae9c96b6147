"""An engine that fails again and again is left out for a while, and let in again one task at a time."""

import pytest

from kf2v.admission.routing import Routing
from kf2v.clock import SECOND, ManualClock

FLASH, PLUS = "wan2.2-kf2v-flash", "wan2.1-kf2v-plus"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def routing(clock: ManualClock) -> Routing:
    routes = {FLASH: ("wan", "remote", "morph"), "*": ("remote", "morph")}
    return Routing(routes, clock=clock, failures=2, cooldown_ms=60 * SECOND)


def test_a_model_goes_its_own_way_and_the_others_that_of_the_others(routing: Routing) -> None:
    assert routing.route(FLASH) == ("wan", ("remote", "morph"))
    assert routing.route(PLUS) == ("remote", ("morph",))


def test_failures_in_a_row_open_the_breaker_and_new_tasks_go_past(routing: Routing) -> None:
    routing.failed("wan", FLASH)
    assert routing.route(FLASH)[0] == "wan"
    routing.failed("wan", FLASH)
    assert routing.route(FLASH) == ("remote", ("morph",))


def test_a_success_between_them_starts_the_count_again(routing: Routing) -> None:
    routing.failed("wan", FLASH)
    routing.worked("wan", FLASH)
    routing.failed("wan", FLASH)
    assert routing.route(FLASH)[0] == "wan"


def test_an_engine_that_lacks_one_model_makes_the_others(routing: Routing) -> None:
    routing.failed("remote", PLUS)
    routing.failed("remote", PLUS)
    routing.failed("wan", FLASH)
    routing.failed("wan", FLASH)
    assert routing.route(PLUS) == ("morph", ())
    assert routing.route(FLASH) == ("remote", ("morph",))


def opened(routing: Routing) -> None:
    routing.failed("remote", PLUS)
    routing.failed("remote", PLUS)


def test_after_a_while_one_task_is_let_through(routing: Routing, clock: ManualClock) -> None:
    opened(routing)
    clock.advance(59 * SECOND)
    assert routing.route(PLUS)[0] == "morph"
    clock.advance(SECOND)
    assert [routing.route(PLUS)[0] for _ in range(3)] == ["remote", "morph", "morph"]


def test_its_success_closes_the_breaker(routing: Routing, clock: ManualClock) -> None:
    opened(routing)
    clock.advance(60 * SECOND)
    routing.route(PLUS)
    routing.worked("remote", PLUS)
    assert [routing.route(PLUS)[0] for _ in range(2)] == ["remote", "remote"]
    routing.failed("remote", PLUS)
    assert routing.route(PLUS)[0] == "remote"


def test_its_failure_opens_it_for_as_long_again(routing: Routing, clock: ManualClock) -> None:
    opened(routing)
    clock.advance(60 * SECOND)
    routing.route(PLUS)
    routing.failed("remote", PLUS)
    clock.advance(59 * SECOND)
    assert routing.route(PLUS)[0] == "morph"
    clock.advance(SECOND)
    assert routing.route(PLUS)[0] == "remote"


def test_a_trial_that_nothing_is_heard_of_is_followed_by_another(routing: Routing, clock: ManualClock) -> None:
    opened(routing)
    clock.advance(60 * SECOND)
    assert routing.route(PLUS)[0] == "remote"
    clock.advance(60 * SECOND)
    assert [routing.route(PLUS)[0] for _ in range(2)] == ["remote", "morph"]


def test_what_was_under_way_and_fails_later_does_not_prolong_it(routing: Routing, clock: ManualClock) -> None:
    opened(routing)
    clock.advance(59 * SECOND)
    routing.failed("remote", PLUS)
    clock.advance(SECOND)
    assert routing.route(PLUS)[0] == "remote"


def test_what_was_under_way_and_is_made_closes_it(routing: Routing) -> None:
    opened(routing)
    routing.worked("remote", PLUS)
    assert routing.route(PLUS)[0] == "remote"


def test_where_all_are_out_of_order_the_last_one_is_used(routing: Routing) -> None:
    opened(routing)
    routing.failed("morph", PLUS)
    routing.failed("morph", PLUS)
    assert routing.route(PLUS) == ("morph", ())


def test_one_shows_how_each_engine_is(routing: Routing, clock: ManualClock) -> None:
    assert routing.state() == {"wan": "closed", "remote": "closed", "morph": "closed"}
    opened(routing)
    routing.worked("remote", FLASH)
    assert routing.state() == {"wan": "closed", "remote": "open", "morph": "closed"}
    clock.advance(60 * SECOND)
    routing.route(PLUS)
    assert routing.state()["remote"] == "half-open"

"""A process that several workers share is ended when none of them is to be reached, and not before."""

import math

import pytest

from kf2v.worker.pools.shared import Shared


class Watch:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


def silent(worker: str) -> float:
    """Nobody is heard of."""
    del worker
    return math.inf


def test_it_is_not_ended_for_one_of_them(watch: Watch) -> None:
    shared = Shared(2, within=60.0, silence=silent, monotonic=watch)
    assert not shared.beyond_reach("r1-a.1")
    assert not shared.beyond_reach("r1-a.1")
    assert not shared.beyond_reach("r1-b.2")


def test_it_is_ended_when_all_of_them_are_told_of_at_about_the_same_time(watch: Watch) -> None:
    shared = Shared(2, within=60.0, silence=silent, monotonic=watch)
    shared.beyond_reach("r1-a.1")
    watch.now += 61.0
    assert not shared.beyond_reach("r1-a.2"), "the first was told of long ago, and works again"
    watch.now += 59.0
    assert shared.beyond_reach("r1-a.1")


def test_one_that_is_heard_of_again_is_no_longer_out_of_reach(watch: Watch) -> None:
    heard = {"r1-a.1": watch.now, "r1-a.2": watch.now}
    shared = Shared(2, within=60.0, silence=lambda worker: watch.now - heard[worker], monotonic=watch)
    watch.now += 5.0
    shared.beyond_reach("r1-a.1")
    watch.now += 1.0
    heard["r1-a.1"] = watch.now
    watch.now += 1.0
    assert not shared.beyond_reach("r1-a.2"), "the first has other work by now"
    watch.now += 30.0
    assert shared.beyond_reach("r1-a.1")


def test_one_that_lives_alone_is_all_there_is(watch: Watch) -> None:
    assert Shared(1, within=60.0, silence=silent, monotonic=watch).beyond_reach("r1-a.1")


def test_what_ended_is_forgotten(watch: Watch) -> None:
    shared = Shared(2, within=60.0, silence=silent, monotonic=watch)
    shared.beyond_reach("r1-a.1")
    shared.ended("r1-a")
    assert not shared.beyond_reach("r1-a.2")

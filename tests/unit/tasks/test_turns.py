"""Whose turn it is, of what waits and what runs."""

from typing import Any

from kf2v.tasks.turns import Head, Line, choose, position, unlimited


def head(account: str, **changes: Any) -> Head:
    values = {"task_id": account, "account": account, "model": "m", "priority": 0, "submitted_at": 0, "seq": 0}
    return Head(**(values | changes))


def line(account: str, running: int, *, model: str = "m", engine: str = "e") -> Line:
    return Line(account=account, model=model, engine=engine, waiting=1, running=running)


def chosen(*heads: Head, lines: tuple[Line, ...] = (), **served: int) -> str | None:
    found = choose(heads, lines, served=served, caps=unlimited)
    return None if found is None else found.task_id


def test_where_nothing_waits_nobody_is_next() -> None:
    assert chosen() is None


def test_priority_comes_before_everything_else() -> None:
    busy = (line("a", 9), line("b", 0))
    assert chosen(head("a", priority=1, submitted_at=9, seq=9), head("b"), lines=busy, a=9) == "a"


def test_the_fewest_running_come_before_the_longest_unserved() -> None:
    assert chosen(head("a", submitted_at=9), head("b"), lines=(line("a", 1), line("b", 2)), a=9, b=1) == "a"


def test_what_runs_is_added_up_over_models_and_engines() -> None:
    spread = (line("a", 1, model="x"), line("a", 1, engine="y"), line("b", 1))
    assert chosen(head("a"), head("b", submitted_at=9), lines=spread) == "b"


def test_the_longest_unserved_comes_before_the_longest_waiting() -> None:
    assert chosen(head("a", submitted_at=9), head("b"), a=1, b=2) == "a"


def test_who_was_never_served_comes_before_everybody_who_was() -> None:
    assert chosen(head("a", submitted_at=9), head("b"), b=1) == "a"


def test_the_longest_waiting_comes_before_the_first_inserted() -> None:
    assert chosen(head("a", submitted_at=1, seq=9), head("b", submitted_at=2, seq=1)) == "a"
    assert chosen(head("a", seq=2), head("b", seq=1)) == "b"


def test_a_cap_passes_over_its_account_and_model_alone() -> None:
    heads = (head("a"), head("a", task_id="a-other", model="n", submitted_at=1), head("b", submitted_at=2))
    full = (line("a", 1), line("a", 1, engine="y"))

    def capped(cap: int) -> str | None:
        found = choose(
            heads, full, served={}, caps=lambda account, model: cap if (account, model) == ("a", "m") else None
        )
        return None if found is None else found.task_id

    assert choose(heads[:2], full, served={}, caps=lambda account, model: 2 if model == "m" else None) == heads[1]
    assert capped(2) == "b"
    assert choose(heads[:1], full, served={}, caps=lambda account, model: 3) == heads[0]
    assert choose(heads[:1], full, served={}, caps=lambda account, model: 2) is None


def test_a_place_is_what_the_account_and_the_others_rounds_have_before_it() -> None:
    waiting = {"me": 50, "few": 1, "many": 100}
    assert [position("me", ahead, waiting, served={}) for ahead in (0, 1, 2, 10)] == [0, 3, 5, 21]


def test_who_was_served_longer_ago_is_one_round_before() -> None:
    waiting = {"me": 5, "early": 3, "late": 3}
    assert position("me", 0, waiting, served={"me": 2, "early": 1, "late": 3}) == 1
    assert position("me", 1, waiting, served={"me": 2, "early": 1, "late": 3}) == 1 + 2 + 1
    assert position("me", 0, {"me": 1}, served={"me": 9}) == 0

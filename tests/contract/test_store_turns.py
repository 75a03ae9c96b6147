"""What every store owes those who wait: what was said once counts once, and everybody has his turn."""

import asyncio
from dataclasses import replace

import pytest

from kf2v.store import Footage, Line, Note, Once, OnceTaken, QueueFull, Store
from kf2v.tasks import State
from kf2v.tasks.turns import Caps, unlimited
from orders import EXHAUSTED, FAILED, LATE, MADE, NOW, ended, job, order, running

pytestmark = pytest.mark.anyio

STILL = frozenset({"still"})
BOTH = frozenset({"still", "morph"})
LATER = NOW + 1_000
UNTIL = NOW + 31_000
FLASH, PLUS = "wan2.2-kf2v-flash", "wan2.1-kf2v-plus"


def word(digest: str = "a", *, key: str = "once", since: int = NOW - 5_000) -> Once:
    return Once(key=key, digest=digest, since=since)


async def claimed(
    store: Store, times: int = 1, *, engines: frozenset[str] = STILL, caps: Caps = unlimited
) -> list[str | None]:
    """The tasks that so many claims get, in their order."""
    leases = [await store.claim("w", engines=engines, now=LATER, until=UNTIL, caps=caps) for _ in range(times)]
    return [lease and lease.task_id for lease in leases]


async def queue(store: Store, account: str, count: int, *, first: int = 0, **changes: object) -> None:
    """``account-0`` … in the order of their submission."""
    for number in range(count):
        await store.insert(order(first + number, id=f"{account}-{number}", account=account, **changes))  # type: ignore[arg-type]


# --- words that count once


async def test_the_same_word_twice_is_one_task(store: Store) -> None:
    assert await store.insert(order(0), once=word()) == "task-0"
    assert await store.insert(order(1), once=word()) == "task-0"
    assert await store.get("task-1") is None
    assert await store.once("mine", "once", since=NOW) == ("a", "task-0")


async def test_another_submission_under_the_same_word_is_refused(store: Store) -> None:
    await store.insert(order(0), once=word())
    with pytest.raises(OnceTaken):
        await store.insert(order(1), once=word("b"))
    assert await store.counts() == {State.PENDING: 1}


async def test_a_word_belongs_to_one_account(store: Store) -> None:
    await store.insert(order(0), once=word())
    assert await store.insert(order(1, account="theirs"), once=word("b")) == "task-1"
    assert await store.once("nobody", "once", since=0) is None


async def test_a_word_said_too_long_ago_counts_again(store: Store) -> None:
    await store.insert(order(0), once=word())
    assert await store.once("mine", "once", since=NOW + 1) is None
    assert await store.insert(order(1), once=word("b", since=NOW + 1)) == "task-1"
    assert await store.once("mine", "once", since=0) == ("b", "task-1")


async def test_many_at_once_with_one_word_become_one_task(store: Store) -> None:
    answers = await asyncio.gather(*(store.insert(order(number), once=word()) for number in range(30)))
    assert len(set(answers)) == 1
    assert await store.counts() == {State.PENDING: 1}


async def test_a_word_outlives_its_task_and_is_forgotten_in_its_own_time(store: Store) -> None:
    await store.insert(ended(0, at=NOW), once=word())
    await store.forget(ended_before=NOW, limit=9)
    assert await store.insert(order(1), once=word()) == "task-0"
    assert await store.forget_onces(created_before=NOW - 1, limit=9) == 0
    assert await store.forget_onces(created_before=NOW, limit=9) == 1
    assert await store.insert(order(1), once=word()) == "task-1"


async def test_words_are_forgotten_no_more_than_asked_for(store: Store) -> None:
    for number in range(5):
        await store.insert(order(number), once=word(key=f"word-{number}"))
    assert [await store.forget_onces(created_before=NOW + 9, limit=2) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_repeated_word_needs_no_room(store: Store) -> None:
    await store.insert(order(0), once=word(), room=1)
    assert await store.insert(order(1), once=word(), room=1) == "task-0"


async def test_a_refused_submission_leaves_no_word(store: Store) -> None:
    with pytest.raises(QueueFull):
        await store.insert(order(0), once=word(), room=0)
    assert await store.once("mine", "once", since=0) is None


# --- room


async def test_exactly_as_many_wait_as_there_is_room_for(store: Store) -> None:
    await store.insert(order(100, model=PLUS))
    await store.insert(order(101, account="theirs"))
    answers = await asyncio.gather(
        *(store.insert(order(number), room=7) for number in range(20)), return_exceptions=True
    )
    assert sum(isinstance(answer, QueueFull) for answer in answers) == 13
    assert sum(isinstance(answer, str) for answer in answers) == 7


async def test_what_runs_takes_no_room_and_what_was_given_back_does(store: Store) -> None:
    await store.insert(order(0), room=1)
    await claimed(store)
    await store.insert(order(1), room=1)
    await store.cancel("task-1", now=LATER)
    await store.hand_back("task-0", 1)
    with pytest.raises(QueueFull):
        await store.insert(order(2), room=1)
    await store.insert(order(2), room=2)


async def test_room_counts_a_model_on_all_its_engines(store: Store) -> None:
    await store.insert(order(0, engine="morph"))
    with pytest.raises(QueueFull):
        await store.insert(order(1, engine="still"), room=1)


# --- turns


async def test_a_higher_priority_is_served_first_whoever_has_it(store: Store) -> None:
    await queue(store, "mine", 2)
    await queue(store, "theirs", 2, first=10, priority=5)
    await store.insert(order(20, id="least", priority=-1))
    assert await claimed(store, 6) == ["theirs-0", "theirs-1", "mine-0", "mine-1", "least", None]


async def test_within_an_account_priority_comes_before_age(store: Store) -> None:
    await store.insert(order(0))
    await store.insert(order(1, priority=1))
    await store.insert(order(2, priority=1))
    assert await claimed(store, 3) == ["task-1", "task-2", "task-0"]


async def test_whoever_has_the_fewest_running_is_next(store: Store) -> None:
    await queue(store, "a", 4)
    await queue(store, "b", 2, first=10)
    assert await claimed(store, 6) == ["a-0", "b-0", "a-1", "b-1", "a-2", "a-3"]


async def test_what_runs_on_other_engines_counts_too(store: Store) -> None:
    await queue(store, "a", 2)
    await store.insert(order(5, id="a-morph", account="a", engine="morph"))
    await queue(store, "b", 1, first=10)
    assert await claimed(store, engines=frozenset({"morph"})) == ["a-morph"]
    assert await claimed(store, 3) == ["b-0", "a-0", "a-1"]


async def test_among_those_with_as_many_running_the_one_served_longest_ago_is_next(store: Store) -> None:
    await queue(store, "a", 3)
    await queue(store, "b", 2, first=10)
    served = []
    for _ in range(5):  # a single worker
        (task_id,) = await claimed(store)
        assert task_id is not None
        served.append(task_id)
        await store.settle(task_id, 1, FAILED, now=LATER)
    assert served == ["a-0", "b-0", "a-1", "b-1", "a-2"]


async def test_one_with_thousands_waiting_delays_anothers_first_by_what_runs_already(store: Store) -> None:
    await asyncio.gather(
        *(store.insert(order(number, id=f"crowd-{number}", account="crowd")) for number in range(2_000))
    )
    await claimed(store, 3)
    await store.insert(order(9_000, id="single", account="single"))
    assert await store.place("single") == 0
    assert await claimed(store) == ["single"]


async def test_what_workers_lost_or_gave_back_is_first_in_its_own_account_and_in_no_others(store: Store) -> None:
    await queue(store, "crowd", 6)
    await claimed(store, 4)
    for task_id in ("crowd-0", "crowd-1"):
        await store.lose(task_id, 1, now=LATER, cap=3, exhausted=EXHAUSTED)
    for task_id in ("crowd-2", "crowd-3"):
        await store.hand_back(task_id, 1)
    await queue(store, "single", 2, first=10)
    assert await claimed(store, 4) == ["single-0", "crowd-0", "single-1", "crowd-1"]
    assert await claimed(store, 3, caps=lambda account, model: 3) == ["crowd-2", None, None]


async def test_a_cap_holds_back_one_model_of_one_account_only(store: Store) -> None:
    await queue(store, "a", 3)
    await store.insert(order(5, id="a-plus", account="a", model=PLUS))
    await queue(store, "b", 3, first=10)

    def caps(account: str, model: str) -> int | None:
        return 1 if (account, model) == ("a", FLASH) else None

    assert await claimed(store, 6, caps=caps) == ["a-0", "b-0", "a-plus", "b-1", "b-2", None]
    await store.settle("a-0", 1, FAILED, now=LATER)
    assert await claimed(store, 2, caps=caps) == ["a-1", None]


async def test_a_cap_counts_what_runs_on_every_engine(store: Store) -> None:
    await store.insert(order(0, engine="morph"))
    await store.insert(order(1))
    await claimed(store, engines=frozenset({"morph"}))
    assert await claimed(store, caps=lambda account, model: 1) == [None]
    assert await claimed(store, caps=lambda account, model: 2) == ["task-1"]


async def test_a_cap_of_zero_lets_nothing_run(store: Store) -> None:
    await store.insert(order(0))
    assert await claimed(store, caps=lambda account, model: 0) == [None]


# --- places and lines


async def test_a_place_counts_what_starts_before(store: Store) -> None:
    await queue(store, "a", 3)
    await queue(store, "b", 5, first=10)
    await store.insert(order(20, id="elsewhere", account="c", engine="morph"))
    assert [await store.place(f"a-{number}") for number in range(3)] == [0, 2, 4]
    assert [await store.place(f"b-{number}") for number in range(5)] == [0, 2, 4, 6, 7]
    assert await store.place("elsewhere") == 0
    assert await store.place("missing") is None


async def test_whoever_was_just_served_has_one_more_before_him(store: Store) -> None:
    await queue(store, "a", 2)
    await queue(store, "b", 2, first=10)
    assert await claimed(store) == ["a-0"]
    assert await store.place("a-0") is None
    assert await store.place("a-1") == 1
    assert await store.place("b-0") == 0


async def test_a_place_goes_by_priority_within_the_account(store: Store) -> None:
    await queue(store, "a", 2)
    await store.insert(order(9, id="urgent", account="a", priority=1))
    assert [await store.place(name) for name in ("urgent", "a-0", "a-1")] == [0, 1, 2]


def line(waiting: int, running: int, *, account: str = "mine", model: str = FLASH, engine: str = "still") -> Line:
    return Line(account=account, model=model, engine=engine, waiting=waiting, running=running)


async def test_lines_follow_every_change(store: Store) -> None:
    assert await store.lines() == ()
    for number in range(4):
        await store.insert(order(number, job=job(fallbacks=("morph",))))
    assert await store.lines() == (line(4, 0),)
    await claimed(store, 3)
    assert await store.lines() == (line(1, 3),)
    await store.renew("task-0", 1, until=UNTIL, phase="x", progress=0.5)
    assert await store.lines() == (line(1, 3),)
    await store.hand_back("task-0", 1)
    assert await store.lines() == (line(2, 2),)
    await store.reroute("task-1", 1)
    assert await store.lines() == (line(1, 0, engine="morph"), line(2, 1))
    await store.lose("task-2", 1, now=LATER, cap=9, exhausted=EXHAUSTED)
    assert await store.lines() == (line(1, 0, engine="morph"), line(3, 0))
    await store.cancel("task-3", now=LATER)
    await store.stop("task-2", now=LATER)
    await store.time_out("task-1", 1, LATE, now=LATER)
    assert await store.lines() == (line(1, 0),)
    await claimed(store)
    assert await store.lines() == (line(0, 1),)
    await store.settle("task-0", 2, MADE, now=LATER)
    assert await store.lines() == ()
    await store.forget(ended_before=LATER, limit=9)
    assert await store.lines() == ()


async def test_lines_are_apart_by_account_model_and_engine(store: Store) -> None:
    for number, (account, model, engine) in enumerate(
        (("b", FLASH, "still"), ("a", PLUS, "still"), ("a", FLASH, "still"), ("a", FLASH, "morph"))
    ):
        await store.insert(order(number, account=account, model=model, engine=engine))
    assert [(found.account, found.model, found.engine) for found in await store.lines()] == [
        ("a", PLUS, "still"),
        ("a", FLASH, "morph"),
        ("a", FLASH, "still"),
        ("b", FLASH, "still"),
    ]


async def test_what_has_not_ended_comes_to_so_much_apart_by_price(store: Store) -> None:
    small = job(resolution="480P", fallbacks=("morph",))
    assert await store.promised("mine") == ()
    for number in range(3):
        await store.insert(order(number, job=small))
    await store.insert(order(3, region="local"))
    await store.insert(order(4, model=PLUS))
    await claimed(store, 2)
    await store.reroute("task-0", 1)
    await store.insert(order(5, account="theirs"))
    plus, local = film("720P", 5, model=PLUS), film("720P", 5, region="local")
    assert await store.promised("mine") == (plus, film("480P", 15), local)
    await store.settle("task-1", 1, MADE, now=LATER)
    await store.cancel("task-2", now=LATER)
    await store.cancel("task-3", now=LATER)
    assert await store.promised("mine") == (plus, film("480P", 5))
    assert await store.promised("theirs") == (film("720P", 5),)


def film(resolution: str, seconds: int, *, model: str = FLASH, region: str = "ap-southeast-1") -> Footage:
    return Footage(region=region, model=model, resolution=resolution, seconds=seconds)


# --- stop and reroute


@pytest.mark.parametrize("state", State)
async def test_a_stop_ends_whatever_has_not_ended(store: Store, state: State) -> None:
    before = running(state=state, progress=0.5, phase="generate")
    await store.insert(before)
    stopped = await store.stop("task-0", now=LATER)
    if state.final:
        assert stopped is None
        assert await store.get("task-0") == before
        return
    assert stopped == before
    after = replace(before, state=State.CANCELED, ended_at=LATER, lease_until=None, phase="")
    assert await store.get("task-0") == after
    assert not await store.renew("task-0", 1, until=UNTIL, phase="x", progress=0.9)
    assert await claimed(store) == [None]


async def test_a_reroute_queues_for_the_next_engine_uncharged(store: Store) -> None:
    await store.insert(running(job=job(engine="wan", fallbacks=("morph", "still")), phase="generate", progress=0.5))
    moved = await store.reroute("task-0", 1)
    assert moved == running(
        state=State.REQUEUED,
        job=job(engine="morph", fallbacks=("still",)),
        charged=0,
        worker=None,
        lease_until=None,
    )
    assert await store.get("task-0") == moved
    assert await claimed(store, engines=frozenset({"wan", "still"})) == [None]
    assert await claimed(store, engines=frozenset({"morph"})) == ["task-0"]
    assert await store.place("task-0") is None


async def test_there_is_no_reroute_without_a_fallback_or_a_lease(store: Store) -> None:
    await store.insert(running(0))
    await store.insert(running(1, job=job(fallbacks=("morph",))))
    assert await store.reroute("task-0", 1) is None
    assert await store.reroute("task-1", 2) is None
    assert await store.get("task-0") == running(0)
    assert await store.get("task-1") == running(1, job=job(fallbacks=("morph",)))


# --- kept, deleted, noted


async def test_what_is_kept_stays_until_it_is_no_longer(store: Store) -> None:
    await store.insert(ended(0, at=NOW))
    await store.get("task-0")
    assert await store.keep("task-0", kept=True)
    assert await store.get("task-0") == ended(0, at=NOW, kept=True)
    assert await store.forget(ended_before=LATER, limit=9) == ()
    assert await store.keep("task-0", kept=False)
    assert await store.forget(ended_before=LATER, limit=9) == (ended(0, at=NOW),)
    assert not await store.keep("task-0", kept=True)


async def test_a_task_may_be_kept_before_it_has_ended(store: Store) -> None:
    await store.insert(running())
    await store.keep("task-0", kept=True)
    await store.settle("task-0", 1, MADE, now=LATER)
    assert await store.forget(ended_before=LATER, limit=9) == ()


@pytest.mark.parametrize("state", State)
async def test_only_what_has_ended_is_deleted_kept_or_not(store: Store, state: State) -> None:
    task = running(state=state, ended_at=LATER if state.final else None, kept=True)
    await store.insert(task)
    await store.get("task-0")
    assert await store.delete("task-0") == (task if state.final else None)
    assert await store.get("task-0") == (None if state.final else task)
    assert await store.delete("missing") is None


async def test_notes_are_read_in_their_order_and_go_with_the_task(store: Store) -> None:
    for number in range(3):
        await store.insert(ended(number, at=NOW + number))
        await store.note(f"task-{number}", "第一", now=NOW + 5)
        await store.note(f"task-{number}", "second", now=NOW + 3)
    await store.note("missing", "nobody reads this", now=NOW)
    assert await store.notes("task-0") == (Note(at=NOW + 5, text="第一"), Note(at=NOW + 3, text="second"))
    await store.forget(ended_before=NOW, limit=1)
    await store.delete("task-1")
    assert [len(await store.notes(f"task-{number}")) for number in range(3)] == [0, 0, 2]
    assert await store.notes("missing") == ()
    await store.insert(order(0))
    assert await store.notes("task-0") == ()

"""What every store owes: each task moves as the table says, to one worker at a time, and is forgotten once."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kf2v.store import IdTaken, Settled, Store, TaskQuery
from kf2v.store.memory import MemoryStore
from kf2v.store.sqlite import SqliteStore
from kf2v.tasks import Event, Failure, State, Task
from kf2v.tasks.lifecycle import follow
from orders import EXHAUSTED, FAILED, LATE, MADE, NOW, ended, job, key, order, running, upload

pytestmark = pytest.mark.anyio

STILL = frozenset({"still"})
LATER = NOW + 1_000
UNTIL = NOW + 31_000


async def state_of(store: Store, task_id: str) -> State:
    task = await store.get(task_id)
    assert task is not None
    return task.state


def query(**changes: object) -> TaskQuery:
    return TaskQuery(**{"account": "mine", "forgotten_before": 0, **changes})  # type: ignore[arg-type]


async def listed(store: Store, **changes: object) -> list[str]:
    page = await store.find(query(**changes))
    assert page.total == len(page.tasks)
    return [task.id for task in page.tasks]


# --- tasks as they come and go


async def test_what_was_inserted_reads_back_whole(store: Store) -> None:
    for number, task in enumerate(
        (
            order(),
            order(workspace="ws", flaw=Failure(code="InvalidParameter", message="size 9")),
            running(phase="generate", progress=0.25),
            order(state=State.SUCCEEDED, scheduled_at=NOW, ended_at=LATER, attempt=3, charged=2, outcome=MADE),
            order(state=State.CANCELED, ended_at=LATER),
            order(priority=-3, callback="https://example.com/回调", kept=True, job=job(fallbacks=("morph", "wan"))),
        )
    ):
        kept = replace(task, id=f"kept-{number}")
        await store.insert(kept)
        assert await store.get(kept.id) == kept


async def test_there_is_no_task_under_an_unknown_id(store: Store) -> None:
    assert await store.get("task-0") is None


async def test_an_id_is_taken_once_and_the_first_task_stays(store: Store) -> None:
    await store.insert(order())
    with pytest.raises(IdTaken):
        await store.insert(order(account="theirs"))
    assert await store.get("task-0") == order()


async def test_one_refused_insert_among_many_fails_alone(store: Store) -> None:
    await store.insert(order(3))
    answers = await asyncio.gather(*(store.insert(order(number)) for number in range(8)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [IdTaken if n == 3 else str for n in range(8)]
    assert await store.counts() == {State.PENDING: 8}


# --- the table


Act = Callable[[Store, Task], Awaitable[object]]

ACTS: dict[Event, Act] = {
    Event.CLAIM: lambda store, task: store.claim("w2", engines=frozenset({task.job.engine}), now=LATER, until=UNTIL),
    Event.RENEW: lambda store, task: store.renew(task.id, task.attempt, until=UNTIL, phase="x", progress=0.5),
    Event.LOSE: lambda store, task: store.lose(
        task.id, task.attempt, now=LATER, cap=task.charged + 1, exhausted=EXHAUSTED
    ),
    Event.EXHAUST: lambda store, task: store.lose(
        task.id, task.attempt, now=LATER, cap=task.charged, exhausted=EXHAUSTED
    ),
    Event.HAND_BACK: lambda store, task: store.hand_back(task.id, task.attempt),
    Event.TIME_OUT: lambda store, task: store.time_out(task.id, task.attempt, LATE, now=LATER),
    Event.SUCCEED: lambda store, task: store.settle(task.id, task.attempt, MADE, now=LATER),
    Event.FAIL: lambda store, task: store.settle(task.id, task.attempt, FAILED, now=LATER),
    Event.CANCEL: lambda store, task: store.cancel(task.id, now=LATER),
    Event.STOP: lambda store, task: store.stop(task.id, now=LATER),
    Event.REROUTE: lambda store, task: store.reroute(task.id, task.attempt),
}
#: what the methods answer when nothing happened
REFUSALS = (None, False, Settled.LOST)


async def test_every_event_in_every_state_does_what_the_table_says(store: Store) -> None:
    seen: dict[tuple[State, Event], tuple[bool, State]] = {}
    said: dict[tuple[State, Event], tuple[bool, State]] = {}
    for state in State:
        for event, act in ACTS.items():
            engines = {"engine": f"{state} {event}", "fallbacks": (f"{state} {event} then",)}
            task = running(state=state, id=f"{state} {event}", job=job(**engines))
            await store.insert(task)
            happened = await act(store, task) not in REFUSALS
            seen[state, event] = happened, await state_of(store, task.id)
            follows = follow(state, event)
            said[state, event] = follows is not None, state if follows is None else follows
    assert len(seen) == len(State) * len(Event)
    assert seen == said


@pytest.mark.parametrize("event", [event for event in Event if event is not Event.CLAIM])
async def test_no_event_happens_to_a_task_that_is_not_there(store: Store, event: Event) -> None:
    assert await ACTS[event](store, running()) in REFUSALS


async def test_an_event_that_cannot_happen_changes_nothing(store: Store) -> None:
    done = running(state=State.SUCCEEDED, ended_at=NOW, outcome=MADE)
    await store.insert(done)
    for event in Event:
        await ACTS[event](store, done)
    assert await store.get(done.id) == done


async def test_no_task_can_be_claimed_that_was_cancelled(store: Store) -> None:
    await store.insert(order())
    assert await store.cancel("task-0", now=LATER)
    assert await store.claim("w", engines=STILL, now=LATER, until=UNTIL) is None
    assert await store.get("task-0") == order(state=State.CANCELED, ended_at=LATER)


# --- claims


async def test_a_claim_counts_charges_and_dates_the_first_start(store: Store) -> None:
    flawed = order(flaw=Failure(code="InvalidParameter", message="size 9"))
    await store.insert(flawed)
    lease = await store.claim("w", engines=STILL, now=LATER, until=UNTIL)
    assert lease is not None
    assert (lease.task_id, lease.attempt, lease.worker, lease.until) == ("task-0", 1, "w", UNTIL)
    assert (lease.job, lease.flaw) == (flawed.job, flawed.flaw)
    assert await store.get("task-0") == replace(
        flawed, state=State.RUNNING, scheduled_at=LATER, attempt=1, charged=1, worker="w", lease_until=UNTIL
    )


async def test_a_second_claim_keeps_the_date_of_the_first(store: Store) -> None:
    await store.insert(running(attempt=1))
    await store.hand_back("task-0", 1)
    await store.claim("w2", engines=STILL, now=NOW + 5_000, until=UNTIL)
    task = await store.get("task-0")
    assert task is not None
    assert (task.scheduled_at, task.attempt, task.worker) == (NOW, 2, "w2")


async def test_nothing_waits_for_an_engine_nobody_ordered(store: Store) -> None:
    await store.insert(order(engine="wan"))
    assert await store.claim("w", engines=STILL, now=LATER, until=UNTIL) is None
    assert await store.claim("w", engines=frozenset(), now=LATER, until=UNTIL) is None


async def test_the_longest_waiting_task_of_all_ones_engines_comes_first(store: Store) -> None:
    for number, engine in ((3, "still"), (1, "morph"), (2, "still"), (0, "wan")):
        await store.insert(order(number, engine=engine))
    engines = frozenset({"still", "morph"})
    leases = [await store.claim("w", engines=engines, now=LATER, until=UNTIL) for _ in range(4)]
    assert [lease and lease.task_id for lease in leases] == ["task-1", "task-2", "task-3", None]


async def test_tasks_of_the_same_millisecond_start_in_the_order_they_came(store: Store) -> None:
    names = ["c", "a", "d", "b"]
    for place, name in enumerate(names):
        await store.insert(order(id=name, engine="still" if place % 2 else "morph"))
    engines = frozenset({"still", "morph"})
    leases = [await store.claim("w", engines=engines, now=LATER, until=UNTIL) for _ in names]
    assert [lease and lease.task_id for lease in leases] == names


async def test_a_task_given_back_has_kept_its_place(store: Store) -> None:
    for number in range(3):
        await store.insert(order(number))
    first = await store.claim("w", engines=STILL, now=LATER, until=UNTIL)
    assert first is not None
    assert await store.hand_back(first.task_id, first.attempt)
    again = await store.claim("w2", engines=STILL, now=LATER, until=UNTIL)
    assert again is not None
    assert again.task_id == first.task_id


async def test_many_who_claim_at_once_never_get_the_same_task(store: Store) -> None:
    await asyncio.gather(*(store.insert(order(number)) for number in range(40)))
    claims = (store.claim(f"w{n}", engines=STILL, now=LATER, until=UNTIL) for n in range(60))
    leases = [lease for lease in await asyncio.gather(*claims) if lease is not None]
    assert sorted(lease.task_id for lease in leases) == sorted(f"task-{number}" for number in range(40))
    assert {lease.attempt for lease in leases} == {1}


# --- leases


async def test_a_heartbeat_prolongs_the_lease_and_tells_the_progress(store: Store) -> None:
    await store.insert(running())
    assert await store.renew("task-0", 1, until=UNTIL, phase="generate", progress=0.5)
    assert await store.get("task-0") == running(lease_until=UNTIL, phase="generate", progress=0.5)


async def test_handing_back_is_not_charged_but_counted(store: Store) -> None:
    await store.insert(running(phase="generate", progress=0.5))
    assert await store.hand_back("task-0", 1)
    assert await store.get("task-0") == running(state=State.REQUEUED, charged=0, worker=None, lease_until=None)


async def test_a_lost_worker_is_charged_until_the_cap(store: Store) -> None:
    await store.insert(order())
    ends = []
    for attempt in (1, 2, 3):
        await store.claim("w", engines=STILL, now=LATER, until=UNTIL)
        ends.append(await store.lose("task-0", attempt, now=LATER, cap=3, exhausted=EXHAUSTED))
    assert ends == [State.REQUEUED, State.REQUEUED, State.FAILED]
    task = await store.get("task-0")
    assert task is not None
    assert (task.outcome, task.ended_at, task.charged, task.lease_until) == (EXHAUSTED, LATER, 3, None)


async def test_an_attempt_given_back_does_not_bring_the_cap_nearer(store: Store) -> None:
    await store.insert(order())
    for attempt in (1, 2, 3, 4):
        await store.claim("w", engines=STILL, now=LATER, until=UNTIL)
        assert await store.hand_back("task-0", attempt)
    await store.claim("w", engines=STILL, now=LATER, until=UNTIL)
    assert await store.lose("task-0", 5, now=LATER, cap=2, exhausted=EXHAUSTED) is State.REQUEUED


async def test_an_old_attempt_has_no_say_after_a_requeue(store: Store) -> None:
    await store.insert(order())
    old = await store.claim("w", engines=STILL, now=LATER, until=UNTIL)
    assert old is not None
    await store.lose("task-0", old.attempt, now=LATER, cap=3, exhausted=EXHAUSTED)
    for is_claimed_again in (False, True):
        if is_claimed_again:
            await store.claim("w2", engines=STILL, now=LATER, until=UNTIL)
        before = await store.get("task-0")
        assert not await store.renew("task-0", old.attempt, until=UNTIL, phase="x", progress=0.9)
        assert await store.settle("task-0", old.attempt, MADE, now=LATER) is Settled.LOST
        assert await store.settle("task-0", old.attempt, FAILED, now=LATER) is Settled.LOST
        assert not await store.hand_back("task-0", old.attempt)
        assert await store.lose("task-0", old.attempt, now=LATER, cap=3, exhausted=EXHAUSTED) is None
        assert await store.get("task-0") == before
    assert await state_of(store, "task-0") is State.RUNNING
    assert not await store.time_out("task-0", old.attempt, LATE, now=LATER)


# --- ends


async def test_a_success_keeps_everything_the_worker_reports(store: Store) -> None:
    await store.insert(running(progress=0.9, phase="keep"))
    assert await store.settle("task-0", 1, MADE, now=LATER) is Settled.RECORDED
    assert await store.get("task-0") == running(
        state=State.SUCCEEDED, ended_at=LATER, lease_until=None, outcome=MADE, progress=1.0
    )


async def test_the_same_last_word_twice_is_known_and_any_other_is_lost(store: Store) -> None:
    await store.insert(running())
    assert await store.settle("task-0", 1, MADE, now=LATER) is Settled.RECORDED
    kept = await store.get("task-0")
    other = replace(MADE, video=replace(MADE.video, key="videos/b.mp4"))
    assert await store.settle("task-0", 1, MADE, now=LATER + 1) is Settled.REPEATED
    assert await store.settle("task-0", 1, other, now=LATER + 1) is Settled.LOST
    assert await store.settle("task-0", 1, FAILED, now=LATER + 1) is Settled.LOST
    assert await store.settle("task-0", 2, MADE, now=LATER + 1) is Settled.LOST
    assert await store.get("task-0") == kept


async def test_only_one_of_many_different_last_words_is_recorded(store: Store) -> None:
    await store.insert(running())
    words = [replace(MADE, video=replace(MADE.video, key=f"videos/{n}.mp4")) for n in range(10)]
    answers = await asyncio.gather(*(store.settle("task-0", 1, word, now=LATER) for word in words))
    assert answers.count(Settled.RECORDED) == 1
    assert answers.count(Settled.LOST) == 9
    task = await store.get("task-0")
    assert task is not None
    assert task.outcome == words[answers.index(Settled.RECORDED)]


@pytest.mark.parametrize("state", [State.RUNNING, State.REQUEUED])
async def test_what_takes_too_long_ends_running_or_queued_again(store: Store, state: State) -> None:
    await store.insert(running(state=state))
    assert not await store.time_out("task-0", 2, LATE, now=LATER)
    assert await store.time_out("task-0", 1, LATE, now=LATER)
    assert await store.get("task-0") == running(state=State.FAILED, ended_at=LATER, lease_until=None, outcome=LATE)


# --- overviews


async def test_unfinished_is_what_runs_or_ran(store: Store) -> None:
    for number, state in enumerate(State):
        await store.insert(running(number, state=state))
    unfinished = await store.unfinished()
    assert {task.state for task in unfinished} == {State.RUNNING, State.REQUEUED}
    assert len(unfinished) == 2


async def test_counts_follow_every_change(store: Store) -> None:
    assert await store.counts() == {}
    for number in range(4):
        await store.insert(order(number))
    await store.claim("w", engines=STILL, now=LATER, until=UNTIL)
    await store.cancel("task-3", now=LATER)
    await store.cancel("task-2", now=LATER)
    assert await store.counts() == {State.PENDING: 1, State.RUNNING: 1, State.CANCELED: 2}
    await store.renew("task-0", 1, until=UNTIL, phase="x", progress=0.1)
    await store.forget(ended_before=LATER, limit=1)
    assert await store.counts() == {State.PENDING: 1, State.RUNNING: 1, State.CANCELED: 1}


async def test_a_list_shows_only_ones_own_newest_first(store: Store) -> None:
    for number in (2, 0, 1):
        await store.insert(order(number))
    await store.insert(order(3, account="theirs"))
    await store.insert(order(1, id="later in the same millisecond"))
    assert await listed(store) == ["task-2", "later in the same millisecond", "task-1", "task-0"]
    assert await listed(store, account="theirs") == ["task-3"]
    assert await listed(store, account="nobody") == []


async def test_a_list_can_be_narrowed_by_everything_a_query_has(store: Store) -> None:
    await store.insert(order(0))
    await store.insert(order(1, model="wan2.1-kf2v-plus", key_id="key-2"))
    await store.insert(order(2, region="cn-beijing"))
    assert await listed(store, task_id="task-1") == ["task-1"]
    assert await listed(store, model="wan2.1-kf2v-plus") == ["task-1"]
    assert await listed(store, key_id="key-2") == ["task-1"]
    assert await listed(store, region="cn-beijing") == ["task-2"]
    assert await listed(store, since=NOW + 1) == ["task-2", "task-1"]
    assert await listed(store, until=NOW + 1) == ["task-1", "task-0"]
    assert await listed(store, since=NOW + 1, until=NOW + 1) == ["task-1"]
    assert await listed(store, key_id="key-2", region="cn-beijing") == []
    assert await listed(store, engine="still") == ["task-2", "task-1", "task-0"]
    assert await listed(store, engine="morph") == []


async def test_a_list_can_be_narrowed_by_words_of_the_prompt(store: Store) -> None:
    for number, prompt in enumerate(("A cat, 100% black", '一只黑猫 \\ "quoted"', "ÄTNA erupts", "")):
        await store.insert(order(number, job=replace(job(), prompt=prompt)))
    found = {"CAT": 0, "%": 0, "黑猫": 1, '\\ "q': 1, "äTNA": None, "ÄTNA ERUPTS": 2, "dog": None}
    for text, number in found.items():
        assert await listed(store, text=text) == ([] if number is None else [f"task-{number}"]), text


@pytest.mark.parametrize("shown", sorted({state.shown for state in State} | {"UNKNOWN", "REQUEUED"}))
async def test_a_list_by_status_goes_by_what_clients_are_shown(store: Store, shown: str) -> None:
    for number, state in enumerate(State):
        await store.insert(order(number, id=state.value, state=state))
    assert set(await listed(store, status=shown)) == {state.value for state in State if state.shown == shown}


async def test_what_ended_at_the_limit_or_before_is_never_listed(store: Store) -> None:
    for number, at in enumerate((NOW - 1, NOW, NOW + 1)):
        await store.insert(ended(number, at=at))
    await store.insert(order(3))
    assert await listed(store, forgotten_before=NOW) == ["task-3", "task-2"]


async def test_pages_cover_the_list_without_gap_or_repetition(store: Store) -> None:
    for number in range(7):
        await store.insert(order(number))
    pages = [await store.find(query(page_no=number, page_size=3)) for number in (1, 2, 3, 4)]
    assert [[task.id for task in page.tasks] for page in pages] == [
        ["task-6", "task-5", "task-4"],
        ["task-3", "task-2", "task-1"],
        ["task-0"],
        [],
    ]
    assert {page.total for page in pages} == {7}


# --- forgetting


async def test_each_ended_task_is_forgotten_once_the_first_to_end_first(store: Store) -> None:
    ends = {"task-0": 30, "task-1": 10, "task-2": 20, "task-3": 40, "task-4": 20}
    for number, at in enumerate(ends.values()):
        await store.insert(ended(number, at=NOW + at))
    await store.insert(order(5))
    rounds = [{task.id for task in await store.forget(ended_before=NOW + 30, limit=3)} for _ in range(3)]
    assert rounds == [{"task-1", "task-2", "task-4"}, {"task-0"}, set()]
    assert await store.get("task-1") is None
    assert await listed(store) == ["task-5", "task-3"]


async def test_two_who_forget_at_once_share_the_tasks(store: Store) -> None:
    for number in range(10):
        await store.insert(ended(number, at=NOW))
    halves = await asyncio.gather(*(store.forget(ended_before=NOW, limit=7) for _ in range(2)))
    assert sorted(task.id for half in halves for task in half) == sorted(f"task-{number}" for number in range(10))


async def test_a_forgotten_task_comes_back_whole_for_its_video_to_be_deleted(store: Store) -> None:
    task = ended(at=NOW, state=State.SUCCEEDED, outcome=MADE)
    await store.insert(task)
    assert await store.get(task.id) == task
    assert await store.forget(ended_before=NOW, limit=10) == (task,)
    assert await store.get(task.id) is None


# --- keys


async def test_a_key_is_found_by_its_digest_alone(store: Store) -> None:
    await store.put_key(key(1))
    assert await store.key_by_digest(key(1).digest) == key(1)
    assert await store.key_by_digest(key(2).digest) is None


async def test_adding_a_known_key_again_changes_nothing(store: Store) -> None:
    await store.put_key(key(1))
    await store.put_key(key(1, id="another", account="theirs"))
    assert await store.keys() == (key(1),)


async def test_two_keys_cannot_have_one_id(store: Store) -> None:
    await store.put_key(key(1))
    with pytest.raises(IdTaken):
        await store.put_key(key(2, id="key-1"))
    assert await store.keys() == (key(1),)


async def test_keys_are_listed_oldest_first(store: Store) -> None:
    for number in (2, 0, 1):
        await store.put_key(key(number))
    assert await store.keys() == (key(0), key(1), key(2))


async def test_a_key_is_revoked_once_and_still_known(store: Store) -> None:
    await store.put_key(key(1))
    assert await store.revoke_key("key-1", now=LATER)
    assert not await store.revoke_key("key-1", now=LATER + 1)
    assert not await store.revoke_key("key-2", now=LATER)
    assert await store.key_by_digest(key(1).digest) == key(1, revoked_at=LATER)


# --- uploads


async def test_an_upload_is_taken_once_under_its_key(store: Store) -> None:
    assert await store.put_upload(upload(1))
    assert not await store.put_upload(upload(1, account="theirs"))
    assert not await store.put_upload(upload(1))
    assert await store.get_upload(upload(1).key) == upload(1)
    assert await store.get_upload(upload(2).key) is None


async def test_each_old_upload_is_forgotten_once_the_oldest_first(store: Store) -> None:
    for number in (3, 1, 0, 2):
        await store.put_upload(upload(number))
    rounds = [set(await store.forget_uploads(created_before=NOW + 2, limit=2)) for _ in range(3)]
    assert rounds == [{upload(0), upload(1)}, {upload(2)}, set()]
    assert await store.get_upload(upload(0).key) is None
    assert await store.get_upload(upload(3).key) == upload(3)
    assert await store.put_upload(upload(0))


# --- the store itself


async def test_a_probe_of_a_sound_store_raises_nothing(store: Store) -> None:
    await store.probe()
    await store.probe()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_closed_store_answers_nothing_any_more(kind: str, tmp_path: Path) -> None:
    store: Store = MemoryStore() if kind == "memory" else await SqliteStore.open(tmp_path / "kf2v.db")
    await store.insert(order())
    await store.get("task-0")
    await store.close()
    with pytest.raises(Exception, match=r"closed"):
        await store.get("task-0")
    with pytest.raises(Exception, match=r"closed"):
        await store.insert(order(1))

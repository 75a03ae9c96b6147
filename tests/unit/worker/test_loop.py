import threading
import time
from collections.abc import Callable

import pytest

from assignments import a_lease
from backroom import PATIENCE
from kf2v.engines import Watch
from kf2v.errors import AlgorithmError, ApiError, InvalidImageFormat, OutOfOrder, ProcessRuined, TaskTimeout
from kf2v.store import Settled
from kf2v.tasks import Failure, Lease, Outcome, Usage, Video
from kf2v.worker.ledger import LedgerLost
from kf2v.worker.loop import Loop, run_all

MADE = Outcome(
    video=Video(key="videos/a-task/1-b.mp4", digest="0" * 64, size=1234, width=832, height=480),
    usage=Usage(video_duration=5, video_count=1, sr=480),
)
ALGO = Outcome(failure=Failure(code=AlgorithmError.code, message=AlgorithmError.sentence))


class Book:
    """A ledger that gives out what it was given and writes down what it hears; then it stops the loop."""

    def __init__(self, *leases: Lease, holds: bool = True, settled: Settled = Settled.RECORDED) -> None:
        self.leases = list(leases)
        self.holds = holds
        self.answer = settled
        self.settled: list[tuple[int, Outcome]] = []
        self.handed_back: list[int] = []
        self.rerouted: list[str] = []
        #: whether another engine takes what is rerouted, and whether tasks have ended
        self.others = True
        self.ended = False
        self.beats: list[tuple[str, float]] = []
        self.notes: list[str] = []
        self.asked_for: set[frozenset[str]] = set()
        self.when_empty: Callable[[], None] = lambda: None

    def claim(self, worker: str, *, engines: frozenset[str]) -> Lease | None:
        self.asked_for.add(engines)
        if self.leases:
            return self.leases.pop(0)
        self.when_empty()
        return None

    def renew(self, lease: Lease, phase: str, progress: float, notes: tuple[str, ...] = ()) -> bool:
        self.beats.append((phase, progress))
        self.notes += notes
        return self.holds

    def settle(self, lease: Lease, outcome: Outcome, notes: tuple[str, ...] = ()) -> Settled:
        self.settled.append((lease.attempt, outcome))
        self.notes += notes
        return self.answer

    def hand_back(self, lease: Lease) -> None:
        self.handed_back.append(lease.attempt)

    def reroute(self, lease: Lease, reason: str) -> bool:
        self.rerouted.append(reason)
        return self.others

    def over(self, lease: Lease) -> bool:
        return self.ended


class Bench:
    """A production that does what it was told, and keeps what it threw away."""

    engines = frozenset({"still"})

    def __init__(self, work: Callable[[Lease, Watch], Outcome]) -> None:
        self.produce = work
        self.discarded: list[Outcome] = []
        self.abandoned: list[Lease] = []

    def abandon(self, lease: Lease) -> None:
        self.abandoned.append(lease)

    def discard(self, outcome: Outcome) -> None:
        self.discarded.append(outcome)


def run(book: Book, bench: Bench) -> None:
    """Let a worker work until ``book`` is empty."""
    loop = Loop("w1", ledger=book, production=bench, heartbeat_every=0.001)
    book.when_empty = lambda: loop.stop(0)
    loop.run()


def makes(lease: Lease, watch: Watch) -> Outcome:
    return MADE


def raises(error: Exception) -> Callable[[Lease, Watch], Outcome]:
    def work(lease: Lease, watch: Watch) -> Outcome:
        raise error

    return work


def reports_until_called_off(lease: Lease, watch: Watch) -> Outcome:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        watch.report("render", 0.5)
        time.sleep(0.001)
    return MADE


def test_each_lease_is_settled_once_with_what_was_made() -> None:
    book, bench = Book(a_lease(attempt=1), a_lease(attempt=4)), Bench(makes)
    run(book, bench)
    assert book.settled == [(1, MADE), (4, MADE)]
    assert book.handed_back == []
    assert bench.discarded == []


def test_a_worker_asks_for_what_it_can_do() -> None:
    book = Book()
    run(book, Bench(makes))
    assert book.asked_for == {Bench.engines}


@pytest.mark.parametrize("error", [InvalidImageFormat("no picture (first_frame_url)"), TaskTimeout()])
def test_a_known_error_fails_the_task_in_its_own_words(error: ApiError) -> None:
    book = Book(a_lease())
    run(book, Bench(raises(error)))
    assert book.settled == [(1, Outcome(failure=Failure(code=error.code, message=error.message)))]


def test_what_an_engine_out_of_order_has_not_begun_is_another_engines() -> None:
    book = Book(a_lease())
    run(book, Bench(raises(OutOfOrder("nobody answers"))))
    assert book.rerouted == ["nobody answers"]
    assert book.settled == []


def test_where_no_other_engine_is_named_it_fails_without_a_word_about_the_inside() -> None:
    book = Book(a_lease())
    book.others = False
    run(book, Bench(raises(OutOfOrder("401 InvalidApiKey"))))
    assert book.settled == [(1, ALGO)]


@pytest.mark.parametrize("ended", [True, False])
def test_what_goes_on_elsewhere_is_ended_only_if_the_task_is(ended: bool) -> None:
    book = Book(a_lease(), holds=False)
    book.ended = ended
    bench = Bench(reports_until_called_off)
    run(book, bench)
    assert len(bench.abandoned) == ended
    assert book.handed_back == []


def test_what_is_handed_back_goes_on_elsewhere() -> None:
    book = Book(a_lease())
    book.ended = True
    bench = Bench(reports_until_called_off)
    loop = Loop("w1", ledger=book, production=bench, heartbeat_every=0.001)

    def work(lease: Lease, watch: Watch) -> Outcome:
        loop.stop(0)
        return reports_until_called_off(lease, watch)

    bench.produce = work
    loop.run()
    assert book.handed_back == [1]
    assert bench.abandoned == []


def test_several_workers_of_one_process_work_at_once_and_end_together() -> None:
    meet = threading.Barrier(2, timeout=PATIENCE)

    def together(lease: Lease, watch: Watch) -> Outcome:
        meet.wait()
        return MADE

    books = [Book(a_lease()), Book(a_lease())]
    loops = [Loop("r.1", ledger=book, production=Bench(together), heartbeat_every=1.0) for book in books]
    for book, loop in zip(books, loops, strict=True):
        book.when_empty = lambda loop=loop: loop.stop(0)
    run_all(loops)
    assert [book.settled for book in books] == [[(1, MADE)], [(1, MADE)]]


def test_a_process_ends_with_the_first_of_its_workers_that_cannot_go_on() -> None:
    def lost() -> None:
        raise LedgerLost("gone")

    book, other = Book(), Book()
    book.when_empty = lost
    other.when_empty = lambda: time.sleep(0.01)
    loops = [Loop("r.1", ledger=each, production=Bench(makes), heartbeat_every=1.0) for each in (book, other)]
    with pytest.raises(LedgerLost):
        run_all(loops)
    loops[1].stop(0)


def test_a_ruined_process_ends_with_its_task_unsettled_where_it_may() -> None:
    book = Book(a_lease())
    loop = Loop(
        "w1", ledger=book, production=Bench(raises(ProcessRuined("a GPU"))), heartbeat_every=0.001, may_end=True
    )
    with pytest.raises(ProcessRuined):
        loop.run()
    assert (book.settled, book.handed_back) == ([], [])


def test_where_it_may_not_end_its_task_fails() -> None:
    book = Book(a_lease())
    run(book, Bench(raises(ProcessRuined("a GPU"))))
    assert book.settled == [(1, ALGO)]


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), MemoryError("secret"), KeyError("secret")])
def test_an_unknown_error_fails_the_task_without_telling_its_insides(error: Exception) -> None:
    book = Book(a_lease())
    run(book, Bench(raises(error)))
    assert book.settled == [(1, ALGO)]


def test_after_a_failure_the_next_task_is_done() -> None:
    def work(lease: Lease, watch: Watch) -> Outcome:
        if lease.attempt == 1:
            raise ZeroDivisionError
        return MADE

    book = Book(a_lease(attempt=1), a_lease(attempt=2))
    run(book, Bench(work))
    assert book.settled == [(1, ALGO), (2, MADE)]


def test_work_whose_lease_is_gone_is_called_off_and_nothing_is_settled() -> None:
    book, bench = Book(a_lease(), holds=False), Bench(reports_until_called_off)
    run(book, bench)
    assert book.settled == []
    assert book.handed_back == []
    assert len(book.beats) == 1


def test_what_comes_too_late_is_thrown_away() -> None:
    book, bench = Book(a_lease(), settled=Settled.LOST), Bench(makes)
    run(book, bench)
    assert bench.discarded == [MADE]


def test_a_settlement_that_was_only_repeated_keeps_the_video() -> None:
    book, bench = Book(a_lease(), settled=Settled.REPEATED), Bench(makes)
    run(book, bench)
    assert bench.discarded == []


def test_heartbeats_tell_how_far_the_whole_is_and_never_go_back() -> None:
    book = Book(a_lease())

    def wait_for_beat(phase: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not any(seen == phase for seen, _ in book.beats):
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def work(lease: Lease, watch: Watch) -> Outcome:
        for phase, done in (("analyse", 0.5), ("render", 0.5), ("polish", 0.9), ("analyse", 1.0)):
            watch.report(phase, done)
            wait_for_beat(phase)
        return MADE

    run(book, Bench(work))
    figures = [progress for _, progress in book.beats]
    assert figures == sorted(figures)
    assert 0.5 < figures[-1] < 1.0
    assert book.settled == [(1, MADE)]


def test_running_work_may_finish_within_the_grace() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(lease: Lease, watch: Watch) -> Outcome:
        begun.set()
        assert go_on.wait(PATIENCE)
        watch.report("render", 1.0)
        return MADE

    book = Book(a_lease(attempt=1), a_lease(attempt=2))
    loop = Loop("w1", ledger=book, production=Bench(work), heartbeat_every=PATIENCE)
    worker = threading.Thread(target=loop.run)
    worker.start()
    assert begun.wait(PATIENCE)
    assert not loop.idle
    loop.stop(PATIENCE)
    go_on.set()
    worker.join(PATIENCE)
    assert book.settled == [(1, MADE)]
    assert book.handed_back == []
    assert len(book.leases) == 1


def test_running_work_is_handed_back_when_the_grace_is_over() -> None:
    now = [0.0]

    def work(lease: Lease, watch: Watch) -> Outcome:
        loop.stop(10.0)
        watch.report("render", 0.1)
        now[0] = 9.9
        watch.report("render", 0.2)
        now[0] = 10.0
        watch.report("render", 0.3)
        return MADE

    book = Book(a_lease())
    loop = Loop("w1", ledger=book, production=Bench(work), heartbeat_every=PATIENCE, monotonic=lambda: now[0])
    loop.run()
    assert book.settled == []
    assert book.handed_back == [1]


def test_the_end_of_the_server_ends_the_worker() -> None:
    class Gone(Book):
        def claim(self, worker: str, *, engines: frozenset[str]) -> Lease | None:
            raise LedgerLost

    loop = Loop("w1", ledger=Gone(), production=Bench(makes), heartbeat_every=1.0)
    with pytest.raises(LedgerLost):
        loop.run()


def test_a_heartbeat_that_cannot_be_sent_calls_the_work_off() -> None:
    class Deaf(Book):
        def renew(self, lease: Lease, phase: str, progress: float, notes: tuple[str, ...] = ()) -> bool:
            raise LedgerLost

    book = Deaf(a_lease())
    run(book, Bench(reports_until_called_off))
    assert book.settled == []


def test_what_is_noted_travels_with_the_next_word_and_once() -> None:
    book = Book(a_lease(), a_lease(attempt=2))

    def notes(lease: Lease, watch: Watch) -> Outcome:
        watch.note(f"first of {lease.attempt}")
        while lease.attempt == 1 and not book.notes:
            time.sleep(0.001)
        watch.note(f"second of {lease.attempt}")
        watch.note(f"first of {lease.attempt}")
        return MADE

    run(book, Bench(notes))
    assert book.notes == ["first of 1", "second of 1", "first of 2", "second of 2"]

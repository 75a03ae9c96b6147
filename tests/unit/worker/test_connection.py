import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from assignments import a_lease, a_task
from backroom import Backroom, backroom
from kf2v.errors import Unavailable
from kf2v.store import Settled
from kf2v.store.memory import MemoryStore
from kf2v.tasks import Failure, Lease, Outcome
from kf2v.worker.connection import Connection
from kf2v.worker.ledger import LedgerLost

STILL = frozenset({"still"})
FAILED = Outcome(failure=Failure(code="InternalError.Algo", message="no"))


@pytest.fixture
def room() -> Iterator[Backroom]:
    with backroom() as opened:
        yield opened


def test_it_waits_for_a_server_that_comes_back(room: Backroom, tmp_path: Path) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            room.open(tmp_path / "s")

    connection = Connection(tmp_path / "s", pause=pause)
    assert connection.claim("w1", engines=STILL) is None
    assert len(pauses) == 3
    assert pauses == sorted(pauses)


def test_it_waits_for_a_server_that_went_away_between_two_questions(room: Backroom, tmp_path: Path) -> None:
    def pause(seconds: float) -> None:
        room.open(tmp_path / "s")

    room.open(tmp_path / "s")
    room.order(a_task(submitted_at=1))
    connection = Connection(tmp_path / "s", pause=pause)
    lease = connection.claim("w1", engines=STILL)
    assert lease is not None
    room.shut()
    assert connection.settle(lease, FAILED) is Settled.RECORDED


def test_it_gives_up_on_a_server_that_stays_away(tmp_path: Path) -> None:
    connection = Connection(tmp_path / "s", limit=0.2)
    with pytest.raises(LedgerLost):
        connection.claim("w1", engines=STILL)


def test_a_server_in_trouble_is_asked_again(room: Backroom, tmp_path: Path) -> None:
    class FullDisk(MemoryStore):
        troubles = 2

        async def settle(self, task_id: str, attempt: int, outcome: Outcome, *, now: int) -> Settled:
            if self.troubles:
                self.troubles -= 1
                raise Unavailable
            return await super().settle(task_id, attempt, outcome, now=now)

    room.store = FullDisk()
    room.desk._store = room.store  # pyright: ignore[reportPrivateUsage]
    room.open(tmp_path / "s")
    room.order(a_task(submitted_at=1))
    connection = Connection(tmp_path / "s", pause=lambda seconds: None)
    lease = connection.claim("w1", engines=STILL)
    assert lease is not None
    assert connection.settle(lease, FAILED) is Settled.RECORDED


def test_what_is_no_question_is_refused_and_not_repeated(room: Backroom, tmp_path: Path) -> None:
    class Nonsense(Connection):
        def renew(self, lease: Lease, phase: str, progress: float, notes: tuple[str, ...] = ()) -> bool:
            self._ask("/renew", {"task_id": 7})
            return True

    room.open(tmp_path / "s")
    connection = Nonsense(tmp_path / "s", pause=lambda seconds: pytest.fail("asked again"))
    with pytest.raises(ValueError, match="refused with 400"):
        connection.renew(a_lease(), "", 0.0)


def test_only_the_owner_can_open_the_socket(room: Backroom, tmp_path: Path) -> None:
    room.open(tmp_path / "s")
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600

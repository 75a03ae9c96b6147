"""What an account may have, and what of it is left."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from kf2v.admission.limits import Limits
from kf2v.assembly.front import limits_table
from kf2v.catalog.quotas import Budget, Currency, Quota
from kf2v.clock import ManualClock
from kf2v.errors import QuotaExceeded, RateExceeded
from kf2v.metering import Footage, UsageLine, UsageQuery
from kf2v.settings import Settings
from kf2v.store import TaskQuery
from kf2v.store.memory import MemoryStore
from kf2v.tasks import Task
from kf2v.wire.v1.times import CHINA
from orders import FAILED, MADE, job, order

pytestmark = pytest.mark.anyio

FLASH, PLUS, PLUS_TOO = "wan2.2-kf2v-flash", "wan2.1-kf2v-plus", "wanx2.1-kf2v-plus"
#: noon in UTC+8
NOON = int(datetime(2026, 2, 27, 12, tzinfo=CHINA).timestamp()) * 1_000
HOUR = 3_600_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def cost(lines: Iterable[Footage | UsageLine], currency: Currency) -> Decimal:
    """One a second of 720P, a tenth of it of anything else; a dollar is worth ten."""
    total = sum(line.seconds * (Decimal(1) if line.resolution == "720P" else Decimal("0.1")) for line in lines)
    return Decimal(total) / (10 if currency == "USD" else 1)


class Office:
    """Limits over rows in memory."""

    def __init__(self, settings: Settings, judge: Callable[..., Decimal] = cost) -> None:
        self.store = MemoryStore()
        self.clock = ManualClock(NOON)
        self.limits = Limits(limits_table(settings), store=self.store, clock=self.clock, cost=judge)
        self.orders = 0

    def order(self, **changes: Any) -> Task:
        self.orders += 1
        return order(self.orders, **{"submitted_at": self.clock.now(), **changes})

    async def submit(self, task: Task | None = None, *, patience: float = 0.0, **changes: Any) -> str:
        task = task or self.order(**changes)
        async with self.limits.turn(task.account, task.job.model, patience=patience) as count:
            async with self.limits.afford(task):
                await self.store.insert(task)
            await count()
        return task.id

    async def refusals(self, times: int, **changes: Any) -> int:
        answers = await asyncio.gather(*(self.submit(**changes) for _ in range(times)), return_exceptions=True)
        return sum(isinstance(answer, RateExceeded | QuotaExceeded) for answer in answers)

    async def work(self, *, made: bool = True) -> None:
        """Make, or fail to make, what waits longest."""
        now = self.clock.now()
        lease = await self.store.claim("w", engines=frozenset({"still"}), now=now, until=now)
        assert lease is not None
        await self.store.settle(lease.task_id, lease.attempt, MADE if made else FAILED, now=now)


def office(**settings: Any) -> Office:
    return Office(Settings(**settings))


# --- whose figures


def test_an_owners_own_machine_limits_the_queue_alone() -> None:
    limits = office().limits
    assert limits.quota("mine", FLASH) == Quota(waiting=100_000)
    assert limits.budget("mine", FLASH).endless
    assert limits.budget("mine", None).endless
    assert limits.running("mine", FLASH) is None


def test_the_cloud_preset_has_the_documented_figures() -> None:
    limits = office(limits="cloud").limits
    assert limits.quota("mine", FLASH) == limits.quota("mine", PLUS_TOO) == Quota(per_second=2, running=2, waiting=500)
    assert limits.quota("mine", PLUS) == Quota(per_second=1, running=2, waiting=500)
    assert limits.running("mine", PLUS) == 2


def test_the_word_nearest_to_an_account_and_model_counts() -> None:
    said = {
        "*": {"running": 7, "waiting": 70, "models": {PLUS: {"running": 6}}},
        "mine": {"running": 5, "models": {FLASH: {"waiting": 40}}},
    }
    limits = office(limits="cloud", account_limits=said).limits
    assert limits.quota("mine", FLASH) == Quota(per_second=2, running=5, waiting=40)
    assert limits.quota("mine", PLUS) == Quota(per_second=1, running=5, waiting=70)
    assert limits.quota("theirs", FLASH) == Quota(per_second=2, running=7, waiting=70)
    assert limits.quota("theirs", PLUS) == Quota(per_second=1, running=6, waiting=70)


def test_sums_of_an_account_and_of_one_model_of_it_are_two() -> None:
    said = {
        "*": {"spend_per_day": 9},
        "mine": {"spend_per_month": "100.50", "currency": "USD", "models": {FLASH: {"spend_per_day": 5}}},
    }
    limits = office(account_limits=said).limits
    assert limits.budget("mine", None) == Budget(per_month=Decimal("100.50"), currency="USD")
    assert limits.budget("mine", FLASH) == Budget(per_day=Decimal(5))
    assert limits.budget("mine", PLUS).endless
    assert limits.budget("theirs", None) == Budget(per_day=Decimal(9))


# --- submissions per second


async def test_so_many_a_second_and_not_one_more_whoever_comes_at_once() -> None:
    busy = office(limits="cloud")
    assert await busy.refusals(9) == 7


async def test_the_second_is_over_after_a_second() -> None:
    busy = office(limits="cloud")
    assert await busy.refusals(3) == 1
    await asyncio.sleep(1.1)
    assert await busy.refusals(3) == 1


async def test_each_account_and_each_model_has_a_second_of_its_own() -> None:
    busy = office(limits="cloud")
    assert await busy.refusals(2) == 0
    assert await busy.refusals(2, account="theirs") == 0
    assert await busy.refusals(2, model=PLUS) == 1


async def test_a_refusal_says_when_to_come_again() -> None:
    busy = office(limits="cloud")
    await busy.refusals(2)
    with pytest.raises(RateExceeded) as refusal:
        await busy.submit()
    assert refusal.value.message.startswith("Requests rate limit exceeded, please try again later.")
    assert refusal.value.retry_after is not None
    assert 0 < refusal.value.retry_after <= 1


async def test_what_fails_within_its_turn_is_not_counted() -> None:
    busy = office(limits="cloud")
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            async with busy.limits.turn("mine", FLASH):
                raise ZeroDivisionError
    assert await busy.refusals(2) == 0


async def test_a_slow_judgement_keeps_nobody_waiting_for_longer_than_a_second() -> None:
    busy, over = office(limits="cloud"), asyncio.Event()

    async def slow() -> None:
        async with busy.limits.turn("mine", FLASH) as count:
            await over.wait()
            await count()

    under_judgement = [asyncio.create_task(slow()) for _ in range(2)]
    async with asyncio.timeout(2.5):
        assert await busy.refusals(9) == 9
    assert await busy.refusals(1, account="theirs") == 0
    over.set()
    await asyncio.gather(*under_judgement)
    assert await busy.refusals(1) == 1, "and both of them count"


async def test_a_judgement_that_refuses_makes_room_for_who_waits() -> None:
    busy = office(limits="cloud")

    async def refused() -> None:
        async with busy.limits.turn("mine", FLASH):
            await asyncio.sleep(0.2)
            raise ZeroDivisionError

    under_judgement = [asyncio.create_task(refused()) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert await busy.refusals(2) == 0
    await asyncio.gather(*under_judgement, return_exceptions=True)


async def test_who_is_patient_waits_for_his_turn() -> None:
    busy = office(limits="cloud")
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(busy.submit(patience=3) for _ in range(5)))
    assert asyncio.get_running_loop().time() - began >= 1.9


async def test_nobody_waits_when_it_would_take_too_long() -> None:
    busy = office(limits="cloud")
    answers = await asyncio.gather(*(busy.submit(patience=1.5) for _ in range(9)), return_exceptions=True)
    assert sum(isinstance(answer, RateExceeded) for answer in answers) == 5


async def test_those_who_wait_already_count_for_those_who_come() -> None:
    busy = office(limits="cloud")
    patient = asyncio.create_task(busy.refusals(20, patience=3.5))
    await asyncio.sleep(0.05)
    with pytest.raises(RateExceeded) as refusal:
        await busy.submit(patience=3.5)
    assert refusal.value.retry_after is not None
    assert refusal.value.retry_after > 3
    assert 20 - await patient >= 6


async def test_who_is_patient_keeps_nobody_else_waiting() -> None:
    busy = office(limits="cloud")
    await busy.refusals(2)
    patient = asyncio.create_task(busy.submit(patience=3))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(0.5):
        assert await busy.refusals(1) == 1
        assert await busy.refusals(1, model=PLUS) == 0
    await patient


async def test_nobody_is_patient_beyond_the_end_of_the_server() -> None:
    busy = office(limits="cloud")
    await busy.refusals(2)
    patient = asyncio.create_task(busy.submit(patience=120))
    await asyncio.sleep(0.05)
    busy.limits.close()
    for one in (patient, busy.submit(patience=120)):
        with pytest.raises(RateExceeded):
            await one


# --- money


async def test_what_was_made_waits_and_runs_is_never_more_than_the_sum() -> None:
    thrifty = office(account_limits={"mine": {"spend_per_day": 20}})
    assert await thrifty.refusals(2) == 0
    await thrifty.work()
    now = thrifty.clock.now()
    await thrifty.store.claim("w", engines=frozenset({"still"}), now=now, until=now)
    assert await thrifty.refusals(6) == 4
    assert (await thrifty.store.find(TaskQuery(account="mine", forgotten_before=0))).total == 4


async def test_a_sum_is_exact_to_the_last_digit() -> None:
    thrifty = office(account_limits={"mine": {"spend_per_day": "10.5"}})
    assert await thrifty.refusals(2) == 0
    with pytest.raises(QuotaExceeded):
        await thrifty.submit()
    await thrifty.submit(job=job(resolution="480P"))
    with pytest.raises(QuotaExceeded):
        await thrifty.submit(job=job(resolution="480P"))


async def test_what_failed_or_was_cancelled_is_to_be_spent_again() -> None:
    thrifty = office(account_limits={"mine": {"spend_per_day": 10}})
    first, second = [await thrifty.submit() for _ in range(2)]
    await thrifty.work(made=False)
    await thrifty.store.cancel(second, now=NOON)
    assert await thrifty.refusals(3) == 1
    assert first != second


async def test_a_new_day_brings_new_money_and_a_new_month_more() -> None:
    thrifty = office(account_limits={"mine": {"spend_per_day": 5, "spend_per_month": 10}})
    for hours, retry_after in ((0, 12 * 3600), (12, 24 * 3600)):
        thrifty.clock.advance(hours * HOUR)
        await thrifty.submit()
        await thrifty.work()
        with pytest.raises(QuotaExceeded, match="a day") as refusal:
            await thrifty.submit()
        assert refusal.value.retry_after == retry_after
    thrifty.clock.advance(24 * HOUR - 1)
    with pytest.raises(QuotaExceeded, match=r"5 CNY a day"):
        await thrifty.submit()
    thrifty.clock.advance(1)
    await thrifty.submit()
    await thrifty.work()
    await thrifty.store.forget(ended_before=thrifty.clock.now(), limit=9)
    thrifty.clock.advance(24 * HOUR)
    await thrifty.submit()
    await thrifty.work()
    thrifty.clock.advance(24 * HOUR)
    with pytest.raises(QuotaExceeded, match=r"10 CNY a month.*makes 15") as refusal:
        await thrifty.submit()
    assert refusal.value.message.startswith("Allocated quota exceeded, please increase your quota limit.")
    assert refusal.value.retry_after == 29 * 24 * 3600


async def test_a_models_sum_is_its_own_and_the_accounts_is_everything() -> None:
    said = {"mine": {"spend_per_day": 15, "models": {FLASH: {"spend_per_day": 5}}}}
    thrifty = office(account_limits=said)
    assert await thrifty.refusals(2) == 1
    assert await thrifty.refusals(3, job=job(model=PLUS)) == 1
    assert await thrifty.refusals(3, account="theirs") == 0


async def test_a_sum_is_in_its_own_currency() -> None:
    thrifty = office(account_limits={"mine": {"spend_per_month": 1, "currency": "USD"}})
    assert await thrifty.refusals(3) == 1


async def test_an_account_without_money_may_ask_for_nothing() -> None:
    assert await office(account_limits={"mine": {"spend_per_day": 0}}).refusals(2) == 2


async def test_where_nothing_is_measured_nothing_is_asked() -> None:
    def unasked(*_: object) -> Decimal:
        raise AssertionError

    plain = Office(Settings(), unasked)
    assert await plain.refusals(50) == 0
    assert not plain.limits._purses
    assert not plain.limits._places


async def test_what_waits_is_priced_as_it_will_be_charged() -> None:
    seen: list[tuple[str, str, str, int]] = []

    def remember(lines: Iterable[Footage | UsageLine], currency: Currency) -> Decimal:
        seen[:] = [(line.region, line.model, line.resolution, line.seconds) for line in lines]
        return Decimal(0)

    thrifty = Office(Settings(account_limits={"mine": {"spend_per_day": 1}}), remember)
    first = {"region": "cn-beijing", "job": job(model=PLUS_TOO)}
    await thrifty.submit(**first)
    itself = list(seen)
    await thrifty.submit(**first)
    assert seen == itself * 2
    for done in range(1, 3):
        await thrifty.work()
        (charged,) = await thrifty.store.usage(UsageQuery())
        line = (charged.region, charged.model, charged.resolution, charged.seconds)
        assert line == (*itself[0][:3], done * itself[0][3])


async def test_an_account_is_asked_about_once_however_many_sums_it_has() -> None:
    both = {"spend_per_day": 50, "spend_per_month": 50}
    thrifty = office(account_limits={"mine": {**both, "models": {FLASH: both}}})
    asked: list[str] = []
    for question in ("promised", "usage"):
        answer = getattr(thrifty.store, question)

        def counted(*about: Any, question: str = question, answer: Callable[..., Any] = answer) -> Any:
            asked.append(question)
            return answer(*about)

        setattr(thrifty.store, question, counted)
    await thrifty.submit()
    assert asked == ["promised", "usage"]

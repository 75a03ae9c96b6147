"""How much an account may have: what the settings say, and whether this submission still fits.

Five figures. Three are of an account and model, as the vendor's are: submissions per second, tasks running at once,
tasks waiting. Two are sums of money, of an account or of one model of it: what the cloud would have charged in a day
and in a month, in UTC+8. A sum is compared with what was made, what waits and runs, and the submission itself, so that
it is not passed even if everything that was promised succeeds.

How many run at once is no reason to refuse: it is asked by whoever gives out work, see ``tasks.turns``. How many wait
is counted by the store, in the transaction that inserts. The other three are judged here, and what is refused counts
for nothing. To judge a submission may take seconds, when somebody outside reads its prompt, so of an account and model
no more are under judgement than may come in a second, and nobody waits longer than that for his turn unless he asks to.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TypeAlias

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from kf2v.catalog.quotas import ENDLESS, OWN, Budget, Currency, Quota
from kf2v.clock import SECOND, Clock
from kf2v.errors import QuotaExceeded, RateExceeded
from kf2v.metering import Footage, UsageLine, UsageQuery, footage_of
from kf2v.metering.cost import money
from kf2v.store import Store
from kf2v.tasks import Task
from kf2v.wire.v1.times import CHINA, day_of

#: what the cloud would have charged
Cost: TypeAlias = Callable[[Iterable[Footage | UsageLine], Currency], Decimal]
#: what to call once a submission has become a task
Count: TypeAlias = Callable[[], Awaitable[object]]

#: the name that means every account of which nothing else is said
EVERYBODY = "*"
#: the shortest wait for another turn, seconds
_BREATH = 0.01
#: what rates are counted by, seconds
_WINDOW = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Every figure of a deployment, of the accounts it names and of ``EVERYBODY`` else."""

    #: by account and model
    quotas: Mapping[tuple[str, str], Quota]
    #: by account and model; ``None`` is all of them together
    budgets: Mapping[tuple[str, str | None], Budget]

    def quota(self, account: str, model: str) -> Quota:
        return self.quotas.get((account, model)) or self.quotas.get((EVERYBODY, model), OWN)

    def budget(self, account: str, model: str | None) -> Budget:
        return self.budgets.get((account, model)) or self.budgets.get((EVERYBODY, model), ENDLESS)


class Limits:
    """Judges submissions by ``table``."""

    def __init__(self, table: Table, *, store: Store, clock: Clock, cost: Cost) -> None:
        self._table = table
        self._store = store
        self._clock = clock
        self._cost = cost
        self._rates = MovingWindowRateLimiter(MemoryStorage())
        #: by account: who compares a sum of money spends it before the next one compares
        self._purses: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: as many as may come in a second, by account and model
        self._places: dict[tuple[str, str], asyncio.Semaphore] = {}
        #: how many have a turn that is not over yet, by account and model
        self._judged = Counter[tuple[str, str]]()
        #: how many would rather wait than be refused, by account and model
        self._patient = Counter[tuple[str, str]]()
        self._closed = asyncio.Event()

    def quota(self, account: str, model: str) -> Quota:
        return self._table.quota(account, model)

    def budget(self, account: str, model: str | None) -> Budget:
        return self._table.budget(account, model)

    def close(self) -> None:
        """Whoever waits for a better second is refused now: the server ends."""
        self._closed.set()

    def running(self, account: str, model: str) -> int | None:
        """How many may run at once: the ``Caps`` of a claim."""
        return self._table.quota(account, model).running

    def turn(self, account: str, model: str, *, patience: float = 0.0) -> AbstractAsyncContextManager[Count]:
        """A submission's turn within its account; brings what to call once it is a task, so that it counts.

        Raises RateExceeded where there were too many in this second; with ``patience`` it waits up to so many seconds
        for a better one. Accounts of which nothing is measured here take no turns.
        """
        rate = self._table.quota(account, model).per_second
        return nullcontext(_uncounted) if rate is None else self._turn(account, model, rate, patience)

    @asynccontextmanager
    async def _turn(self, account: str, model: str, rate: int, patience: float) -> AsyncGenerator[Count]:
        item, line = RateLimitItemPerSecond(rate), (account, model)
        places = self._places.setdefault(line, asyncio.Semaphore(rate))
        began = asyncio.get_running_loop().time()
        while True:
            async with _within(places, item, model, until=began + max(patience, _WINDOW)):
                if await self._rates.test(item, *line, cost=self._judged[line] + 1):
                    self._judged[line] += 1
                    try:
                        yield partial(self._rates.hit, item, *line)
                    finally:
                        self._judged[line] -= 1
                    return
                frees_at = (await self._rates.get_window_stats(item, *line)).reset_time
            wait = max(_BREATH, frees_at - time.time())  # the library goes by the machine's clock
            await self._wait(item, account, model, wait, until=began + patience)

    async def _wait(self, item: RateLimitItem, account: str, model: str, wait: float, *, until: float) -> None:
        """Wait for the next turn; RateExceeded if those who wait already will not leave one by then, or all is over."""
        line = account, model
        soonest = wait + self._patient[line] // item.amount
        if soonest <= until - asyncio.get_running_loop().time():
            self._patient[line] += 1
            try:
                await asyncio.wait_for(self._closed.wait(), wait)
            except TimeoutError:
                return
            finally:
                self._patient[line] -= 1
        raise _too_many(item, model, soonest)

    def afford(self, task: Task) -> AbstractAsyncContextManager[None]:
        """Money for ``task``, kept for it while it is written down. Raises QuotaExceeded if a budget has less left."""
        measured = [
            (model, budget)
            for model in (task.job.model, None)
            if not (budget := self._table.budget(task.account, model)).endless
        ]
        return self._afford(task, measured) if measured else nullcontext()

    @asynccontextmanager
    async def _afford(self, task: Task, measured: Sequence[tuple[str | None, Budget]]) -> AsyncGenerator[None]:
        async with self._purses[task.account]:
            await self._check(task, measured)
            yield

    async def _check(self, task: Task, measured: Sequence[tuple[str | None, Budget]]) -> None:
        now = self._clock.now()
        day, month = _day(now), _month(now)
        monthly = any(budget.per_month is not None for _, budget in measured)
        # asked first, so that what is made meanwhile may be there twice, never not
        promised = (footage_of(task), *await self._store.promised(task.account))
        made = await self._store.usage(UsageQuery(account=task.account, since=(month if monthly else day)[0]))
        today = tuple(line for line in made if line.day >= day_of(now))
        for model, budget in measured:
            for cap, period, spent, (_, ends) in (
                (budget.per_day, "day", today, day),
                (budget.per_month, "month", made, month),
            ):
                counted = [one for one in (*spent, *promised) if model in (None, one.model)]
                if cap is not None and (total := self._cost(counted, budget.currency)) > cap:
                    what = "this account" if model is None else model
                    raise QuotaExceeded(
                        f"{QuotaExceeded.sentence} {what} may cost {cap} {budget.currency} a {period}, and with what "
                        f"was made, waits and runs this one makes {money(total)}.",
                        retry_after=(ends - now) / SECOND,
                    )


@asynccontextmanager
async def _within(places: asyncio.Semaphore, item: RateLimitItem, model: str, *, until: float) -> AsyncGenerator[None]:
    """One of ``places``, if there is one by then. Raises RateExceeded."""
    try:
        async with asyncio.timeout_at(until):
            await places.acquire()
    except TimeoutError as error:
        raise _too_many(item, model, _WINDOW) from error
    try:
        yield
    finally:
        places.release()


def _too_many(item: RateLimitItem, model: str, retry_after: float) -> RateExceeded:
    told = f"{RateExceeded.sentence} {model} takes {item.amount} a second."
    return RateExceeded(told, retry_after=retry_after)


async def _uncounted() -> None:
    """Where nothing is counted."""


def _day(now: int) -> tuple[int, int]:
    """The day in UTC+8 that ``now`` is in: its first millisecond and the next day's."""
    begins = datetime.fromtimestamp(now // SECOND, CHINA).replace(hour=0, minute=0, second=0)
    return _milliseconds(begins), _milliseconds(begins + timedelta(days=1))


def _month(now: int) -> tuple[int, int]:
    begins = datetime.fromtimestamp(now // SECOND, CHINA).replace(day=1, hour=0, minute=0, second=0)
    return _milliseconds(begins), _milliseconds((begins + timedelta(days=31)).replace(day=1))


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp()) * SECOND

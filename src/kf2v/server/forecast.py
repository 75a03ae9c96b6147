"""How long it will take: what the newest videos of a kind took, and how many are before. None is an honest answer."""

from collections.abc import Callable
from statistics import median

from kf2v.clock import SECOND, Clock
from kf2v.store import Store
from kf2v.tasks import State, Task
from kf2v.tasks.turns import position


class Forecast:
    """Looks at what was and what is; remembers nothing itself."""

    def __init__(self, store: Store, *, clock: Clock, workers: Callable[[], int]) -> None:
        #: ``workers`` says how many there are at this moment
        self._store = store
        self._clock = clock
        self._workers = workers

    async def run_seconds(self, engine: str, resolution: str) -> float | None:
        """From its start to its end; None until one was made."""
        runs = await self._store.runs(engine, resolution)
        return median(runs) / SECOND if runs else None

    async def end_seconds(self, task: Task) -> float | None:
        """Until ``task`` ends; None if it has, nobody works, or too little is known."""
        run = None if task.state.final else await self.run_seconds(task.job.engine, task.job.resolution)
        if run is None:
            return None
        if task.state is State.RUNNING:
            return self._left(task, run)
        wait = await self.wait_seconds(task)
        return None if wait is None else wait + run

    async def wait_seconds(self, task: Task) -> float | None:
        """Until ``task`` starts; None if it does not wait, nobody works, or too little is known."""
        ahead = await self._store.place(task.id)
        return None if ahead is None else await self._wait(ahead, task.job.engine, task.job.resolution)

    async def wait_seconds_of_new(self, account: str, engine: str, resolution: str) -> float | None:
        """Until a task would start that ``account`` submitted now."""
        waiting: dict[str, int] = {}
        for line in await self._store.lines():
            if line.engine == engine:
                waiting[line.account] = waiting.get(line.account, 0) + line.waiting
        return await self._wait(position(account, waiting.get(account, 0), waiting, served={}), engine, resolution)

    async def _wait(self, ahead: int, engine: str, resolution: str) -> float | None:
        """As if everything that is running or ``ahead`` took as long as what waits."""
        workers = self._workers()
        if not workers:
            return None
        busy = [task for task in await self._store.unfinished() if task.state is State.RUNNING]
        if ahead < workers - len(busy):
            return 0.0
        run = await self.run_seconds(engine, resolution)
        if run is None:
            return None
        free_in = sorted([0.0] * (workers - len(busy)) + [self._left(task, run) for task in busy])[:workers]
        return free_in[ahead % workers] + ahead // workers * run

    def _left(self, task: Task, run: float) -> float:
        """By what it says of itself: mostly by the usual pace at first, by its own towards the end, which comes to this
        share of the usual time. By the clock where it says nothing.
        """
        assert task.scheduled_at is not None
        if task.progress:
            return run * (1 - task.progress)
        return min(run, max(0.0, run - (self._clock.now() - task.scheduled_at) / SECOND))

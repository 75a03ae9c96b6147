"""``/kf2v/v1/tasks``: all there is to know of a task, and what its owner may do with it beyond the vendor's API.

Other than there, an id that is unknown, expired or somebody else's is 404: nothing here pretends.
"""

from kf2v.admission.keys import Caller, Scope
from kf2v.clock import Clock
from kf2v.errors import NotFound, UnsupportedOperation
from kf2v.server.desk import Desk
from kf2v.server.exchange import Exchange, Reply, reply
from kf2v.server.ext.portrait import Portrait
from kf2v.server.journal import Journal
from kf2v.server.reception import Reception
from kf2v.server.routes import EXT
from kf2v.server.routing import Route
from kf2v.server.sweeper import Sweeper
from kf2v.store import Store
from kf2v.tasks import Task
from kf2v.tasks.retention import Retention
from kf2v.wire.ext import tasks as wire

TASKS = f"{EXT}/tasks"
#: of ``{"kept": …}``
BODY_LIMIT = 4_096


class OwnTasks:
    """A caller sees the tasks of its account, whichever key made them, and no other."""

    def __init__(
        self,
        *,
        reception: Reception,
        store: Store,
        clock: Clock,
        retention: Retention,
        desk: Desk,
        journal: Journal,
        sweeper: Sweeper,
        portrait: Portrait,
    ) -> None:
        self._reception = reception
        self._store = store
        self._clock = clock
        self._retention = retention
        self._desk = desk
        self._journal = journal
        self._sweeper = sweeper
        self._portrait = portrait

    def routes(self) -> list[Route]:
        return [
            Route("GET", TASKS, self.find),
            Route("GET", f"{TASKS}/{{task_id}}", self.show),
            Route("DELETE", f"{TASKS}/{{task_id}}", self.delete),
            Route("POST", f"{TASKS}/{{task_id}}/cancel", self.cancel),
            Route("POST", f"{TASKS}/{{task_id}}/keep", self.keep),
        ]

    async def find(self, exchange: Exchange) -> Reply:
        """A page of the account's tasks, newest first."""
        caller = await self._reception.caller(exchange, Scope.READ)
        forgotten_before = self._clock.now() - self._retention.task
        query = wire.parse_query(exchange.query(), account=caller.account, forgotten_before=forgotten_before)
        page = await self._store.find(query)
        members: dict[str, object] = {
            "total": page.total,
            "total_page": -(-page.total // query.page_size),
            "page_no": query.page_no,
            "page_size": query.page_size,
            "tasks": [await self._portrait.brief(task, exchange) for task in page.tasks],
        }
        return reply(exchange, members)

    async def show(self, exchange: Exchange) -> Reply:
        """One task with its log. Raises NotFound."""
        caller = await self._reception.caller(exchange, Scope.READ)
        task = await self.visible(exchange, caller)
        return reply(exchange, {"task": await self._portrait.whole(task, exchange)})

    async def cancel(self, exchange: Exchange) -> Reply:
        """End a task that has not ended, running or not. Raises NotFound, and UnsupportedOperation if it has."""
        caller = await self._reception.caller(exchange, Scope.CANCEL)
        task = await self.visible(exchange, caller)
        if not await self._desk.stop(task.id):
            task = await self.visible(exchange, caller)
            raise UnsupportedOperation(f"The task has ended already, it is {task.state.shown}.")
        return await self._as_it_is_now(exchange, caller)

    async def keep(self, exchange: Exchange) -> Reply:
        """Say whether a task outlives its usual time. Raises NotFound and InvalidParameter."""
        caller = await self._reception.caller(exchange, Scope.CANCEL)
        task = await self.visible(exchange, caller)
        kept = wire.parse_kept(await exchange.body(BODY_LIMIT))
        if not await self._store.keep(task.id, kept=kept):
            raise _unknown(task.id)
        changed = await self.visible(exchange, caller)
        self._journal.publish(changed)
        return reply(exchange, {"task": await self._portrait.brief(changed, exchange)})

    async def delete(self, exchange: Exchange) -> Reply:
        """Forget a task and all of its files now. Raises NotFound, and UnsupportedOperation if it has not ended."""
        caller = await self._reception.caller(exchange, Scope.CANCEL)
        task = await self.visible(exchange, caller)
        gone = await self._store.delete(task.id)
        if gone is None:
            task = await self.visible(exchange, caller)
            raise UnsupportedOperation(f"The task is {task.state.shown}; cancel it first, then it can be deleted.")
        self._journal.publish(gone, deleted=True)
        await self._sweeper.wipe(gone)
        return reply(exchange, {})

    async def visible(self, exchange: Exchange, caller: Caller) -> Task:
        """The task that the path names. Raises NotFound unless it is there and the caller's."""
        return await self.known(exchange.parts["task_id"], caller)

    async def known(self, task_id: str, caller: Caller) -> Task:
        """The task of that id. Raises NotFound unless it is there and the caller's."""
        task = await self._store.get(task_id)
        if task is None or task.account != caller.account or self._retention.forgotten(task, self._clock.now()):
            raise _unknown(task_id)
        return task

    async def _as_it_is_now(self, exchange: Exchange, caller: Caller) -> Reply:
        task = await self.visible(exchange, caller)
        return reply(exchange, {"task": await self._portrait.brief(task, exchange)})


def _unknown(task_id: str) -> NotFound:
    return NotFound(f"There is no task {task_id[:100]!r}.")

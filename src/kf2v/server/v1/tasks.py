"""GET /tasks/{id}, GET /tasks and POST /tasks/{id}/cancel."""

from kf2v.admission.keys import Caller, Scope
from kf2v.clock import Clock
from kf2v.errors import UnsupportedOperation
from kf2v.server.desk import Desk
from kf2v.server.exchange import Exchange, Reply, reply
from kf2v.server.reception import Reception
from kf2v.server.v1.files import VideoLinks
from kf2v.store import Store
from kf2v.tasks import State, Task
from kf2v.tasks.retention import Retention
from kf2v.wire.v1 import listing
from kf2v.wire.v1 import tasks as wire


class Tasks:
    """Reading and cancelling tasks. A caller sees the tasks of its account, whichever key made them, and no other."""

    def __init__(
        self,
        *,
        reception: Reception,
        store: Store,
        clock: Clock,
        retention: Retention,
        links: VideoLinks,
        desk: Desk,
    ) -> None:
        self._reception = reception
        self._store = store
        self._clock = clock
        self._retention = retention
        self._links = links
        self._desk = desk

    async def query(self, exchange: Exchange) -> Reply:
        """One task; UNKNOWN and HTTP 200 for an id that is unknown, malformed, expired or foreign."""
        caller = await self._reception.caller(exchange, Scope.READ)
        task_id = exchange.parts["task_id"]
        task = await self._visible(task_id, caller)
        if task is None:
            return reply(exchange, {"output": wire.unknown(task_id)})
        members: dict[str, object] = {"output": wire.output(task, video_url=self._links.url(task, exchange))}
        if task.state is State.SUCCEEDED and task.outcome is not None and task.outcome.usage is not None:
            members["usage"] = wire.usage(task.outcome.usage)
        return reply(exchange, members)

    async def find(self, exchange: Exchange) -> Reply:
        """A page of the account's tasks."""
        caller = await self._reception.caller(exchange, Scope.READ)
        now = self._clock.now()
        query = listing.parse(
            exchange.query(), account=caller.account, now=now, forgotten_before=now - self._retention.task
        )
        return reply(exchange, listing.render(await self._store.find(query), query))

    async def cancel(self, exchange: Exchange) -> Reply:
        """End a task that is still PENDING. Raises UnsupportedOperation for any other."""
        caller = await self._reception.caller(exchange, Scope.CANCEL)
        task = await self._visible(exchange.parts["task_id"], caller)
        if task is None or not await self._desk.cancel(task.id):
            raise UnsupportedOperation
        return reply(exchange, {})

    async def _visible(self, task_id: str, caller: Caller) -> Task | None:
        task = await self._store.get(task_id)
        if task is None or task.account != caller.account:
            return None
        return None if self._retention.forgotten(task, self._clock.now()) else task

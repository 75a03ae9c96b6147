"""POST …/video-synthesis: a submission becomes a promise."""

from kf2v.admission.admit import Admission
from kf2v.admission.keys import Scope
from kf2v.errors import SynchronousCall, Unavailable
from kf2v.server.desk import Desk
from kf2v.server.exchange import Exchange, Reply, reply
from kf2v.server.journal import Journal
from kf2v.server.reception import Reception
from kf2v.server.vitals import Vitals
from kf2v.store import Store
from kf2v.wire import Envelope
from kf2v.wire.v1 import create

#: two frames of 10 MB as base64, and some text
BODY_LIMIT = 30 * 1024 * 1024


class Create:
    """The create call. A 200 means that the task is on disk."""

    def __init__(
        self,
        *,
        reception: Reception,
        admission: Admission,
        store: Store,
        desk: Desk,
        vitals: Vitals,
        journal: Journal,
    ) -> None:
        self._reception = reception
        self._admission = admission
        self._store = store
        self._desk = desk
        self._vitals = vitals
        self._journal = journal

    async def __call__(self, exchange: Exchange) -> Reply:
        caller = await self._reception.caller(exchange, Scope.CREATE)
        if (exchange.header(b"x-dashscope-async") or "").strip().lower() != "enable":
            raise SynchronousCall
        if not self._vitals.room_on_disk():
            raise Unavailable(f"{Unavailable.sentence} The server's disk is nearly full.")
        submission = create.parse(await exchange.body(BODY_LIMIT))
        task = await self._admission.admit(submission, caller, _envelope(exchange))
        task_id = await self._store.insert(task)
        self._desk.work_arrived()
        if task_id == task.id:
            self._journal.publish(task)
        return reply(exchange, {"output": create.answer(task_id)})


def _envelope(exchange: Exchange) -> Envelope:
    return Envelope(
        request_id=exchange.request_id,
        workspace=exchange.header(b"x-dashscope-workspace"),
        idempotency_key=exchange.header(b"idempotency-key"),
        callback=exchange.header(b"x-kf2v-callback"),
        inspection=exchange.header(b"x-dashscope-datainspection"),
    )

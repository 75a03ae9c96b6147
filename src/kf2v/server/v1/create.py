"""POST …/video-synthesis: a submission becomes a promise."""

from kf2v.admission.intake import Intake
from kf2v.admission.keys import Scope
from kf2v.errors import SynchronousCall, Unavailable
from kf2v.server.desk import Desk
from kf2v.server.exchange import Exchange, Reply, reply
from kf2v.server.reception import Reception
from kf2v.server.vitals import Vitals
from kf2v.wire import Envelope
from kf2v.wire.v1 import create

#: two frames of 10 MB as base64, and some text
BODY_LIMIT = 30 * 1024 * 1024


class Create:
    """The create call. A 200 means that the task is on disk."""

    def __init__(self, *, reception: Reception, intake: Intake, desk: Desk, vitals: Vitals) -> None:
        self._reception = reception
        self._intake = intake
        self._desk = desk
        self._vitals = vitals

    async def __call__(self, exchange: Exchange) -> Reply:
        caller = await self._reception.caller(exchange, Scope.CREATE)
        if (exchange.header(b"x-dashscope-async") or "").lower() != "enable":
            raise SynchronousCall
        if not self._vitals.room_on_disk():
            raise Unavailable(f"{Unavailable.sentence} The server's disk is nearly full.")
        body = await exchange.body(BODY_LIMIT)
        submission = create.parse(body)
        task_id = await self._intake.take(submission, caller, envelope_of(exchange, body))
        self._desk.work_arrived()
        return reply(exchange, {"output": create.answer(task_id)})


def envelope_of(exchange: Exchange, body: bytes) -> Envelope:
    """What came around ``body``."""
    workspace, callback = exchange.header(b"x-dashscope-workspace"), exchange.header(b"x-kf2v-callback")
    idempotency_key = exchange.header(b"idempotency-key")
    return Envelope(
        request_id=exchange.request_id,
        idempotency_key=idempotency_key,
        digest="" if idempotency_key is None else create.digest(body, workspace, callback),
        wait=exchange.header(b"x-dashscope-wait-timeout"),
        callback=callback,
        inspection=exchange.header(b"x-dashscope-datainspection"),
    )

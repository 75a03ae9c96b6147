"""POST ``/kf2v/v1/chains``: several tasks at once, whose videos follow each other without a seam.

They are ordinary tasks, each judged, limited and counted like any other. Whatever can be seen to be wrong at once is
found before the first of them is made; what can only be found one after the other (moderation of prompts, limits)
leaves those made before it, and the refusal names them.
"""

import asyncio
from dataclasses import replace

from kf2v.admission.admit import Admission
from kf2v.admission.intake import Intake
from kf2v.admission.keys import Caller, Scope
from kf2v.admission.rules import check, granted_model
from kf2v.errors import ApiError, Unavailable
from kf2v.server.desk import Desk
from kf2v.server.exchange import Exchange, Reply, refusal, reply
from kf2v.server.reception import Reception
from kf2v.server.routes import EXT
from kf2v.server.routing import Route
from kf2v.server.v1.create import BODY_LIMIT, envelope_of
from kf2v.server.vitals import Vitals
from kf2v.wire import Submission
from kf2v.wire.ext import chains as wire
from kf2v.wire.v1.media import decode_data, is_data, is_upload, upload_key


class Chains:
    """Takes them."""

    def __init__(
        self, *, reception: Reception, admission: Admission, intake: Intake, desk: Desk, vitals: Vitals
    ) -> None:
        self._reception = reception
        self._admission = admission
        self._intake = intake
        self._desk = desk
        self._vitals = vitals

    def routes(self) -> list[Route]:
        return [Route("POST", f"{EXT}/chains", self)]

    async def __call__(self, exchange: Exchange) -> Reply:
        caller = await self._reception.caller(exchange, Scope.CREATE)
        if not self._vitals.room_on_disk():
            raise Unavailable(f"{Unavailable.sentence} The server's disk is nearly full.")
        body = await exchange.body(BODY_LIMIT)
        steps = wire.parse(body)
        await self._judge(steps, caller)
        envelope = envelope_of(exchange, body)
        made: list[str] = []
        try:
            for part, step in enumerate(steps, start=1):
                made.append(await self._intake.take(step, caller, replace(envelope, part=part)))
        except ApiError as error:
            if not made:
                raise
            return refusal(error, exchange.request_id, beside={"tasks": wire.render(made)})
        finally:
            self._desk.work_arrived()
        return reply(exchange, {"tasks": wire.render(made)})

    async def _judge(self, steps: tuple[Submission, ...], caller: Caller) -> None:
        """Raises what the first step that cannot be done would be refused with."""
        model = granted_model(steps[0].model, caller)
        check(steps[0], model)
        for number, frame in enumerate([steps[0].first_frame, *(step.last_frame for step in steps)]):
            if is_upload(frame):
                await self._admission.uploaded(wire.field_of(number), upload_key(frame), caller, model)
            elif is_data(frame):
                await asyncio.to_thread(decode_data, wire.field_of(number), frame)

"""POST ``/kf2v/v1/rewrite``: what a prompt would become, whatever ``prompt_extend`` says."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import structlog

from kf2v.admission.keys import Scope
from kf2v.catalog.models import MODELS
from kf2v.errors import RewriteFailed
from kf2v.server.aside import Aside
from kf2v.server.exchange import Exchange, Reply, reply
from kf2v.server.ext.trial import Trial
from kf2v.server.reception import Reception
from kf2v.server.routes import EXT
from kf2v.server.routing import Route
from kf2v.server.v1.create import BODY_LIMIT
from kf2v.wire.v1 import create

if TYPE_CHECKING:
    from kf2v.pipeline.rehearsal import Rehearsal

log = structlog.get_logger(__name__)


class Rewrite:
    """Reads a create body and creates nothing."""

    def __init__(
        self,
        *,
        reception: Reception,
        trial: Trial,
        rehearsal: "Callable[[], Rehearsal]",
        rewriting: Aside,
        rewriter: str,
        on_failure: Literal["keep", "fail"],
    ) -> None:
        self._reception = reception
        self._trial = trial
        self._rehearsal = rehearsal
        self._rewriting = rewriting
        self._rewriter = rewriter
        self._on_failure = on_failure

    def routes(self) -> list[Route]:
        return [Route("POST", f"{EXT}/rewrite", self)]

    async def __call__(self, exchange: Exchange) -> Reply:
        caller = await self._reception.caller(exchange, Scope.CREATE)
        examined = create.examine(await exchange.body(BODY_LIMIT))
        task = await self._trial.admitted(examined, caller, exchange)
        submission, job = examined.submission, task.job
        first = await self._trial.picture("first", submission.first_frame, caller, MODELS[job.model])
        last = await self._trial.picture("last", submission.last_frame, caller, MODELS[job.model])

        def rewritten() -> str:
            return self._rehearsal().rewrite(
                job.prompt, first(), last(), model=job.model, wished=job.inspect, request_id=exchange.request_id
            )

        told: dict[str, object] = {"prompt": submission.prompt, "actual_prompt": submission.prompt}
        told |= {"rewriter": self._rewriter, "rewritten": True}
        try:
            told["actual_prompt"] = await self._rewriting.run(rewritten)
        except RewriteFailed as error:
            reason = str(error.__cause__ or error)
            log.warning("prompt was not rewritten", request_id=exchange.request_id, reason=reason)
            if self._on_failure == "fail":
                raise
            told["rewritten"] = False
        return reply(exchange, told)

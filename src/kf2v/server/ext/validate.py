"""POST ``/kf2v/v1/validate``: everything that would be wrong with a submission, as far as it can be found out without
making it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from kf2v.admission.keys import Caller, Scope
from kf2v.admission.rules import RULES, model_of
from kf2v.catalog.models import Model
from kf2v.errors import ApiError, BodyInvalid, InternalError, InvalidParameter, Throttled, Unavailable
from kf2v.server.exchange import Exchange, Reply, reply
from kf2v.server.ext.trial import Trial, envelope_of, field_of
from kf2v.server.reception import Reception
from kf2v.server.routes import EXT
from kf2v.server.routing import Route
from kf2v.server.v1.create import BODY_LIMIT
from kf2v.tasks.job import Side
from kf2v.wire import Submission
from kf2v.wire.v1 import create
from kf2v.wire.v1.fields import misfit
from kf2v.wire.v1.media import check_reference

if TYPE_CHECKING:
    from kf2v.video import Size

#: not the submission's fault
_NOT_MISTAKES = (Throttled, InternalError, Unavailable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """Something a submission would fail with."""

    error: ApiError
    #: as ``parameters.seed``; empty where it is not about one field
    field: str

    def shown(self) -> dict[str, str]:
        told = {"code": self.error.code, "message": self.error.message}
        return told | {"field": self.field} if self.field else told


class Mistakes:
    """All that was found to be wrong with one submission, each once."""

    def __init__(self) -> None:
        self._found: list[Mistake] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def note(self, error: ApiError, field: str = "") -> None:
        """Raises what is no mistake of the submission."""
        if isinstance(error, _NOT_MISTAKES):
            raise error
        if isinstance(error, InvalidParameter):
            field = error.field or field
        if not any((m.error.code, m.error.message) == (error.code, error.message) for m in self._found):
            self._found.append(Mistake(error=error, field=field))

    def refusal(self, exchange: Exchange) -> Reply:
        """The one shape of errors, with the first mistake in it, and all of them beside it."""
        first = self._found[0].error
        told: dict[str, object] = {"code": first.code, "message": first.message}
        told["mistakes"] = [mistake.shown() for mistake in self._found]
        return reply(exchange, told, status=InvalidParameter.status)


class Validate:
    """Reads a create body and creates nothing."""

    def __init__(self, *, reception: Reception, trial: Trial) -> None:
        self._reception = reception
        self._trial = trial

    def routes(self) -> list[Route]:
        return [Route("POST", f"{EXT}/validate", self)]

    async def __call__(self, exchange: Exchange) -> Reply:
        caller = await self._reception.caller(exchange, Scope.CREATE)
        look = _flag(exchange.query(), "frames")
        body = await exchange.body(BODY_LIMIT)
        mistakes = Mistakes()
        try:
            examined = create.examine(body)
        except BodyInvalid as error:
            mistakes.note(error)
            return mistakes.refusal(exchange)
        for flaw in examined.flaws:
            mistakes.note(flaw)
        submission = replace(examined.submission, flaw=None)
        model, wished = await self._judge(submission, caller, exchange, mistakes)
        inspect = partial(self._trial.inspected, wished=wished, request_id=exchange.request_id) if look else None
        seen = await self._look_at(submission, caller, model, mistakes, inspect)
        if mistakes:
            return mistakes.refusal(exchange)
        assert model is not None
        told: dict[str, object] = {"valid": True, "model": model.name}
        told["resolution"] = submission.resolution or model.default_resolution
        return reply(exchange, told | {f"{which}_frame": _shown(size) for which, size in seen.items()})

    async def _judge(
        self, submission: Submission, caller: Caller, exchange: Exchange, mistakes: Mistakes
    ) -> tuple[Model | None, tuple[Side, ...]]:
        """Rules, rights and the prompt; the model, if there is one of that name, and what the caller wishes to be
        inspected."""
        envelope = envelope_of(exchange)
        try:
            self._trial.callback(envelope)
        except InvalidParameter as error:
            mistakes.note(error)
            envelope = replace(envelope, callback=None)
        if not submission.model:
            return None, ()
        try:
            model = model_of(caller.region, submission.model)
        except InvalidParameter as error:
            mistakes.note(error)
            return None, ()
        for rule in RULES:
            try:
                rule(submission, model)
            except InvalidParameter as error:
                mistakes.note(error)
                submission = replace(submission, resolution=None)
        try:
            task = await self._trial.admit(submission, caller, envelope)
        except ApiError as error:
            mistakes.note(error)
            return model, ()
        return model, task.job.inspect

    async def _look_at(
        self,
        submission: Submission,
        caller: Caller,
        model: Model | None,
        mistakes: Mistakes,
        inspect: "Callable[[str, str, Caller, Model], Awaitable[Size]] | None",
    ) -> "Mapping[str, Size]":
        """Sizes of both frames, as ``inspect`` tells them; without it, whether those that were sent or uploaded are
        there."""
        seen: dict[str, Size] = {}
        for which, reference in (("first", submission.first_frame), ("last", submission.last_frame)):
            if model is None or not reference or check_reference(field_of(which), reference) is not None:
                continue
            try:
                if inspect is not None:
                    seen[which] = await inspect(which, reference, caller, model)
                else:
                    await self._trial.check_reference(which, reference, caller, model)
            except ApiError as error:
                mistakes.note(error, field_of(which))
        return seen


def _shown(size: "Size") -> dict[str, int]:
    return {"width": size.width, "height": size.height}


def _flag(asked: Mapping[str, str], name: str) -> bool:
    value = asked.get(name, "").strip().lower()
    if value in ("", "false", "true"):
        return value == "true"
    raise misfit(name, value, "true or false")

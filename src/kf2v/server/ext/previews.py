"""What becomes of a submission, without submitting it: estimate, validate and rewrite.

All three read a create body and create nothing. Frames are fetched and decoded as a task would, by the same rules of
who may be asked, a few at a time.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Literal

import structlog

from kf2v.admission.admit import Admission
from kf2v.admission.keys import Caller, Scope
from kf2v.admission.rules import RULES, granted_model, model_of
from kf2v.blobs import Blobs, NoSuchBlob
from kf2v.catalog.models import MODELS, SECONDS, Model
from kf2v.catalog.prices import CURRENCIES, Prices
from kf2v.errors import (
    ApiError,
    BodyInvalid,
    FrameError,
    InternalError,
    InvalidParameter,
    InvalidUrl,
    RewriteFailed,
    Throttled,
    Unavailable,
)
from kf2v.metering.cost import money
from kf2v.metering.report import price_members
from kf2v.server.aside import Aside
from kf2v.server.exchange import Exchange, Reply, reply
from kf2v.server.forecast import Forecast
from kf2v.server.reception import Reception
from kf2v.server.routes import EXT
from kf2v.server.routing import Route
from kf2v.server.v1.create import BODY_LIMIT
from kf2v.tasks import Job, Task
from kf2v.tasks.job import Side
from kf2v.wire import Envelope, Submission
from kf2v.wire.v1 import create
from kf2v.wire.v1.fields import misfit, missing
from kf2v.wire.v1.media import check_reference, decode_data, is_data, is_upload, upload_key

if TYPE_CHECKING:
    from kf2v.pipeline.rehearsal import Rehearsal
    from kf2v.video import Frame, Size

#: stands for a frame that is looked at elsewhere
_SOMEWHERE = "https://example.com/frame.png"
#: not the submission's fault
_NOT_MISTAKES = (Throttled, InternalError, Unavailable)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """Something a submission would fail with."""

    error: ApiError
    #: as ``parameters.seed``; empty where it is not about one field
    field: str

    def shown(self) -> dict[str, str]:
        told = {"code": self.error.code, "message": self.error.message}
        return told | {"field": self.field} if self.field else told


class Previews:
    """The three of them. ``rehearsal`` is built when it is first needed, because it brings the codecs along."""

    def __init__(
        self,
        *,
        reception: Reception,
        admission: Admission,
        blobs: Blobs,
        prices: Prices,
        forecast: Forecast,
        rehearsal: "Callable[[], Rehearsal]",
        looking: Aside,
        rewriting: Aside,
        rewriter: str,
        on_failure: Literal["keep", "fail"],
    ) -> None:
        self._reception = reception
        self._admission = admission
        self._blobs = blobs
        self._prices = prices
        self._forecast = forecast
        self._rehearsal = rehearsal
        self._looking = looking
        self._rewriting = rewriting
        self._rewriter = rewriter
        self._on_failure = on_failure

    def routes(self) -> list[Route]:
        return [
            Route("POST", f"{EXT}/estimate", self.estimate),
            Route("POST", f"{EXT}/validate", self.validate),
            Route("POST", f"{EXT}/rewrite", self.rewrite),
        ]

    async def estimate(self, exchange: Exchange) -> Reply:
        """How large the video will be, what it will cost, and how long it will take."""
        caller = await self._reception.caller(exchange, Scope.CREATE)
        examined = create.examine(await exchange.body(BODY_LIMIT), whole=False)
        task = await self._admitted(examined, caller, exchange)
        size = await self._size_of_video(examined, task, caller)
        job, told = task.job, dict[str, object]()
        told |= {"model": job.model, "resolution": job.resolution, "width": size.width, "height": size.height}
        told |= {"seconds": SECONDS, "seed_rule": "random" if examined.submission.seed is None else "given"}
        if examined.submission.seed is not None:
            told["seed"] = job.seed
        told |= {"engine": job.engine, **self._price(task)}
        run = await self._forecast.run_seconds(job.engine, job.resolution)
        wait = await self._forecast.wait_seconds_of_new(caller.account, job.engine, job.resolution)
        expected = {"run_seconds": run, "wait_seconds": wait}
        return reply(exchange, told | {name: round(value, 1) for name, value in expected.items() if value is not None})

    async def validate(self, exchange: Exchange) -> Reply:
        """Everything that would be wrong with a submission, as far as it can be found out without making it."""
        caller = await self._reception.caller(exchange, Scope.CREATE)
        look = _flag(exchange.query(), "frames")
        body = await exchange.body(BODY_LIMIT)
        mistakes: list[Mistake] = []
        try:
            examined = create.examine(body)
        except BodyInvalid as error:
            _note(mistakes, error)
            return _refused(exchange, mistakes)
        for flaw in examined.flaws:
            _note(mistakes, flaw)
        submission = replace(examined.submission, flaw=None)
        model, wished = await self._judge(submission, caller, exchange, mistakes)
        inspect = partial(self._inspected, wished=wished, request_id=exchange.request_id) if look else None
        seen = await self._look_at(submission, caller, model, mistakes, inspect)
        if mistakes:
            return _refused(exchange, mistakes)
        assert model is not None
        told: dict[str, object] = {"valid": True, "model": model.name}
        told["resolution"] = submission.resolution or model.default_resolution
        return reply(exchange, told | {f"{which}_frame": _shown(size) for which, size in seen.items()})

    async def rewrite(self, exchange: Exchange) -> Reply:
        """What the prompt would become, whatever ``prompt_extend`` says."""
        caller = await self._reception.caller(exchange, Scope.CREATE)
        examined = create.examine(await exchange.body(BODY_LIMIT))
        task = await self._admitted(examined, caller, exchange)
        submission, model = examined.submission, MODELS[task.job.model]
        first = await self._picture("first", submission.first_frame, caller, model)
        last = await self._picture("last", submission.last_frame, caller, model)
        told: dict[str, object] = {"prompt": submission.prompt, "actual_prompt": submission.prompt}
        told |= {"rewriter": self._rewriter, "rewritten": True}
        try:
            rewritten = partial(self._rewritten, task.job, first, last, exchange.request_id)
            told["actual_prompt"] = await self._rewriting.run(rewritten)
        except RewriteFailed as error:
            reason = str(error.__cause__ or error)
            log.warning("prompt was not rewritten", request_id=exchange.request_id, reason=reason)
            if self._on_failure == "fail":
                raise
            told["rewritten"] = False
        return reply(exchange, told)

    def _rewritten(self, job: Job, first: "Callable[[], Frame]", last: "Callable[[], Frame]", request_id: str) -> str:
        return self._rehearsal().rewrite(
            job.prompt, first(), last(), model=job.model, wished=job.inspect, request_id=request_id
        )

    async def _admitted(self, examined: create.Examined, caller: Caller, exchange: Exchange) -> Task:
        """The task that a submission with these fields would become, its frames left out. Raises ApiError."""
        if examined.flaws:
            raise examined.flaws[0]
        submission = examined.submission
        model = granted_model(submission.model, caller)
        for rule in RULES:
            rule(submission, model)
        return await self._rehearse_admission(submission, caller, _envelope(exchange))

    async def _rehearse_admission(self, submission: Submission, caller: Caller, envelope: Envelope) -> Task:
        """Frames are left out because admission would keep them."""
        bare = replace(submission, first_frame=_SOMEWHERE, last_frame=_SOMEWHERE)
        return await self._admission.admit(bare, caller, envelope)

    async def _judge(
        self, submission: Submission, caller: Caller, exchange: Exchange, mistakes: list[Mistake]
    ) -> tuple[Model | None, tuple[Side, ...]]:
        """Rules, rights and the prompt; the model, if there is one of that name, and what the caller wishes to be
        inspected."""
        envelope = _envelope(exchange)
        try:
            self._admission.callback(envelope)
        except InvalidParameter as error:
            _note(mistakes, error)
            envelope = replace(envelope, callback=None)
        if not submission.model:
            return None, ()
        try:
            model = model_of(caller.region, submission.model)
        except InvalidParameter as error:
            _note(mistakes, error)
            return None, ()
        for rule in RULES:
            try:
                rule(submission, model)
            except InvalidParameter as error:
                _note(mistakes, error)
                submission = replace(submission, resolution=None)
        try:
            task = await self._rehearse_admission(submission, caller, envelope)
        except ApiError as error:
            _note(mistakes, error)
            return model, ()
        return model, task.job.inspect

    async def _look_at(
        self,
        submission: Submission,
        caller: Caller,
        model: Model | None,
        mistakes: list[Mistake],
        inspect: "Callable[[Callable[[], Frame], str, Model], Size] | None",
    ) -> "Mapping[str, Size]":
        """Sizes of both frames, as ``inspect`` tells them; without it, whether those that were sent or uploaded are
        there."""
        seen: dict[str, Size] = {}
        for which, reference in (("first", submission.first_frame), ("last", submission.last_frame)):
            field = f"input.{which}_frame_url"
            if model is None or not reference or check_reference(field, reference) is not None:
                continue
            try:
                picture = await self._picture(which, reference, caller, model)
                if inspect is not None:
                    seen[which] = await self._looking.run(partial(inspect, picture, which, model))
                elif is_data(reference):
                    await self._looking.run(partial(decode_data, field, reference))
            except ApiError as error:
                _note(mistakes, error, field)
        return seen

    async def _size_of_video(self, examined: create.Examined, task: Task, caller: Caller) -> "Size":
        """From the first frame, or from what is said about it."""
        submission, width, height = examined.submission, examined.width, examined.height
        if submission.first_frame:
            picture = await self._picture("first", submission.first_frame, caller, MODELS[task.job.model])

            size = await self._looking.run(partial(self._measured, picture))
            width, height = size.width, size.height
        if width is None or height is None:
            raise missing("input.first_frame_url", "the URL of an image, or input.width and input.height its size")
        return await self._looking.run(partial(self._size_at, width, height, task.job.area))

    def _measured(self, picture: "Callable[[], Frame]") -> "Size":
        return self._rehearsal().size_of_frame(picture())

    def _inspected(
        self, picture: "Callable[[], Frame]", which: str, model: Model, *, wished: tuple[Side, ...], request_id: str
    ) -> "Size":
        frame = picture()
        part = "first_frame" if which == "first" else "last_frame"
        self._rehearsal().inspect(frame, part, model=model.name, wished=wished, request_id=request_id)
        return self._rehearsal().size_of_frame(frame)

    def _size_at(self, width: int, height: int, area: int) -> "Size":
        return self._rehearsal().size_of_video(width, height, area)

    async def _picture(self, which: str, reference: str, caller: Caller, model: Model) -> "Callable[[], Frame]":
        """What gets and decodes a frame, blocking. Raises InvalidMediaUrl for an upload that is not there."""
        field = f"input.{which}_frame_url"
        key = ""
        if is_upload(reference):
            key = await self._admission.uploaded(field, upload_key(reference), caller, model)

        def get() -> bytes:
            if is_data(reference):
                return decode_data(field, reference)
            return self._kept(key) if key else self._rehearsal().fetch(reference)

        def picture() -> "Frame":
            with _about(f"{which}_frame_url"):
                return self._rehearsal().decode(get())

        return picture

    def _kept(self, key: str) -> bytes:
        try:
            return self._blobs.read(key)
        except NoSuchBlob as error:
            raise InvalidUrl(f"{InvalidUrl.sentence} The uploaded file is there no longer.") from error

    def _price(self, task: Task) -> dict[str, object]:
        """What the whole video costs, and where that is from; nothing where nobody knows."""
        price = self._prices.find(task.region, task.job.model, task.job.resolution)
        if price is None:
            return {}
        costs = {currency: price.per_second(currency) for currency in CURRENCIES}
        whole = {f"cost_{c.lower()}": money(Decimal(SECONDS) * each) for c, each in costs.items() if each is not None}
        return {**whole, "price": price_members(price)}


def _envelope(exchange: Exchange) -> Envelope:
    """What admission judges of it."""
    return Envelope(
        request_id=exchange.request_id,
        callback=exchange.header(b"x-kf2v-callback"),
        inspection=exchange.header(b"x-dashscope-datainspection"),
    )


def _refused(exchange: Exchange, mistakes: list[Mistake]) -> Reply:
    """The one shape of errors, with the first mistake in it, and all of them beside it."""
    first = mistakes[0].error
    told: dict[str, object] = {"code": first.code, "message": first.message}
    told["mistakes"] = [mistake.shown() for mistake in mistakes]
    return reply(exchange, told, status=InvalidParameter.status)


def _note(mistakes: list[Mistake], error: ApiError, field: str = "") -> None:
    """Once each. Raises what is no mistake of the submission."""
    if isinstance(error, _NOT_MISTAKES):
        raise error
    if isinstance(error, InvalidParameter):
        field = error.field or field
    if not any((m.error.code, m.error.message) == (error.code, error.message) for m in mistakes):
        mistakes.append(Mistake(error=error, field=field))


@contextmanager
def _about(field: str) -> Generator[None]:
    """Frame errors from inside say which frame they are about, as those of a task do."""
    try:
        yield
    except FrameError as error:
        raise type(error)(f"{error.message} ({field})") from error


def _shown(size: "Size") -> dict[str, int]:
    return {"width": size.width, "height": size.height}


def _flag(asked: Mapping[str, str], name: str) -> bool:
    value = asked.get(name, "").strip().lower()
    if value in ("", "false", "true"):
        return value == "true"
    raise misfit(name, value, "true or false")

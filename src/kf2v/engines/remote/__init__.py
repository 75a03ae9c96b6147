"""Another endpoint of the same API makes the video: Model Studio itself, or another kf2v.

Not an ``Engine``: what comes back is a finished file, which is kept as it is. ``pipeline.relay`` tells the story; here
is what is asked of the far side, at which pace, and what its answers mean.
"""

import io
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import msgspec

from kf2v.engines.remote.pace import Pace
from kf2v.net.dashscope import DashScope, Request, Standing
from kf2v.net.remote_error import Garbled
from kf2v.tasks import Job
from kf2v.wire.v1.times import render_compact

NAME = "remote"
#: how kf2v calls itself in its answers
KF2V = "kf2v"
#: rows and pages of a far list that are looked through for one task
ROWS, PAGES = 50, 20


class Listed(msgspec.Struct):
    """One row of the far side's list."""

    task_id: str
    model_name: str | None = None
    #: milliseconds since the epoch, by the far side's clock; None where it does not say
    gmt_create: int | None = None

    def may_be(self, model: str, since: int) -> bool:
        """Whether nothing it says speaks against its being of ``model``, and of ``since`` or later."""
        return (self.gmt_create is None or self.gmt_create >= since) and self.model_name in (None, "", model)


class _Rows(msgspec.Struct):
    data: list[Listed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A far side: where it is, as whom it is asked, and how models are called there."""

    #: ends in ``/api/v1``
    base_url: str
    api_key: str
    #: our name of a model → theirs; the same where it is not named
    models: Mapping[str, str]
    #: seconds that one answer may take
    timeout: float
    #: shared by all who ask
    pace: Pace

    @contextmanager
    def line(self) -> Generator["Line"]:
        """A connection for one thread. Raises RemoteError where it cannot even be tried."""
        with DashScope(self.base_url, self.api_key, timeout=self.timeout) as client:
            yield Line(client, self.pace)

    def request(self, job: Job, first_url: str, last_url: str) -> Request:
        """``job`` as the far side is asked for it; nothing is left to its own choice."""
        return Request(
            model=self.named(job.model),
            first_frame_url=first_url,
            last_frame_url=last_url,
            prompt=job.prompt or None,
            negative_prompt=job.negative_prompt or None,
            resolution=job.resolution,
            seed=job.seed,
            prompt_extend=job.prompt_extend,
            watermark=job.watermark,
            inspect=job.inspect,
        )

    def named(self, model: str) -> str:
        """What the far side calls ``model``."""
        return self.models.get(model, model)


class Line:
    """What is asked of the far side, each when it is its turn. All of it raises RemoteError."""

    def __init__(self, client: DashScope, pace: Pace) -> None:
        self._client = client
        self._pace = pace

    @property
    def repeats_safely(self) -> bool:
        """Whether what answered last makes one task of one ``Idempotency-Key``, however often it is asked."""
        return self._client.software.startswith(KF2V)

    def greet(self) -> None:
        """Ask something that needs a key and changes nothing."""
        self._pace.turn()
        self._client.list(page_size=1)

    def upload(self, data: bytes, *, name: str, model: str) -> str:
        """The ``oss://`` URL under which the far side finds ``data``."""
        self._pace.turn()
        return self._client.upload(io.BytesIO(data), name=name, model=model)

    def submit(self, request: Request, *, key: str) -> str:
        """The far side's task id; ``key`` is the ``Idempotency-Key``."""
        self._pace.turn()
        return self._client.create(request, idempotency_key=key).task_id

    def look(self, task_id: str) -> Standing:
        """Where the task stands."""
        self._pace.turn()
        return self._client.get(task_id)

    def cancel(self, task_id: str) -> None:
        self._pace.turn()
        self._client.cancel(task_id)

    def listed(self, model: str, *, since: int) -> Iterator[Listed]:
        """The account's tasks of ``model`` submitted at or after then (milliseconds), as far as it says so."""
        for page in range(1, PAGES + 1):
            self._pace.turn()
            answer = self._client.list(start_time=render_compact(since), model_name=model, page_no=page, page_size=ROWS)
            try:
                rows = msgspec.convert(answer, _Rows, strict=False).data
            except msgspec.ValidationError as error:
                raise Garbled("UnexpectedAnswer", f"not a list of tasks: {error}") from error
            yield from (row for row in rows if row.may_be(model, since))
            if len(rows) < ROWS:
                return

    def download(self, url: str, file: BinaryIO, on_progress: Callable[[int, int | None], None]) -> int:
        """Append the video behind ``url`` to ``file``; returns its size in bytes."""
        return self._client.download(url, file, on_progress)

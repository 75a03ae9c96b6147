"""GET and HEAD of a finished video by its signed link. The link is the right: no key is asked for."""

import re

from starlette.responses import FileResponse, Response

from kf2v.blobs import Blobs, NoSuchBlob
from kf2v.clock import HOUR, Clock
from kf2v.errors import InvalidParameter, LinkRefused, NotFound
from kf2v.links import Signer
from kf2v.server.exchange import Exchange, Reply, refusal
from kf2v.store import Store
from kf2v.tasks import State, Task, Video
from kf2v.tasks.retention import Retention

_SPAN = re.compile(r"(\d*)\s*-\s*(\d*)", re.ASCII)


class RangeNotSatisfiable(InvalidParameter):
    """A part of a file that the file does not have."""

    status, code, sentence = 416, "InvalidRange", "The requested range cannot be satisfied."


class VideoLinks:
    """Links to videos: the same for every poll, and dead when the task is forgotten.

    Those of a kept task are renewed every hour, and each is good for as long as a task's usually is, give or take that
    hour.
    """

    def __init__(self, *, signer: Signer, clock: Clock, retention: Retention, public_url: str | None) -> None:
        self._signer = signer
        self._clock = clock
        self._retention = retention
        self._public_url = public_url

    def url(self, task: Task, exchange: Exchange) -> str | None:
        """The link of a SUCCEEDED task; None for every other."""
        if task.state is not State.SUCCEEDED:
            return None
        expires_at = self._retention.expires_at(task)
        if expires_at is None:
            now = self._clock.now()
            expires_at = now - now % HOUR + HOUR + self._retention.task
        return exchange.base_url(self._public_url) + self._signer.sign(f"/results/{task.id}.mp4", expires_at=expires_at)


class Files:
    """Serves videos."""

    def __init__(self, *, signer: Signer, store: Store, blobs: Blobs, clock: Clock, retention: Retention) -> None:
        self._signer = signer
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._retention = retention

    async def download(self, exchange: Exchange) -> Reply:
        """Raises LinkRefused for a link that is forged or past its end, NotFound for a video that is gone early."""
        now = self._clock.now()
        self._signer.verify(exchange.scope["path"], exchange.query(), now=now)
        task = await self._store.get(exchange.parts["name"].removesuffix(".mp4"))
        if task is None or self._retention.forgotten(task, now):
            raise LinkRefused
        video = task.outcome.video if task.outcome else None
        if video is None:
            raise NotFound
        return self._serve(exchange, video)

    def _serve(self, exchange: Exchange, video: Video) -> Reply:
        etag = f'"{video.digest}"'
        try:
            path = self._blobs.locate(video.key)
        except NoSuchBlob as error:
            raise NotFound from error
        headers = {"etag": etag, "cache-control": "private, max-age=86400", "accept-ranges": "bytes"}
        if is_known(exchange.header(b"if-none-match") or "", etag):
            return Response(status_code=304, headers=headers)
        if path is None:
            return Response(self._blobs.read(video.key), media_type="video/mp4", headers=headers)
        asked = exchange.header(b"range")
        if asked is not None:
            try:
                spans = parts_of(asked, video.size) if exchange.header(b"if-range") in (None, etag) else []
            except RangeNotSatisfiable as error:
                there = f"bytes */{video.size}".encode()
                return refusal(error, exchange.request_id, headers=((b"content-range", there),))
            others = [(name, value) for name, value in exchange.scope["headers"] if name != b"range"]
            wanted = [(b"range", f"bytes={','.join(spans)}".encode())] if spans else []
            exchange.scope["headers"] = others + wanted
        return FileResponse(path, media_type="video/mp4", headers=headers)


def is_known(header: str, etag: str) -> bool:
    """Whether an ``If-None-Match`` names ``etag``, weak or strong, RFC 9110, section 13.1.2."""
    return any(tag.strip() in (etag, f"W/{etag}", "*") for tag in header.split(","))


def parts_of(header: str, size: int) -> list[str]:
    """The spans of a ``Range`` that a file of ``size`` bytes has; none where the header makes no sense and is to be
    ignored, as RFC 9110, section 14.2 has it. Raises RangeNotSatisfiable if all of them lie beyond the end."""
    unit, _, spans = header.partition("=")
    if unit.strip().lower() != "bytes":
        return []
    there: list[str] = []
    for text in spans.split(","):
        span = _SPAN.fullmatch(text.strip())
        if span is None or span[1] == span[2] == "" or max(len(span[1]), len(span[2])) > 18:
            return []
        start = int(span[1]) if span[1] else size - int(span[2])
        if span[1] and span[2] and int(span[2]) < start:
            return []
        if start < size:
            there.append(span[0])
    if not there:
        raise RangeNotSatisfiable
    return there

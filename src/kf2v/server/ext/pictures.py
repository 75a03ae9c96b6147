"""Pictures of a task: previews while it runs, and single frames of the finished video."""

import asyncio
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from starlette.responses import Response

from kf2v.admission.keys import Scope
from kf2v.blobs import Blobs, NoSuchBlob
from kf2v.errors import NotFound
from kf2v.server.exchange import Exchange, Reply
from kf2v.server.ext.portrait import Portrait
from kf2v.server.ext.tasks import TASKS, OwnTasks
from kf2v.server.reception import Reception
from kf2v.server.routing import Route
from kf2v.server.v1.files import is_known
from kf2v.tasks import Video

#: videos from elsewhere may have any number of frames, so the last one has none
NAMED = {"first": 0, "last": None}
#: videos decoded at once: a frame takes up to a second of a core, and polls shall go on meanwhile
AT_ONCE = 2


class Pictures:
    """Serves them to whoever may see the task."""

    def __init__(
        self,
        *,
        reception: Reception,
        tasks: OwnTasks,
        blobs: Blobs,
        portrait: Portrait,
        png_of: Callable[[Path, int | None], bytes],
    ) -> None:
        """``png_of`` finds a frame in a file, the last without a number; raises IndexError if there is none of it."""
        self._reception = reception
        self._tasks = tasks
        self._blobs = blobs
        self._portrait = portrait
        self._png_of = png_of
        self._decoders = asyncio.Semaphore(AT_ONCE)

    def routes(self) -> list[Route]:
        return [
            Route("GET", f"{TASKS}/{{task_id}}/previews/{{number}}.jpg", self.preview),
            Route("GET", f"{TASKS}/{{task_id}}/frames/{{number}}.png", self.frame),
        ]

    async def preview(self, exchange: Exchange) -> Reply:
        """A rough picture of what is coming, of the newest attempt. Raises NotFound."""
        caller = await self._reception.caller(exchange, Scope.READ)
        task = await self._tasks.visible(exchange, caller)
        keys = await self._portrait.newest_previews(task)
        number = _number(exchange.parts["number"])
        if number is None or number >= len(keys):
            raise NotFound(f"The task has {len(keys)} previews so far, numbered from 0.")
        etag = _etag(keys[number])
        headers = {"etag": etag, "cache-control": "private, no-cache"}  # another attempt may bring another picture
        if is_known(exchange.header(b"if-none-match") or "", etag):
            return Response(status_code=304, headers=headers)
        try:
            data = await asyncio.to_thread(self._blobs.read, keys[number])
        except NoSuchBlob as error:
            raise NotFound from error
        return Response(data, media_type="image/jpeg", headers=headers)

    async def frame(self, exchange: Exchange) -> Reply:
        """A frame as it is decoded from the finished video. Raises NotFound."""
        caller = await self._reception.caller(exchange, Scope.READ)
        task = await self._tasks.visible(exchange, caller)
        name = exchange.parts["number"]
        number = NAMED[name] if name in NAMED else _number(name)
        if number is None and name not in NAMED:
            raise NotFound(f"A frame is a number from 0, 'first' or 'last', but got {name[:100]!r}.")
        video = task.outcome.video if task.outcome else None
        if video is None:
            raise NotFound(f"The task has no video, it is {task.state.shown}.")
        etag = _etag(f"{video.digest}/{name}")
        headers = {"etag": etag, "cache-control": "private, max-age=86400, immutable"}
        if is_known(exchange.header(b"if-none-match") or "", etag):
            return Response(status_code=304, headers=headers)
        async with self._decoders:
            data = await asyncio.to_thread(self._decoded, video, number)
        return Response(data, media_type="image/png", headers=headers)

    def _decoded(self, video: Video, number: int | None) -> bytes:
        try:
            path = self._blobs.locate(video.key)
            if path is not None:
                return self._png_of(path, number)
            with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
                file.write(self._blobs.read(video.key))
                file.flush()
                return self._png_of(Path(file.name), number)
        except IndexError as error:
            raise NotFound(f"The video has no frame {number}; the last one is called 'last'.") from error
        except (NoSuchBlob, FileNotFoundError) as error:
            raise NotFound from error


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _etag(text: str) -> str:
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'

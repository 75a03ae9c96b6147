"""A submission tried out: judged, and its frames fetched and decoded, as a task would, while nothing is created.

Frames are looked at by the same rules of who may be asked, a few at a time.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from kf2v.admission.admit import Admission
from kf2v.admission.keys import Caller
from kf2v.admission.rules import check, granted_model
from kf2v.blobs import Blobs, NoSuchBlob
from kf2v.catalog.models import Model
from kf2v.errors import InvalidUrl, about_frame
from kf2v.server.aside import Aside
from kf2v.server.exchange import Exchange
from kf2v.tasks import Task
from kf2v.tasks.job import Side
from kf2v.wire import Envelope, Submission
from kf2v.wire.v1.create import Examined
from kf2v.wire.v1.media import decode_data, is_data, is_upload, upload_key

if TYPE_CHECKING:
    from kf2v.pipeline.rehearsal import Rehearsal
    from kf2v.video import Frame, Size

#: stands for a frame that is looked at elsewhere
_SOMEWHERE = "https://example.com/frame.png"


class Trial:
    """What estimate, validate and rewrite have in common.

    ``rehearsal`` is built when it is first needed, because it brings the codecs along.
    """

    def __init__(
        self, *, admission: Admission, blobs: Blobs, rehearsal: "Callable[[], Rehearsal]", looking: Aside
    ) -> None:
        self._admission = admission
        self._blobs = blobs
        self._rehearsal = rehearsal
        self._looking = looking

    async def admitted(self, examined: Examined, caller: Caller, exchange: Exchange) -> Task:
        """The task that a submission with these fields would become, its frames left out. Raises ApiError."""
        if examined.flaws:
            raise examined.flaws[0]
        submission = examined.submission
        model = granted_model(submission.model, caller)
        check(submission, model)
        return await self.admit(submission, caller, envelope_of(exchange))

    async def admit(self, submission: Submission, caller: Caller, envelope: Envelope) -> Task:
        """What ``Admission.admit`` says; frames are left out because it would keep them."""
        bare = replace(submission, first_frame=_SOMEWHERE, last_frame=_SOMEWHERE)
        return await self._admission.admit(bare, caller, envelope)

    def callback(self, envelope: Envelope) -> None:
        """Raises InvalidMediaUrl for one that cannot or may not be asked."""
        self._admission.callback(envelope)

    async def picture(self, which: str, reference: str, caller: Caller, model: Model) -> "Callable[[], Frame]":
        """What gets and decodes a frame, blocking. Raises InvalidMediaUrl for an upload that is not there."""
        field = field_of(which)
        key = ""
        if is_upload(reference):
            key = await self._admission.uploaded(field, upload_key(reference), caller, model)

        def get() -> bytes:
            if is_data(reference):
                return decode_data(field, reference)
            return self._kept(key) if key else self._rehearsal().fetch(reference)

        def picture() -> "Frame":
            with about_frame(f"{which}_frame_url"):
                return self._rehearsal().decode(get())

        return picture

    async def check_reference(self, which: str, reference: str, caller: Caller, model: Model) -> None:
        """Raises InvalidMediaUrl for a frame that was sent or uploaded and is not there, without looking at it."""
        await self.picture(which, reference, caller, model)
        if is_data(reference):
            await self._looking.run(partial(decode_data, field_of(which), reference))

    async def inspected(
        self,
        which: str,
        reference: str,
        caller: Caller,
        model: Model,
        *,
        wished: tuple[Side, ...],
        request_id: str,
    ) -> "Size":
        """The size of a frame that moderation lets pass. Raises ApiError for any other."""
        picture = await self.picture(which, reference, caller, model)

        def inspect() -> "Size":
            frame = picture()
            part = "first_frame" if which == "first" else "last_frame"
            self._rehearsal().inspect(frame, part, model=model.name, wished=wished, request_id=request_id)
            return self._rehearsal().size_of_frame(frame)

        return await self._looking.run(inspect)

    async def measured(self, which: str, reference: str, caller: Caller, model: Model) -> "Size":
        """The size of a frame. Raises ApiError for one that cannot be used."""
        picture = await self.picture(which, reference, caller, model)
        return await self._looking.run(lambda: self._rehearsal().size_of_frame(picture()))

    async def size_of_video(self, width: int, height: int, area: int) -> "Size":
        """Of one that begins with a frame of that size. Raises FrameError."""
        return await self._looking.run(lambda: self._rehearsal().size_of_video(width, height, area))

    def _kept(self, key: str) -> bytes:
        try:
            return self._blobs.read(key)
        except NoSuchBlob as error:
            raise InvalidUrl(f"{InvalidUrl.sentence} The uploaded file is there no longer.") from error


def field_of(which: str) -> str:
    """Where a create body names its ``first`` or ``last`` frame."""
    return f"input.{which}_frame_url"


def envelope_of(exchange: Exchange) -> Envelope:
    """What admission judges of it."""
    return Envelope(
        request_id=exchange.request_id,
        callback=exchange.header(b"x-kf2v-callback"),
        inspection=exchange.header(b"x-dashscope-datainspection"),
    )

"""From a submission to a task that can be promised."""

import asyncio
from dataclasses import dataclass, replace
from typing import Literal

from kf2v.admission.callers import Caller
from kf2v.admission.jobs import job_of
from kf2v.admission.keeping import keep
from kf2v.admission.reading import Reading
from kf2v.admission.receivers import receiver
from kf2v.admission.routing import Routing
from kf2v.admission.rules import check, granted_model
from kf2v.blobs import Blobs
from kf2v.catalog.models import MODELS, Model
from kf2v.clock import Clock
from kf2v.errors import ApiError, InvalidMediaUrl, InvalidParameter
from kf2v.moderation import Note
from kf2v.moderation.panel import unheard
from kf2v.net.guard import AllowedHosts
from kf2v.store import Store
from kf2v.tasks import Failure, FrameSource, Task
from kf2v.tasks.identity import new_id
from kf2v.tasks.retention import Retention
from kf2v.wire import Envelope, Submission
from kf2v.wire.v1 import inspection
from kf2v.wire.v1.media import decode_data, is_data, is_upload, upload_key

#: where frames are kept that came inline
_INLINE = "inputs/"
#: the frames of a task with a flaw
_NOWHERE = FrameSource(kind="url", place="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Judges submissions by the rules of one deployment."""

    store: Store
    blobs: Blobs
    clock: Clock
    retention: Retention
    #: which engine makes the videos
    routing: Routing
    reading: Reading
    validation: Literal["strict", "cloud"] = "strict"
    #: hosts that callbacks may lead to whatever their address is
    callback_hosts: AllowedHosts

    async def admit(self, submission: Submission, caller: Caller, envelope: Envelope, note: Note = unheard) -> Task:
        """The task to insert; its uploaded and inline frames are kept or found already. May take long, where somebody
        outside reads the prompt; ``note`` hears of that what the task's owner may like to know.

        Raises ModelAccessDenied for a model that is not for this caller, DataInspectionFailed for a prompt that
        moderation does not let pass, and InvalidParameter for what cannot be done; in ``cloud`` validation that mistake
        becomes the task's flaw, except for an unknown model, which the cloud refuses at submission as well, and for an
        unusable callback, of which nobody could hear otherwise.
        """
        model = granted_model(submission.model, caller)
        wished = inspection.parse(envelope.inspection)
        callback = self.callback(envelope)
        task_id = new_id(self.clock.now())
        flaw: Failure | None = None
        first = last = _NOWHERE
        try:
            check(submission, model)
            await self.reading.read(
                submission.prompt, model=model.name, request_id=envelope.request_id, wished=wished, note=note
            )
            first = await self._source("first", submission.first_frame, task_id, caller, model)
            last = await self._source("last", submission.last_frame, task_id, caller, model)
        except ApiError as error:
            if self.validation == "strict" or not isinstance(error, InvalidParameter):
                await self.discard(first)
                raise
            flaw = Failure(code=error.code, message=error.message)
            submission = replace(submission, resolution=None)  # it may be what is wrong
        return Task(
            id=task_id,
            account=caller.account,
            key_id=caller.key_id,
            request_id=envelope.request_id,
            workspace=caller.workspace.id if caller.workspace else None,
            region=caller.region.id,
            flaw=flaw,
            priority=caller.rights.priority,
            callback=callback,
            submitted_at=self.clock.now(),
            job=job_of(submission, model, route=self.routing.route(model.name), first=first, last=last, inspect=wished),
        )

    def callback(self, envelope: Envelope) -> str | None:
        """Where the end of the task is to be told. Raises InvalidMediaUrl for what cannot or may not be asked."""
        if not envelope.callback:
            return None
        return receiver("X-Kf2v-Callback", envelope.callback, self.callback_hosts)

    async def _source(self, which: str, reference: str, task_id: str, caller: Caller, model: Model) -> FrameSource:
        field = f"input.{which}_frame_url"
        if is_data(reference):
            key = f"{_INLINE}{task_id}/{which}"
            await asyncio.to_thread(self._keep, key, field, reference)
            return FrameSource(kind="blob", place=key)
        if is_upload(reference):
            return FrameSource(kind="blob", place=await self.uploaded(field, upload_key(reference), caller, model))
        return FrameSource(kind="url", place=reference)

    def _keep(self, key: str, field: str, uri: str) -> None:
        keep(self.blobs, key, decode_data(field, uri))

    async def discard(self, *frames: FrameSource) -> None:
        """Forget those that came with a submission that is no task."""
        own = [frame.place for frame in frames if frame.kind == "blob" and frame.place.startswith(_INLINE)]
        if own:
            await asyncio.to_thread(lambda: [self.blobs.delete(place) for place in own])

    async def uploaded(self, field: str, key: str, caller: Caller, model: Model) -> str:
        """Where an upload's bytes are. One answer for missing, expired and foreign ones: a key is no secret."""
        upload = await self.store.get_upload(key)
        if upload is not None and upload.account == caller.account:
            expired = upload.created_at + self.retention.upload <= self.clock.now()
            if not expired and upload.model in (model.name, *MODELS[model.name].aliases):
                return upload.blob
        raise InvalidMediaUrl(
            f"{InvalidMediaUrl.sentence} {field} should be a file this account uploaded for {model.name} in the last "
            f"{self.retention.upload // 3_600_000} hours, but got 'oss://{key[:200]}'.",
            field=field,
        )

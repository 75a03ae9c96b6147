"""The SDKs' ``file://`` flow: GET a policy, POST a form with it, name the file ``oss://…`` afterwards."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message

from kf2v.admission.keeping import keep
from kf2v.admission.keys import Scope
from kf2v.admission.rules import granted_model
from kf2v.blobs import Blobs
from kf2v.clock import Clock
from kf2v.errors import FileAlreadyExists, InvalidParameter, PayloadTooLarge
from kf2v.links import Signer
from kf2v.server.exchange import Answer, Exchange, Inbox, Reply, reply
from kf2v.server.reception import Reception
from kf2v.store import Store, Upload
from kf2v.wire.v1 import uploads as wire
from kf2v.wire.v1.fields import misfit
from kf2v.wire.v1.media import FRAME_LIMIT

PATH = "/uploads"
#: the file, and the form around it
_FORM_LIMIT = FRAME_LIMIT + 64 * 1024


class Uploads:
    """Policies and the posts they allow."""

    def __init__(
        self,
        *,
        reception: Reception,
        store: Store,
        blobs: Blobs,
        clock: Clock,
        signer: Signer,
        public_url: str | None,
    ) -> None:
        self._reception = reception
        self._store = store
        self._blobs = blobs
        self._clock = clock
        self._signer = signer
        self._public_url = public_url

    async def policy(self, exchange: Exchange) -> Reply:
        """A policy for one account and model, with a directory of its own."""
        caller = await self._reception.caller(exchange, Scope.CREATE)
        query = exchange.query()
        if query.get("action") != "getPolicy":
            raise misfit("action", query.get("action"), "'getPolicy'")
        model = granted_model(query.get("model"), caller)
        now = self._clock.now()
        grant = wire.Grant(
            account=caller.account,
            model=model.name,
            directory=wire.directory_of(caller.account, exchange.request_id, now=now, signer=self._signer),
            expires_at=wire.expiry(now),
        )
        host = exchange.base_url(self._public_url) + PATH
        return reply(exchange, {"data": wire.render_policy(grant, upload_host=host, signer=self._signer)})

    async def post(self, exchange: Exchange) -> Reply:
        """Keep one file. Raises PolicyInvalid, PolicyExpired, FileAlreadyExists, PayloadTooLarge, InvalidParameter."""
        async with _form(exchange) as form:
            fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
            grant, key = wire.check_form(fields, signer=self._signer, now=self._clock.now())
            data = await _file(form)
        await self._keep(grant, key, data)
        return Answer(b"", content_type=b"text/plain")

    async def _keep(self, grant: wire.Grant, key: str, data: bytes) -> None:
        if await self._store.get_upload(key) is not None:
            raise FileAlreadyExists
        name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        blob = f"uploads/{name}-{secrets.token_hex(8)}"
        await asyncio.to_thread(keep, self._blobs, blob, data)
        upload = Upload(
            key=key,
            blob=blob,
            account=grant.account,
            model=grant.model,
            size=len(data),
            created_at=self._clock.now(),
        )
        if not await self._store.put_upload(upload):
            await asyncio.to_thread(self._blobs.delete, blob)
            raise FileAlreadyExists


async def _file(form: FormData) -> bytes:
    files = [value for value in form.getlist("file") if isinstance(value, UploadFile)]
    if len(files) != 1:
        raise InvalidParameter(f'Required parameter "file" missing from the form: exactly one, but got {len(files)}.')
    data = await files[0].read(FRAME_LIMIT + 1)
    if len(data) > FRAME_LIMIT:
        raise PayloadTooLarge(f"{PayloadTooLarge.sentence} An image may have {FRAME_LIMIT} bytes.")
    return data


@asynccontextmanager
async def _form(exchange: Exchange) -> AsyncGenerator[FormData]:
    """The form of a request, never larger than it may be; its temporary files are gone afterwards."""
    content_type = exchange.header(b"content-type") or ""
    if not content_type.lower().startswith("multipart/form-data"):
        raise misfit("Content-Type", content_type, "'multipart/form-data'")
    request = Request(exchange.scope, _Bounded(exchange.inbox))
    try:
        form = await request.form(max_files=4, max_fields=40)
    except (MultiPartException, HTTPException, KeyError, UnicodeDecodeError) as error:
        raise InvalidParameter(f"Required body invalid, please check the form. {error}") from error
    try:
        yield form
    finally:
        await form.close()


class _Bounded:
    """A body that ends in PayloadTooLarge when it is larger than a form may be."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    async def __call__(self) -> Message:
        message = await self._inbox()
        if self._inbox.size > _FORM_LIMIT:
            raise PayloadTooLarge(f"{PayloadTooLarge.sentence} An image may have {FRAME_LIMIT} bytes.")
        return message

"""How a frame is named: an http(s) URL, an ``oss://`` key of an upload, or a ``data:`` URI with its bytes."""

import base64
import binascii
import re

from kf2v.errors import InvalidMediaUrl, InvalidParameter
from kf2v.net.guard import parse_frame_url

OSS = "oss://"
#: reference: "File size: No more than 10 MB"
FRAME_LIMIT = 10 * 1024 * 1024

_DATA = re.compile(
    r"data:(?P<mime>[\w.+-]+/[\w.+-]+)?(?P<parameters>(?:; *[\w.+-]+=[^;,]*)*)(?P<base64>; *base64)?,",
    re.ASCII | re.IGNORECASE,
)
#: what of base64 clients escape
_ESCAPED = re.compile(r"%(2B|2F|3D)", re.IGNORECASE)


def is_data(reference: str) -> bool:
    return reference[:5].lower() == "data:"


def is_upload(reference: str) -> bool:
    return reference.startswith(OSS)


def upload_key(reference: str) -> str:
    """Everything after ``oss://``, unescaped by nobody: the SDKs send keys as they are."""
    return reference.removeprefix(OSS)


def check_reference(field: str, reference: str) -> InvalidParameter | None:
    """The mistake in ``reference`` that can be seen without asking anyone, if there is one."""
    try:
        if is_data(reference):
            _data_header(reference)
        elif not is_upload(reference):
            parse_frame_url(reference)
        elif not upload_key(reference):
            raise InvalidMediaUrl(f"{InvalidMediaUrl.sentence} The key of the upload is missing; got '{OSS}'.")
    except InvalidMediaUrl as error:
        why = error.message.removeprefix(InvalidMediaUrl.sentence).strip()
        wanted = f"{field} should be an http(s), oss:// or data: URL."
        return InvalidMediaUrl(f"{InvalidMediaUrl.sentence} {wanted} {why}", field=field)
    return None


def _data_header(uri: str) -> int:
    """Where the data starts. Raises InvalidMediaUrl."""
    header = _DATA.match("data:" + uri[5:2048])
    if header is None or not header["base64"]:
        came = uri if len(uri) <= 80 else uri[:80] + "…"
        why = f"A data: URL should read data:image/png;base64,…; got '{came}'."
        raise InvalidMediaUrl(f"{InvalidMediaUrl.sentence} {why}")
    if header["mime"] and not header["mime"].lower().startswith(("image/", "application/octet-stream")):
        why = f"A data: URL should hold an image; got '{header[0][:80]}…'."
        raise InvalidMediaUrl(f"{InvalidMediaUrl.sentence} {why}")
    return header.end()


def decode_data(field: str, uri: str) -> bytes:
    """The bytes in a ``data:`` URI. Raises InvalidParameter if there are none or too many."""
    text = "".join(uri[_data_header(uri) :].split())
    if len(text) > FRAME_LIMIT * 4 // 3 + 4:
        raise InvalidParameter(f"Exceeded limit on max bytes per data-uri item : {FRAME_LIMIT}. {field} is larger.")
    text = _ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), text)
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidMediaUrl(f"{InvalidMediaUrl.sentence} {field} is no valid base64.") from error
    if not data:
        raise InvalidMediaUrl(f"{InvalidMediaUrl.sentence} {field} holds no data.")
    if len(data) > FRAME_LIMIT:
        raise InvalidParameter(f"Exceeded limit on max bytes per data-uri item : {FRAME_LIMIT}. {field} is larger.")
    return data

"""Signed links: a path, an end and a signature, spelled like the vendor's object store spells them.

``…?Expires=<unix seconds>&OSSAccessKeyId=<key id>&Signature=<base64url(HMAC-SHA256(secret, path LF expires))>``.
Parameter names are those of OSS signature V1, so that clients which take such links apart keep working.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from kf2v.errors import LinkRefused

KEY_ID = "kf2v"


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs and verifies; whoever has the same ``secret`` agrees."""

    secret: bytes

    def digest(self, text: str) -> str:
        """HMAC-SHA256 of ``text``, base64url without padding."""
        mac = hmac.new(self.secret, text.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    def matches(self, text: str, digest: str) -> bool:
        """Whether ``digest`` is that of ``text``, compared in constant time."""
        return hmac.compare_digest(self.digest(text).encode(), digest.encode("utf-8", "surrogatepass"))

    def sign(self, path: str, *, expires_at: int) -> str:
        """``path`` with its query; it ends at ``expires_at`` milliseconds, rounded down to a second."""
        expires = expires_at // 1000
        query = {
            "Expires": str(expires),
            "OSSAccessKeyId": KEY_ID,
            "Signature": self.digest(f"{path}\n{expires}"),
        }
        return f"{quote(path)}?{urlencode(query)}"

    def verify(self, path: str, query: Mapping[str, str], *, now: int) -> None:
        """Raises LinkRefused unless ``query`` is what ``sign`` gave ``path`` and its end is not reached."""
        expires, signature = query.get("Expires", ""), query.get("Signature", "")
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
            raise LinkRefused
        if not self.matches(f"{path}\n{expires}", signature):
            raise LinkRefused
        if now >= int(expires) * 1000:
            raise LinkRefused

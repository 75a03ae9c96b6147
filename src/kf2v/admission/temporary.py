"""Temporary keys: a key's digest and an end, signed. Nothing is kept, so nothing has to be cleaned up.

``st-`` and base64url of the parent's digest (32 bytes), the end (unix seconds, 5 bytes) and HMAC-SHA256 over both
(32 bytes). It names its parent by the digest and not by the id, so it ends with the parent's secret too.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

PREFIX = "st-"
_DIGEST, _END, _MAC = 32, 5, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Temporary:
    """What a temporary key says, once its signature is found right."""

    #: of its parent, hexadecimal
    digest: str
    #: unix seconds
    ends: int


@dataclass(frozen=True, slots=True)
class Mint:
    """Makes temporary keys and reads them; whoever has the same ``secret`` agrees."""

    secret: bytes

    def make(self, digest: str, *, ends: int) -> str:
        said = bytes.fromhex(digest) + ends.to_bytes(_END)
        return PREFIX + base64.urlsafe_b64encode(said + self._mac(said)).decode()

    def read(self, secret: str) -> Temporary | None:
        """None for what was not made here, whatever it looks like."""
        if not secret.startswith(PREFIX):
            return None
        try:
            data = base64.b64decode(secret.removeprefix(PREFIX), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        said, mac = data[:-_MAC], data[-_MAC:]
        if len(said) != _DIGEST + _END or not hmac.compare_digest(mac, self._mac(said)):
            return None
        return Temporary(digest=said[:_DIGEST].hex(), ends=int.from_bytes(said[_DIGEST:]))

    def _mac(self, said: bytes) -> bytes:
        return hmac.new(self.secret, b"temporary key\n" + said, hashlib.sha256).digest()

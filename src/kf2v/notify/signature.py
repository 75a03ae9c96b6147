"""Secrets and signatures as Standard Webhooks has them (https://www.standardwebhooks.com), so that receivers verify
them with a library they find in any language."""

import base64
import binascii
import hashlib
import hmac
import secrets
from datetime import UTC, datetime

from standardwebhooks import Webhook

PREFIX = "whsec_"
#: bytes; the standard asks for 24 to 64
_SHORTEST, _LONGEST, _OWN = 24, 64, 32


def new_secret() -> str:
    return _spelled(secrets.token_bytes(_OWN))


def account_secret(deployment: bytes, account: str) -> str:
    """What signs events to addresses that a request named: the same for all of an account's, and kept nowhere."""
    return _spelled(hmac.new(deployment, b"webhook secret\n" + account.encode(), hashlib.sha256).digest())


def is_secret(text: str) -> bool:
    """Whether ``text`` is ``whsec_`` and the base64 of 24 to 64 bytes."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    return text.startswith(PREFIX) and _SHORTEST <= len(key) <= _LONGEST


def signed(body: bytes, *, event_id: str, secret: str, now: int) -> dict[str, str]:
    """The headers that let a receiver believe ``body``; ``now`` is when it is sent, in milliseconds."""
    second = now // 1000
    signature = Webhook(secret).sign(event_id, datetime.fromtimestamp(second, UTC), body.decode())
    return {"webhook-id": event_id, "webhook-timestamp": str(second), "webhook-signature": signature}


def _spelled(key: bytes) -> str:
    return PREFIX + base64.b64encode(key).decode()

"""API keys: made once, shown once, kept as keyed hashes.

A key is random and long, so a fast keyed hash is enough (a slow one guards weak passwords, which these are not); it is
keyed with the deployment's secret, so that a copied database does not let anyone test guesses.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum

from kf2v.clock import Clock
from kf2v.errors import InvalidApiKey, NoApiKey, ScopeMissing
from kf2v.store import NOTHING_SAID, Key, Rights, Store
from kf2v.wire.backstage import KeyShown

DEFAULT_ACCOUNT = "default"
_BEARER = "bearer"
#: callers remembered by what they sent, so that a poll costs no hash and no query
REMEMBERED = 4_096


class Scope(StrEnum):
    """What a key is for."""

    #: submit tasks and upload their frames
    CREATE = "create"
    #: read the account's tasks, videos, events and usage
    READ = "read"
    #: end, keep and delete the account's tasks
    CANCEL = "cancel"
    #: the account's keys, workspaces and webhooks
    MANAGE = "manage"
    #: every account, and the service itself
    ADMIN = "admin"


#: what a key may do of which nothing is said
ORDINARY = frozenset({Scope.CREATE, Scope.READ, Scope.CANCEL})
#: of the key that exists at start
OWNER = Rights(scopes=frozenset(Scope))


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is asking."""

    account: str
    key_id: str
    rights: Rights = NOTHING_SAID

    def may(self, scope: Scope) -> bool:
        return scope in (self.rights.scopes or ORDINARY)

    def require(self, scope: Scope) -> None:
        """Raises ScopeMissing unless the key is for this."""
        if not self.may(scope):
            raise ScopeMissing(f"{ScopeMissing.sentence} This needs a key with the scope '{scope}'.")


class Keys:
    """Makes, finds and revokes keys."""

    def __init__(self, store: Store, *, secret: bytes, clock: Clock) -> None:
        self._store = store
        self._secret = secret
        self._clock = clock
        self._callers: dict[str, Caller] = {}

    def _digest(self, key: str) -> str:
        return hmac.new(self._secret, b"api key\n" + key.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    async def create(self, account: str) -> tuple[Key, str]:
        """A new key of ``account``: its row, and the key itself, which nobody can show again."""
        secret = f"sk-{secrets.token_hex(16)}"
        return await self.ensure(secret, account), secret

    async def ensure(self, secret: str, account: str, rights: Rights = Rights()) -> Key:
        """Let ``secret`` be a key of ``account`` with ``rights``; the one there is if it is one already."""
        row = Key(
            id=str(secrets.randbelow(10**15)),
            account=account,
            digest=self._digest(secret),
            hint=secret[-4:],
            rights=rights,
            created_at=self._clock.now(),
        )
        await self._store.put_key(row)
        return await self._store.key_by_digest(row.digest) or row

    async def list(self) -> tuple[Key, ...]:
        return await self._store.keys()

    async def revoke(self, key_id: str) -> bool:
        """False if there is no such key or it is revoked already. Its next use is refused."""
        revoked = await self._store.revoke_key(key_id, now=self._clock.now())
        self._callers = {}  # a new one, so that whoever looked a key up meanwhile remembers it in vain
        return revoked

    async def identify(self, authorization: str | None) -> Caller:
        """The caller behind an ``Authorization`` header. Raises NoApiKey or InvalidApiKey.

        ``Bearer`` with nothing behind it, as the Java SDK sends with an empty key, is no key.
        """
        authorization, callers = authorization or "", self._callers
        if (known := callers.get(authorization)) is not None:
            return known
        scheme, _, secret = authorization.strip().partition(" ")
        secret = secret.strip()
        if scheme.lower() != _BEARER:
            # a bare key, as some clients send it, is still a key; anything with another scheme is a wrong one
            secret = "" if not scheme else f"{scheme} {secret}".strip()
        if not secret:
            raise NoApiKey
        key = await self._store.key_by_digest(self._digest(secret))
        if key is None or key.revoked_at is not None:
            raise InvalidApiKey
        if len(callers) >= REMEMBERED:
            callers.clear()
        callers[authorization] = caller = Caller(account=key.account, key_id=key.id, rights=key.rights)
        return caller


def shown(key: Key, secret: str | None = None) -> KeyShown:
    """``key`` as its owner sees it; with ``secret`` only in the answer that makes it."""
    return KeyShown(
        id=key.id,
        account=key.account,
        hint=key.hint,
        created_at=key.created_at,
        revoked_at=key.revoked_at,
        key=secret,
    )

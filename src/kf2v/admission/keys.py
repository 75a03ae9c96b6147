"""API keys: made once, shown once, kept as keyed hashes.

A key is random and long, so a fast keyed hash is enough (a slow one guards weak passwords, which these are not); it is
keyed with the deployment's secret, so that a copied database does not let anyone test guesses.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import replace

from kf2v.admission.callers import ORDINARY, OWNER, Caller, Scope
from kf2v.admission.grants import check_within, checked_account, granted
from kf2v.admission.temporary import Mint
from kf2v.catalog.regions import REGIONS, Region
from kf2v.clock import SECOND, Clock
from kf2v.errors import ApiError, InvalidApiKey, NoApiKey
from kf2v.store import NOTHING_SAID, Key, Rights, Store
from kf2v.wire.keys import NO_WISH, KeyShown, KeyWish
from kf2v.wire.v1.fields import misfit

__all__ = ["DEFAULT_ACCOUNT", "ORDINARY", "OWNER", "REMEMBERED", "Caller", "Keys", "Scope", "shown"]

DEFAULT_ACCOUNT = "default"
_BEARER = "bearer"
#: callers remembered by what they sent, so that a poll costs no hash and no query
REMEMBERED = 4_096


class Keys:
    """Makes, finds, changes and revokes keys.

    Where a method takes ``by``, that caller does it, within its own rights and account; without one it is the owner.
    """

    def __init__(self, store: Store, *, secret: bytes, clock: Clock, region: Region = REGIONS["all"]) -> None:
        self._store = store
        self._secret = secret
        self._clock = clock
        self._region = region
        self._mint = Mint(secret)
        self._callers: dict[str, Caller] = {}
        #: when keys were used, by id, as far as it is not written
        self._used: dict[str, int] = {}

    def _digest(self, key: str) -> str:
        return hmac.new(self._secret, b"api key\n" + key.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    async def create(self, account: str, wish: KeyWish = NO_WISH, *, by: Caller | None = None) -> tuple[Key, str]:
        """A new key of ``account``: its row, and the key itself, which nobody can show again.

        Raises InvalidParameter for a wish that makes no sense and AccessDenied for more than ``by`` has.
        """
        secret = _drawn()
        blank = self._row(secret, checked_account(account), NOTHING_SAID)
        row = granted(wish, blank, now=self._clock.now())
        if by is not None:
            check_within(row, by)
        await self._check_workspace(row.account, wish)
        await self._store.put_key(row)
        return row, secret

    async def ensure(self, secret: str, account: str, rights: Rights = NOTHING_SAID) -> Key:
        """Let ``secret`` be a key of ``account`` with ``rights``; the one there is if it is one already."""
        row = self._row(secret, account, rights)
        await self._store.put_key(row)
        there = await self._store.key_by_digest(row.digest) or row
        if there.rights == NOTHING_SAID != rights:  # made before keys had rights
            there = await self._store.change_key(there.id, lambda key: replace(key, rights=rights)) or there
        return there

    def _row(self, secret: str, account: str, rights: Rights) -> Key:
        return Key(
            id=str(secrets.randbelow(10**15)),
            account=account,
            digest=self._digest(secret),
            hint=secret[-4:],
            rights=rights,
            created_at=self._clock.now(),
        )

    async def list(self, account: str | None = None) -> tuple[Key, ...]:
        """All keys, or an account's, oldest first."""
        found = (key for key in await self._store.keys() if account in (None, key.account))
        return tuple(replace(key, used_at=self._used.get(key.id, key.used_at)) for key in found)

    async def change(self, key_id: str, wish: KeyWish, *, by: Caller | None = None) -> Key | None:
        """The key as it is now, or None if there is none that could be changed. Raises as ``create``."""
        account = next((key.account for key in await self._store.keys() if key.id == key_id), None)
        if account is not None and (by is None or by.account == account or by.may(Scope.ADMIN)):
            await self._check_workspace(account, wish)
        now = self._clock.now()
        return await self._change(key_id, lambda key: granted(wish, key, now=now), by)

    async def rotate(self, key_id: str, *, by: Caller | None = None) -> tuple[Key, str] | None:
        """A new secret for the same key; the old one is dead at once, and so are temporary keys made of it.

        None if there is no such key or it is revoked. Raises AccessDenied for a key that may do more than ``by``.
        """
        secret, old = _drawn(), list[Key]()

        def renewed(key: Key) -> Key:
            old[:] = [key]
            return replace(key, digest=self._digest(secret), hint=secret[-4:])

        key = await self._change(key_id, renewed, by)
        if key is None:
            return None
        await self._bury(old[0])
        return key, secret

    async def _bury(self, old: Key) -> None:
        """Leave a revoked key where the old secret was, so that no start makes it a key again: see ``ensure``."""
        now = self._clock.now()
        grave = replace(
            old,
            id=str(secrets.randbelow(10**15)),
            label=f"the secret that key {old.id} had",
            created_at=now,
            revoked_at=now,
        )
        await self._store.put_key(grave)

    async def switch(self, key_id: str, *, on: bool, by: Caller | None = None) -> Key | None:
        """Switch a key off for a while, or on again. None and AccessDenied as in ``rotate``."""
        now = self._clock.now()
        return await self._change(
            key_id, lambda key: replace(key, disabled_at=None if on else key.disabled_at or now), by
        )

    async def revoke(self, key_id: str, *, by: Caller | None = None) -> Key | None:
        """End a key for good. Its next use is refused. None and AccessDenied as in ``rotate``."""
        now = self._clock.now()
        return await self._change(key_id, lambda key: replace(key, revoked_at=now), by)

    async def _change(self, key_id: str, change: Callable[[Key], Key], by: Caller | None) -> Key | None:
        refused = list[ApiError]()

        def judged(key: Key) -> Key | None:
            if key.revoked_at is not None:
                return None
            if by is not None and key.account != by.account and not by.may(Scope.ADMIN):
                return None
            try:
                changed = change(key)
                if by is not None:
                    check_within(key, by)
                    check_within(changed, by)
            except ApiError as error:
                refused[:] = [error]
                return None
            return changed

        try:
            changed = await self._store.change_key(key_id, judged)
        finally:
            self._callers = {}  # a new one, so that whoever looked a key up meanwhile remembers it in vain
        if refused:
            raise refused[0]
        return changed

    async def _check_workspace(self, account: str, wish: KeyWish) -> None:
        if wish.workspace:
            kept = {workspace.id for workspace in await self._store.workspaces(account)}
            if wish.workspace not in kept:
                raise misfit("workspace", wish.workspace, f"a workspace of account '{account}'")

    async def identify(self, authorization: str | None) -> Caller:
        """The caller behind an ``Authorization`` header. Raises NoApiKey or InvalidApiKey.

        ``Bearer`` with nothing behind it, as the Java SDK sends with an empty key, is no key.
        """
        authorization, callers, now = authorization or "", self._callers, self._clock.now()
        caller = callers.get(authorization)
        if caller is None:
            caller = await self._find(_secret_in(authorization))
            if len(callers) >= REMEMBERED:
                callers.clear()
            callers[authorization] = caller
        if caller.expires_at is not None and caller.expires_at <= now:
            raise InvalidApiKey(f"{InvalidApiKey.sentence} It has expired.")
        self._used[caller.key_id] = now
        return caller

    async def _find(self, secret: str) -> Caller:
        temporary = self._mint.read(secret)
        digest = self._digest(secret) if temporary is None else temporary.digest
        key = await self._store.key_by_digest(digest)
        if key is None or not hmac.compare_digest(key.digest, digest) or key.revoked_at is not None:
            raise InvalidApiKey
        if key.disabled_at is not None:
            raise InvalidApiKey(f"{InvalidApiKey.sentence} It is switched off.")
        ends = [end for end in (key.expires_at, temporary and temporary.ends * SECOND) if end is not None]
        return Caller(
            account=key.account,
            key_id=key.id,
            rights=key.rights,
            region=self._region_of(key),
            expires_at=min(ends, default=None),
            temporary=temporary is not None,
            digest=digest,
        )

    def _region_of(self, key: Key) -> Region:
        """Where ``key`` works. Raises InvalidApiKey, as the cloud does, for a key of another region than this."""
        if key.rights.region in (None, self._region.name):
            return self._region
        if self._region.name != "all":
            raise InvalidApiKey
        return REGIONS[key.rights.region]

    def temporary(self, caller: Caller, *, seconds: int) -> tuple[str, int]:
        """A key that ends by itself and may do what ``caller`` may; and when it ends, unix seconds."""
        ends = -(-self._clock.now() // SECOND) + seconds
        if caller.expires_at is not None:
            ends = min(ends, caller.expires_at // SECOND)
        return self._mint.make(caller.digest, ends=ends), ends

    async def write_uses(self) -> None:
        """Write down when keys were used since the last time. Raises Unavailable, and then forgets nothing."""
        used, self._used = self._used, {}
        try:
            if used:
                await self._store.touch_keys(used)
        except BaseException:
            self._used = used | self._used
            raise


def _drawn() -> str:
    return f"sk-{secrets.token_hex(16)}"


def _secret_in(authorization: str) -> str:
    """The key in an ``Authorization`` header. Raises NoApiKey."""
    scheme, _, secret = authorization.strip().partition(" ")
    secret = secret.strip()
    if scheme.lower() != _BEARER:
        # a bare key, as some clients send it, is still a key; anything with another scheme is a wrong one
        secret = "" if not scheme else f"{scheme} {secret}".strip()
    if not secret:
        raise NoApiKey
    return secret


def shown(key: Key, secret: str | None = None) -> KeyShown:
    """``key`` as its owner sees it; with ``secret`` only in the answer that makes it."""
    scopes, rights = key.rights.scopes or ORDINARY, key.rights
    return KeyShown(
        id=key.id,
        account=key.account,
        hint=key.hint,
        label=key.label,
        scopes=tuple(scope.value for scope in Scope if scope in scopes),
        models=rights.models,
        networks=rights.networks,
        region=rights.region,
        workspace=rights.workspace,
        priority=rights.priority,
        created_at=key.created_at,
        expires_at=key.expires_at,
        disabled_at=key.disabled_at,
        revoked_at=key.revoked_at,
        used_at=key.used_at,
        key=secret,
    )

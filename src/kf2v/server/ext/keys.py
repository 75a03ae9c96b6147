"""/kf2v/v1/keys: an account's keys, for whoever may manage them; every account's for whoever may do everything."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict

from kf2v.admission.keys import Caller, Keys, Scope, shown
from kf2v.errors import NotFound
from kf2v.server.exchange import Exchange, Reply, reply
from kf2v.server.ext.accounts import account_for, account_seen, managing_caller
from kf2v.server.reception import Reception
from kf2v.server.routes import EXT
from kf2v.server.routing import Route
from kf2v.store import Key
from kf2v.wire.keys import KeyWish, NewKey, parse

#: a wish has a few lists of names
BODY_LIMIT = 64 * 1024


class KeyCalls:
    """Lists, makes, changes and ends keys. A key of another account is as unknown as one that never was."""

    def __init__(self, *, reception: Reception, keys: Keys) -> None:
        self._reception = reception
        self._keys = keys

    def routes(self) -> list[Route]:
        one = f"{EXT}/keys/{{key_id}}"
        return [
            Route("GET", f"{EXT}/keys", self.list),
            Route("POST", f"{EXT}/keys", self.create),
            Route("GET", one, self.get),
            Route("PATCH", one, self.change),
            Route("POST", f"{one}/rotate", self.rotate),
            Route("POST", f"{one}/disable", self.disable),
            Route("POST", f"{one}/enable", self.enable),
            Route("POST", f"{one}/revoke", self.revoke),
        ]

    async def list(self, exchange: Exchange) -> Reply:
        caller = await managing_caller(self._reception, exchange)
        keys = await self._keys.list(account_seen(caller, exchange.query().get("account")))
        return reply(exchange, {"keys": [_members(key) for key in keys]})

    async def get(self, exchange: Exchange) -> Reply:
        """Raises NotFound."""
        caller = await managing_caller(self._reception, exchange)
        account = None if caller.may(Scope.ADMIN) else caller.account
        keys = {key.id: key for key in await self._keys.list(account)}
        return _told(exchange, keys.get(exchange.parts["key_id"]))

    async def create(self, exchange: Exchange) -> Reply:
        caller = await managing_caller(self._reception, exchange, lasting=True)
        wish = parse(NewKey, await exchange.body(BODY_LIMIT))
        key, secret = await self._keys.create(account_for(caller, wish.account), wish, by=caller)
        return reply(exchange, {"key": _members(key, secret)})

    async def change(self, exchange: Exchange) -> Reply:
        """Raises NotFound, as the rest does, for a key that is not there, foreign or revoked."""
        caller = await managing_caller(self._reception, exchange, lasting=True)
        wish = parse(KeyWish, await exchange.body(BODY_LIMIT))
        return _told(exchange, await self._keys.change(exchange.parts["key_id"], wish, by=caller))

    async def rotate(self, exchange: Exchange) -> Reply:
        caller = await managing_caller(self._reception, exchange, lasting=True)
        key, secret = await self._keys.rotate(exchange.parts["key_id"], by=caller) or (None, None)
        return _told(exchange, key, secret)

    async def disable(self, exchange: Exchange) -> Reply:
        return await self._one(exchange, lambda key_id, by: self._keys.switch(key_id, on=False, by=by))

    async def enable(self, exchange: Exchange) -> Reply:
        return await self._one(exchange, lambda key_id, by: self._keys.switch(key_id, on=True, by=by))

    async def revoke(self, exchange: Exchange) -> Reply:
        return await self._one(exchange, lambda key_id, by: self._keys.revoke(key_id, by=by))

    async def _one(self, exchange: Exchange, act: Callable[[str, Caller], Awaitable[Key | None]]) -> Reply:
        caller = await managing_caller(self._reception, exchange, lasting=True)
        return _told(exchange, await act(exchange.parts["key_id"], caller))


def _told(exchange: Exchange, key: Key | None, secret: str | None = None) -> Reply:
    if key is None:
        raise NotFound(f"There is no key {exchange.parts['key_id'][:64]!r} here, or it is revoked.")
    return reply(exchange, {"key": _members(key, secret)})


def _members(key: Key, secret: str | None = None) -> dict[str, object]:
    return {name: value for name, value in asdict(shown(key, secret)).items() if value is not None}

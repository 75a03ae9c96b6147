"""Who is asking, and whether he may: the first question of every handler that is not open to everybody."""

from kf2v.admission.keys import Caller, Keys, Scope
from kf2v.server.exchange import Exchange


class Reception:
    """Turns requests into callers."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def caller(self, exchange: Exchange, scope: Scope) -> Caller:
        """Whose key came along. Raises NoApiKey, InvalidApiKey, and ScopeMissing for a key that is not for this."""
        caller = await self._keys.identify(exchange.header(b"authorization"))
        caller.require(scope)
        return caller

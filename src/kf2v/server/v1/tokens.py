"""POST /tokens: a key that ends by itself, for programs that should not get the real one."""

from kf2v.admission.keys import Keys
from kf2v.server.exchange import Exchange, Reply, reply
from kf2v.server.reception import Reception
from kf2v.wire.v1.fields import misfit

#: seconds
DEFAULT, LONGEST = 60, 1800


class Tokens:
    """Temporary keys."""

    def __init__(self, *, reception: Reception, keys: Keys) -> None:
        self._reception = reception
        self._keys = keys

    async def __call__(self, exchange: Exchange) -> Reply:
        """It may do what its parent may, for as long as that may, but makes no further ones."""
        caller = await self._reception.caller(exchange, None)
        caller.require_lasting()
        asked = exchange.query().get("expire_in_seconds") or str(DEFAULT)
        if not (asked.isascii() and asked.isdigit() and len(asked) <= 9 and 1 <= int(asked) <= LONGEST):
            raise misfit("expire_in_seconds", asked, f"an integer between 1 and {LONGEST}")
        token, ends = self._keys.temporary(caller, seconds=int(asked))
        return reply(exchange, {"token": token, "expires_at": ends})

"""Who is asking, and whether he may: the first question of every handler that is not open to everybody."""

from kf2v.admission.grants import is_inside
from kf2v.admission.keys import Caller, Keys, Scope
from kf2v.admission.workspaces import Workspaces
from kf2v.errors import AccessDenied
from kf2v.server.exchange import Exchange


class Reception:
    """Turns requests into callers."""

    def __init__(self, keys: Keys, workspaces: Workspaces) -> None:
        self._keys = keys
        self._workspaces = workspaces

    async def caller(self, exchange: Exchange, scope: Scope | None, *, authorization: str | None = None) -> Caller:
        """Whose key came along; with ``scope`` it has to be for that. With ``authorization`` it came otherwise than in
        the header of that name.

        Raises NoApiKey, InvalidApiKey, AccessDenied for an address that the key is not for, ScopeMissing and
        WorkspaceDenied.
        """
        caller = await self._keys.identify(authorization or exchange.header(b"authorization"))
        if caller.rights.networks:
            peer = exchange.peer
            if not is_inside(peer, caller.rights.networks):
                raise AccessDenied(f"{AccessDenied.sentence} This key cannot be used from {peer or 'nowhere'}.")
        if scope is not None:
            caller.require(scope)
        return await self._workspaces.enter(caller, exchange.header(b"x-dashscope-workspace"))

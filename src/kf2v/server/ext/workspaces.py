"""/kf2v/v1/workspaces: an account's workspaces, for whoever may manage them."""

from dataclasses import asdict

from kf2v.admission.keys import Caller, Scope
from kf2v.admission.workspaces import Workspaces, shown
from kf2v.errors import AccessDenied, NotFound
from kf2v.server.exchange import Exchange, Reply, reply
from kf2v.server.ext.accounts import account_for, account_seen, managing_caller
from kf2v.server.ext.keys import BODY_LIMIT
from kf2v.server.reception import Reception
from kf2v.server.routes import EXT
from kf2v.server.routing import Route
from kf2v.wire.keys import NewWorkspace, parse


class WorkspaceCalls:
    """Lists, makes and removes workspaces."""

    def __init__(self, *, reception: Reception, workspaces: Workspaces) -> None:
        self._reception = reception
        self._workspaces = workspaces

    def routes(self) -> list[Route]:
        return [
            Route("GET", f"{EXT}/workspaces", self.list),
            Route("POST", f"{EXT}/workspaces", self.create),
            Route("DELETE", f"{EXT}/workspaces/{{workspace_id}}", self.remove),
        ]

    async def list(self, exchange: Exchange) -> Reply:
        caller = await managing_caller(self._reception, exchange)
        found = await self._workspaces.list(account_seen(caller, exchange.query().get("account")))
        return reply(exchange, {"workspaces": [asdict(shown(workspace)) for workspace in found]})

    async def create(self, exchange: Exchange) -> Reply:
        caller = await self._unbound(exchange)
        wish = parse(NewWorkspace, await exchange.body(BODY_LIMIT))
        made = await self._workspaces.create(account_for(caller, wish.account), wish)
        return reply(exchange, {"workspace": asdict(shown(made))})

    async def remove(self, exchange: Exchange) -> Reply:
        """Raises NotFound for one that is not there or another account's."""
        caller = await self._unbound(exchange)
        workspace_id = exchange.parts["workspace_id"]
        account = None if caller.may(Scope.ADMIN) else caller.account
        if not await self._workspaces.remove(workspace_id, account=account):
            raise NotFound(f"There is no workspace {workspace_id[:64]!r} here.")
        return reply(exchange, {})

    async def _unbound(self, exchange: Exchange) -> Caller:
        """A manager of all workspaces: one that is bound to a workspace could widen what it is bound to."""
        caller = await managing_caller(self._reception, exchange, lasting=True)
        if caller.rights.workspace is not None:
            raise AccessDenied(f"{AccessDenied.sentence} This key belongs to workspace '{caller.rights.workspace}'.")
        return caller

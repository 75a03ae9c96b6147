"""Workspaces: parts of an account, with models of their own.

An account that keeps none accepts every name, because programs written for the cloud send theirs; one that keeps some
knows no others.
"""

import re
import secrets
from dataclasses import replace

from kf2v.admission.callers import Caller
from kf2v.admission.grants import checked_account, checked_label, checked_models
from kf2v.clock import Clock
from kf2v.errors import WorkspaceDenied
from kf2v.store import IdTaken, Store, Workspace
from kf2v.wire.keys import NewWorkspace, WorkspaceShown
from kf2v.wire.v1.fields import misfit

#: characters of a name that is accepted unseen
LONGEST = 128

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class Workspaces:
    """Makes and removes workspaces, and lets callers in."""

    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        #: by account and id, so that a poll costs no query
        self._known: dict[str, dict[str, Workspace]] = {}

    async def enter(self, caller: Caller, named: str | None) -> Caller:
        """``caller`` where its key belongs, or where the request wants it to work. Raises WorkspaceDenied."""
        bound = caller.rights.workspace
        wanted = named or bound
        if wanted is None:
            return caller
        if bound not in (None, wanted):
            raise WorkspaceDenied
        kept = await self._of(caller.account)
        if wanted in kept:
            return replace(caller, workspace=kept[wanted])
        if kept or bound is not None or len(wanted) > LONGEST:
            raise WorkspaceDenied
        return replace(caller, workspace=Workspace(id=wanted, account=caller.account, created_at=0))

    async def list(self, account: str | None = None) -> tuple[Workspace, ...]:
        """All of them, or an account's, oldest first."""
        return await self._store.workspaces(account)

    async def create(self, account: str, wish: NewWorkspace) -> Workspace:
        """Raises InvalidParameter."""
        workspace = Workspace(
            id=f"llm-{secrets.token_hex(8)}" if wish.id is None else wish.id,
            account=checked_account(account),
            label=checked_label(wish.label),
            models=checked_models(wish.models),
            created_at=self._clock.now(),
        )
        if _ID.fullmatch(workspace.id) is None:
            raise misfit("id", workspace.id, "1 to 64 letters, digits, '-' and '_'")
        try:
            await self._store.put_workspace(workspace)
        except IdTaken as error:
            raise misfit("id", workspace.id, "one that is not taken") from error
        finally:
            self._forget()
        return workspace

    async def remove(self, workspace_id: str, *, account: str | None = None) -> bool:
        """False if there is none of that id, or it is another account's. Keys bound to it work nowhere from then on."""
        if workspace_id not in {workspace.id for workspace in await self._store.workspaces(account)}:
            return False
        removed = await self._store.remove_workspace(workspace_id)
        self._forget()
        return removed

    async def _of(self, account: str) -> dict[str, Workspace]:
        known = self._known
        if account not in known:
            known[account] = {workspace.id: workspace for workspace in await self._store.workspaces(account)}
        return known[account]

    def _forget(self) -> None:
        self._known = {}  # a new one, so that whoever looked meanwhile remembers it in vain


def shown(workspace: Workspace) -> WorkspaceShown:
    """``workspace`` as its owner sees it."""
    return WorkspaceShown(
        id=workspace.id,
        account=workspace.account,
        label=workspace.label,
        models=workspace.models,
        created_at=workspace.created_at,
    )

"""Who is asking, and what for."""

from dataclasses import dataclass, field
from enum import StrEnum

from kf2v.catalog.models import Model
from kf2v.catalog.regions import REGIONS, Region
from kf2v.errors import AccessDenied, ScopeMissing
from kf2v.store import NOTHING_SAID, Rights, Workspace


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
    #: whose models it may ask for
    region: Region = REGIONS["all"]
    #: where it works, if it works in one; of an account that has none it is what the request named, and in no row
    workspace: Workspace | None = None
    #: when its key ends by itself
    expires_at: int | None = None
    #: whether its key is a temporary one
    temporary: bool = False
    #: of its key, or of its key's parent, as kept
    digest: str = field(default="", repr=False)

    def may(self, scope: Scope) -> bool:
        return scope in (self.rights.scopes or ORDINARY)

    def require(self, scope: Scope) -> None:
        """Raises ScopeMissing unless the key is for this."""
        if not self.may(scope):
            raise ScopeMissing(f"{ScopeMissing.sentence} This needs a key with the scope '{scope}'.")

    def require_lasting(self) -> None:
        """Raises AccessDenied for a temporary key, of which nothing may come that outlives it."""
        if self.temporary:
            raise AccessDenied(f"{AccessDenied.sentence} A temporary key manages nothing that outlives it.")

    def may_ask_for(self, model: Model) -> bool:
        """Whether both its key and its workspace are for ``model``."""
        mine, there = self.rights.models, self.workspace.models if self.workspace else ()
        return (not mine or model.is_among(mine)) and (not there or model.is_among(there))

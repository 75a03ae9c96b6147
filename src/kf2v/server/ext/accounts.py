"""Whose keys and workspaces a caller may see and manage: its own account's, or with the scope ``admin`` everybody's."""

from kf2v.admission.keys import Caller, Scope
from kf2v.errors import ScopeMissing


def require_manager(caller: Caller, *, lasting: bool = False) -> None:
    """Raises ScopeMissing, and AccessDenied for a temporary key where what is done is ``lasting``."""
    if not caller.may(Scope.ADMIN):
        caller.require(Scope.MANAGE)
    if lasting:
        caller.require_lasting()


def account_for(caller: Caller, named: str | None) -> str:
    """The account that something is made for. Raises ScopeMissing for another one than the caller's own."""
    account = caller.account if named is None else named.strip()
    if account != caller.account and not caller.may(Scope.ADMIN):
        raise ScopeMissing(f"{ScopeMissing.sentence} Another account needs a key with the scope '{Scope.ADMIN}'.")
    return account


def account_seen(caller: Caller, named: str | None) -> str | None:
    """The account whose things are listed, None for all. Raises ScopeMissing."""
    return None if not named and caller.may(Scope.ADMIN) else account_for(caller, named or None)

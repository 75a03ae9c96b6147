"""What ``account`` means wherever a call of ours takes it.

Without it, it is the caller's own; where things are listed, ``*`` is everybody's. All but the own needs the scope
``admin``.
"""

from kf2v.admission.grants import EVERYBODY, checked_account
from kf2v.admission.keys import Caller, Scope
from kf2v.errors import ScopeMissing
from kf2v.server.exchange import Exchange
from kf2v.server.reception import Reception


async def managing_caller(reception: Reception, exchange: Exchange, *, lasting: bool = False) -> Caller:
    """Who manages an account. Raises what ``Reception.caller`` raises, ScopeMissing, and AccessDenied for a temporary
    key where what is done or told is ``lasting``."""
    caller = await reception.caller(exchange, None)
    if not caller.may(Scope.ADMIN):
        caller.require(Scope.MANAGE)
    if lasting:
        caller.require_lasting()
    return caller


def account_for(caller: Caller, named: str | None) -> str:
    """The one account that something is made for or told of. Raises InvalidParameter for what is no name of one, and
    ScopeMissing for another than the caller's own, whether there is such an account or not."""
    account = (named or "").strip() or caller.account
    if account == caller.account:
        return account
    if not caller.may(Scope.ADMIN):
        raise ScopeMissing(f"{ScopeMissing.sentence} Another account needs a key with the scope '{Scope.ADMIN}'.")
    return checked_account(account)


def account_seen(caller: Caller, named: str | None) -> str | None:
    """The account whose things are listed, None for all. Raises what ``account_for`` raises."""
    if named == EVERYBODY and caller.may(Scope.ADMIN):
        return None
    return account_for(caller, named)

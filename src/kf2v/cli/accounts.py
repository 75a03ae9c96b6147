"""Whose things a server is asked about: the options for it, and what they come to."""

from typing import Annotated

import typer

from kf2v.cli.terminal import CommandFailed

#: as servers spell everybody's account
EVERYBODY = "*"

Account = Annotated[
    str | None, typer.Option("--account", help="Whose, if not the key's own; needs a key with the scope admin.")
]
AllAccounts = Annotated[bool, typer.Option("--all-accounts", help="Everybody's; likewise.")]


def whose(account: str | None, *, everybody: bool = False) -> dict[str, str]:
    """As a query or a body says it; without a word it is the key's own account's. Raises CommandFailed for both."""
    if account is not None and everybody:
        raise CommandFailed("Usage", "--account and --all-accounts cannot both be meant")
    named = EVERYBODY if everybody else account
    return {} if named is None else {"account": named}

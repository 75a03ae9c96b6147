"""``kf2v usage``: what was made, and what it would have cost in the cloud."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kf2v.cli.accounts import Account, AllAccounts, whose
from kf2v.cli.delivery import AsJson
from kf2v.cli.target import Server, asking
from kf2v.cli.terminal import CommandFailed, give_bytes, give_json, give_table, say


@asking
def usage(
    server: Server,
    by: Annotated[
        str,
        typer.Option(help="Any of day, account, key, workspace, region, model, engine, resolution; commas between."),
    ] = "day,model,resolution",
    since: Annotated[str | None, typer.Option(help="From this day on, YYYY-MM-DD in UTC+8.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to and including this day.")] = None,
    account: Account = None,
    all_accounts: AllAccounts = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values, without totals.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what an account used: videos, seconds, and what they would have cost in the cloud.

    Videos that failed or were called off cost nothing. A dash stands where no price is known, a plus behind a sum of
    which a part has none.
    """
    if as_csv and as_json:
        raise CommandFailed("Usage", "--csv and --json cannot both be meant")
    asked = {"group_by": by, "since": since, "until": until}
    query = {name: value for name, value in asked.items() if value is not None}
    query |= whose(account, everybody=all_accounts)
    with server.connected() as client:
        if as_csv:
            give_bytes(client.own("GET", "usage", params=query | {"format": "csv"}))
            return
        answer = client.own_object("GET", "usage", params=query)
    if as_json:
        give_json(answer)
        return
    groups: list[str] = answer["group_by"]
    rows: list[dict[str, Any]] = answer["rows"]
    lines = [[*(str(row[name]) for name in groups), *_figures(row)] for row in rows]
    total = (
        [["total", *[""] * (len(groups) - 1), *_figures(answer["totals"])]] if groups else [_figures(answer["totals"])]
    )
    give_table((*groups, "videos", "seconds", "CNY", "USD"), lines + total if groups else total)
    for price in answer["prices"]:
        say(_priced(price))


def _figures(row: dict[str, Any]) -> list[str]:
    return [str(row["videos"]), str(row["seconds"]), *(cost(row, currency) for currency in ("cny", "usd"))]


def cost(told: dict[str, Any], currency: str) -> str:
    """``1.00``; ``–`` where nobody knows, and ``1.00+`` where nobody knows all of it."""
    amount = told.get(f"cost_{currency}")
    if amount is None:
        return "–"
    return f"{amount}+" if told.get(f"unpriced_seconds_{currency}") else str(amount)


def _priced(price: dict[str, Any]) -> str:
    each = [
        f"{name} {price[key]}" for name, key in (("CNY", "cny_per_second"), ("USD", "usd_per_second")) if key in price
    ]
    text = f"{price['model']} {price['resolution']} ({price['region']}): {' or '.join(each) or 'no price'} a second, "
    return text + f"{price['source']}, {price['date']}" + (f". {price['note']}" if price.get("note") else "")

"""``kf2v webhooks``: who hears of the ends of tasks, and what became of the telling."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from kf2v.cli.accounts import Account, AllAccounts, whose
from kf2v.cli.delivery import AsJson
from kf2v.cli.exits import Exit
from kf2v.cli.help import help_alone
from kf2v.cli.target import Server, asking, segment
from kf2v.cli.terminal import CommandFailed, Label, Yes, confirm, give, give_json, give_table, say

app = typer.Typer(
    help="Have a server tell others when tasks end. Needs a key with the scope 'manage'.",
    callback=help_alone,
    invoke_without_command=True,
)

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK_ID", help="See: kf2v webhooks list.")]


@app.command()
@asking
def create(
    server: Server,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are posted to.")],
    label: Label = None,
    account: Account = None,
    as_json: AsJson = False,
) -> None:
    """Make a webhook and print its secret, which is shown this once; its id goes to stderr."""
    wish = {"url": url, "label": label or ""} | whose(account)
    with server.connected() as client:
        answer = client.own_object("POST", "webhooks", json=wish)
    if as_json:
        give_json(answer)
        return
    say(f"webhook {answer['webhook']['id']}")
    give(answer["webhook"]["secret"])


@app.command()
@asking
def change(
    server: Server,
    webhook_id: WebhookId,
    url: Annotated[str | None, typer.Option("--url", help="Where events are posted to from now on.")] = None,
    label: Label = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether events are posted at all; none is made up for.")
    ] = None,
    rotate: Annotated[
        bool, typer.Option("--rotate-secret", help="Print a new secret; the old one signs nothing from now on.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Change a webhook, switch it off and on, give it a new secret. What is not named stays."""
    wished = {"url": url, "label": label, "enabled": enabled, "rotate_secret": rotate or None}
    wish = {name: value for name, value in wished.items() if value is not None}
    if not wish:
        raise CommandFailed("Usage", "nothing to change", fix="see: kf2v webhooks change --help")
    with server.connected() as client:
        answer = client.own_object("PATCH", f"webhooks/{segment(webhook_id)}", json=wish)
    if as_json:
        give_json(answer)
        return
    say(f"changed {webhook_id}")
    if rotate:
        give(answer["webhook"]["secret"])


@app.command("list")
@asking
def list_webhooks(
    server: Server, account: Account = None, all_accounts: AllAccounts = False, as_json: AsJson = False
) -> None:
    """List the account's webhooks, oldest first, without their secrets."""
    query = whose(account, everybody=all_accounts)
    with server.connected() as client:
        answer = client.own_object("GET", "webhooks", params=query)
    if as_json:
        give_json(answer)
        return
    rows: list[dict[str, Any]] = answer["webhooks"]
    heads = ("id", "url", "label", "secret", "since", "")
    give_table(
        heads,
        (
            (
                hook["id"],
                hook["url"],
                hook["label"],
                f"…{hook['secret_hint']}",
                _moment(hook["created_at"]),
                "" if hook["enabled"] else "off",
            )
            for hook in rows
        ),
    )


@app.command()
@asking
def test(
    server: Server,
    webhook_id: WebhookId,
    as_json: AsJson = False,
) -> None:
    """Send an event of type kf2v:Webhook:Test now. Exits with 1, saying what came, if the receiver does not take it."""
    with server.connected() as client:
        answer = client.own_object("POST", f"webhooks/{segment(webhook_id)}/test")
    if not answer["delivered"]:
        raise CommandFailed(
            "NotDelivered",
            f"{answer['error']} {answer.get('answer', '')}".rstrip(),
            exit=Exit.GENERAL,
            fix="the receiver should answer with any status from 200 to 299",
        )
    give_json(answer) if as_json else give(f"taken with status {answer['status']}")


@app.command()
@asking
def delete(
    server: Server,
    webhook_id: WebhookId,
    yes: Yes = False,
) -> None:
    """Delete a webhook; asks first on a terminal. What is on its way there is abandoned."""
    confirm(f"Delete webhook {webhook_id}?", f"webhook {webhook_id} is still there", yes=yes)
    with server.connected() as client:
        client.own_object("DELETE", f"webhooks/{segment(webhook_id)}")
    say(f"deleted {webhook_id}")


@app.command()
@asking
def deliveries(
    server: Server,
    webhook_id: Annotated[str | None, typer.Argument(metavar="WEBHOOK_ID", help="Of this webhook only.")] = None,
    task_id: Annotated[str | None, typer.Option(help="Of this task only.")] = None,
    account: Account = None,
    all_accounts: AllAccounts = False,
    as_json: AsJson = False,
) -> None:
    """List what became of events, the newest first; those of the last week, 100 at most."""
    if webhook_id and task_id:
        raise CommandFailed("Usage", "give WEBHOOK_ID or --task-id, not both")
    query = whose(account, everybody=all_accounts) | ({} if task_id is None else {"task_id": task_id})
    with server.connected() as client:
        path = f"webhooks/{segment(webhook_id)}/deliveries" if webhook_id else "deliveries"
        answer = client.own_object("GET", path, params=query)
    if as_json:
        give_json(answer)
        return
    rows: list[dict[str, Any]] = answer["deliveries"]
    heads = ("id", "task_id", "task", "state", "tries", "next", "error")
    give_table(
        heads,
        (
            (
                row["id"],
                row["task_id"],
                row["task_status"],
                row["state"],
                str(row["attempts"]),
                _moment(row.get("next_attempt_at")),
                row.get("error", ""),
            )
            for row in rows
        ),
    )


@app.command()
@asking
def retry(
    server: Server,
    delivery_id: Annotated[str, typer.Argument(metavar="DELIVERY_ID", help="See: kf2v webhooks deliveries.")],
) -> None:
    """Send an event once more, whatever became of it."""
    with server.connected() as client:
        client.own_object("POST", f"deliveries/{segment(delivery_id)}/retry")
    say(f"{delivery_id} is on its way")


@app.command()
@asking
def secret(server: Server, account: Account = None, as_json: AsJson = False) -> None:
    """Print what signs the events to addresses that requests named in X-Kf2v-Callback."""
    query = whose(account)
    with server.connected() as client:
        answer = client.own_object("GET", "webhooks/secret", params=query)
    give_json(answer) if as_json else give(answer["secret"])


def _moment(at: int | None) -> str:
    return "" if at is None else f"{datetime.fromtimestamp(at / 1000, UTC).astimezone():%Y-%m-%d %H:%M:%S}"

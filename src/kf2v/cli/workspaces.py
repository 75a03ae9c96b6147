"""``kf2v workspaces``: parts of accounts, with models of their own."""

from __future__ import annotations

from typing import Annotated

import typer

from kf2v.cli.back_door import BackDoor, day, members
from kf2v.cli.config import DataDir
from kf2v.cli.delivery import AsJson
from kf2v.cli.help import help_alone
from kf2v.cli.target import segment
from kf2v.cli.terminal import Label, Yes, confirm, give, give_json, give_table, say

app = typer.Typer(
    help="Make, list and delete workspaces of this machine's service.",
    callback=help_alone,
    invoke_without_command=True,
)


@app.command()
def create(
    account: Annotated[str, typer.Option(help="Whose workspace it is.")],
    workspace_id: Annotated[str | None, typer.Option("--id", help="As programs name it; drawn unless told.")] = None,
    label: Label = None,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="A model that may be asked for in it; may be repeated.")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Make a workspace and print its id. From the first one on, the account knows no names but its workspaces'."""
    from kf2v.wire import backstage
    from kf2v.wire.keys import NewWorkspace, WorkspaceShown

    wish = NewWorkspace(account=account.strip(), id=workspace_id, label=label or "", models=tuple(models or ()))
    made = backstage.parse(WorkspaceShown, BackDoor(data_dir).ask("POST", "/workspaces", members(wish)))
    give_json(members(made)) if as_json else give(made.id)


@app.command("list")
def list_workspaces(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """List all workspaces, oldest first."""
    from kf2v.wire import backstage
    from kf2v.wire.keys import WorkspaceShown

    found = backstage.parse(list[WorkspaceShown], BackDoor(data_dir).ask("GET", "/workspaces"))
    if as_json:
        give_json({"workspaces": [members(workspace) for workspace in found]})
        return
    heads = ("id", "account", "label", "models", "created")
    give_table(heads, ((w.id, w.account, w.label, ",".join(w.models) or "all", day(w.created_at)) for w in found))


@app.command()
def delete(
    workspace_id: Annotated[str, typer.Argument(metavar="WORKSPACE_ID", help="See: kf2v workspaces list.")],
    yes: Yes = False,
    data_dir: DataDir = None,
) -> None:
    """Delete a workspace; asks first on a terminal. Its tasks stay; keys that belong to it are refused from then on."""
    confirm(f"Delete workspace {workspace_id}?", f"workspace {workspace_id} is still there", yes=yes)
    BackDoor(data_dir).ask("DELETE", f"/workspaces/{segment(workspace_id)}")
    say(f"deleted {workspace_id}")

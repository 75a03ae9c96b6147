"""Options that several commands have: one definition, one meaning, one sentence of help."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import typer.main

from kf2v.cli import app
from kf2v.cli.target import Server

#: what differs by what the command does with it
OWN = {
    "--first",
    "--last",
    "--frames",
    "--model",
    "--output",
    "--resolution",
    "--width",
    "--account",
    "--url",
    "--prompt",
    "--loop",
}
#: which reads no answer but draws a picture, so that its numbers are something else
APART = {"kf2v inspect"}


def commands(group: Any, path: str = "kf2v") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def test_an_option_says_the_same_wherever_it_is() -> None:
    said: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path, command in commands(typer.main.get_command(app)):
        for option in command.params:
            for name in set(option.opts) - OWN if path not in APART else ():
                if name.startswith("--"):
                    said[name][option.help].append(path)
    assert len(said) > 20
    assert {name: dict(helps) for name, helps in said.items() if len(helps) > 1} == {}


def test_every_command_that_asks_a_server_takes_the_same_options_last() -> None:
    fields = list(Server.__dataclass_fields__)
    asking = [
        (path, [option.name for option in command.params if option.name != "help"])
        for path, command in commands(typer.main.get_command(app))
        if any(option.name == "base_url" for option in command.params)
    ]
    assert len(asking) > 20
    assert [path for path, names in asking if names[-len(fields) :] != fields] == []

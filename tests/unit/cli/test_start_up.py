"""The command line is there at once, explains itself, and errs in one line."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import typer

from kf2v.cli import app
from kf2v.cli.exits import ROWS

Kf2v = Callable[..., Any]

#: what takes long to import, or belongs to the server
HEAVY = ("numpy", "cv2", "av", "PIL", "httpx2", "httpcore2", "pydantic", "pydantic_settings", "msgspec", "apsw")
OTHER = ("starlette", "uvicorn", "structlog", "dashscope", "rich", "platformdirs", "regex", "asyncio", "torch")


def test_help_imports_nothing_heavy() -> None:
    program = "import sys; from kf2v.cli import dispatch; dispatch(['--help']); print(*sys.modules, file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(ran.stderr.split())
    assert "Usage: kf2v" in ran.stdout
    assert loaded & {*HEAVY, *OTHER} == set()
    assert {name for name in loaded if name.startswith("kf2v.")} == {
        name for name in loaded if name == "kf2v.cli" or name.startswith("kf2v.cli.")
    }


def commands() -> list[str]:
    top = typer.main.get_command(app)
    names: list[str] = []
    for name, command in top.commands.items():  # type: ignore[attr-defined]
        children = getattr(command, "commands", {})
        names += [f"{name} {child}" for child in children] if children else [name]
    return names


@pytest.mark.parametrize("name", commands())
def test_every_command_says_what_it_is_for(kf2v: Kf2v, name: str) -> None:
    ran = kf2v(*name.split(), "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: kf2v {name}")
    assert len(ran.out.splitlines()[2].strip()) > 10


@pytest.mark.parametrize("words", [(), ("tasks",), ("keys",), ("config",)])
def test_a_group_alone_explains_itself(kf2v: Kf2v, words: tuple[str, ...]) -> None:
    ran = kf2v(*words)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Usage: kf2v")


def test_the_worker_is_hidden_and_there(kf2v: Kf2v) -> None:
    assert "worker" not in kf2v("--help").out.split()
    assert kf2v("worker", "--help").code == 0


def test_the_version_is_told(kf2v: Kf2v) -> None:
    from kf2v import __version__

    assert kf2v("--version").out == f"kf2v {__version__}\n"


def test_help_prints_every_exit_code(kf2v: Kf2v) -> None:
    lines = kf2v("help", "exit-codes").out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == [str(int(row.exit)) for row in ROWS]


def test_help_of_a_command_is_its_help(kf2v: Kf2v) -> None:
    assert kf2v("help", "tasks", "get").out == kf2v("tasks", "get", "--help").out


@pytest.mark.parametrize("words", [("nope",), ("tasks", "nope"), ("tasks", "get"), ("run", "a"), ("--nope",)])
def test_wrong_usage_exits_with_2_in_one_sentence(kf2v: Kf2v, words: tuple[str, ...]) -> None:
    ran = kf2v(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Usage: ")
    assert "Traceback" not in ran.err


def test_wrong_usage_as_json_is_an_object(kf2v: Kf2v) -> None:
    ran = kf2v("tasks", "get", "--json")
    assert ran.code == 2
    assert json.loads(ran.err)["code"] == "Usage"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_prints_a_script(shell: str) -> None:
    command = [sys.executable, "-m", "kf2v", "completion", shell]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"complete_{shell}" in ran.stdout
    assert ran.stderr == ""


def test_completion_knows_the_commands() -> None:
    words = {"_KF2V_COMPLETE": "complete_bash", "COMP_WORDS": "kf2v ta", "COMP_CWORD": "1"}
    ran = subprocess.run([sys.executable, "-m", "kf2v"], capture_output=True, text=True, env=words, check=False)
    assert ran.stdout.split() == ["tasks"]

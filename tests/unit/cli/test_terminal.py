"""Data goes to stdout, talk to stderr, and nobody's words steer the terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kf2v.cli.exits import Exit
from kf2v.cli.terminal import CommandFailed, complain, give_table, printable, progress, say


def test_what_would_steer_a_terminal_is_replaced() -> None:
    assert printable("a\x1b[2J\x07b\u202ec") == "a\ufffd[2J\ufffdb\ufffdc"
    assert printable("首帧 – tab\tline\nnext") == "首帧 – tab\tline\nnext"


def test_talk_is_not_data(capsys: pytest.CaptureFixture[str]) -> None:
    say("working")
    assert capsys.readouterr() == ("", "working\n")


def test_a_table_lines_up_and_cuts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    give_table(("id", "state"), [("a", "PENDING"), ("a-long-one", "")])
    assert capsys.readouterr().out == "id          state\na           PENDING\na-long-one\n"


def test_progress_off_a_terminal_is_one_line_per_phase(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(quiet=False) as tell:
        tell("PENDING", None)
        tell("PENDING", None)
        tell("RUNNING", 0.1)
        tell("RUNNING", 0.9)
    assert capsys.readouterr() == ("", "PENDING\nRUNNING\n")


def test_quiet_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(quiet=True) as tell:
        tell("PENDING", None)
    assert capsys.readouterr() == ("", "")


def test_a_complaint_has_code_fix_and_request_id(capsys: pytest.CaptureFixture[str]) -> None:
    complain(CommandFailed("InvalidApiKey", "No.", fix="a key", request_id="r-1"), as_json=False)
    assert capsys.readouterr() == ("", "InvalidApiKey: No.\nfix: a key\nrequest_id: r-1\n")


def test_a_complaint_as_json_is_one_object_without_empty_members(capsys: pytest.CaptureFixture[str]) -> None:
    complain(CommandFailed("TaskCanceled", "gone", exit=Exit.GONE, beside={"task_id": "t"}), as_json=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err) == {"code": "TaskCanceled", "message": "gone", "task_id": "t"}


def test_the_fix_is_that_of_the_code_or_of_its_family() -> None:
    assert "KF2V_FETCH_ALLOW_HOSTS" in CommandFailed("InvalidURL.ConnectionRefused", "").fix
    assert CommandFailed("NobodyKnowsThisOne", "").fix == ""


def test_columns_stand_below_each_other_in_chinese_too(capsys: pytest.CaptureFixture[str]) -> None:
    give_table(("account", "videos"), [("工作室", "1"), ("studio", "2")])
    assert capsys.readouterr().out == "account  videos\n工作室   1\nstudio   2\n"


def test_no_cell_begins_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    give_table(("label",), [("mine\nforged  row",)])
    assert capsys.readouterr().out == "label\nmine forged  row\n"


def kf2v_to(output: object, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kf2v", *words]
    return subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, env=os.environ | environment)  # type: ignore[call-overload, no-any-return]


def test_output_that_cannot_be_written_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        for words in (("config", "show"), ("models", "--json"), ("help", "exit-codes")):
            ran = kf2v_to(full, *words)
            assert ran.returncode == 1
            assert "standard output cannot be written" in ran.stderr
            assert len(ran.stderr.splitlines()) == 1


def test_a_reader_that_left_is_no_news() -> None:
    read, write = os.pipe()
    os.close(read)
    ran = kf2v_to(write, "config", "show")
    os.close(write)
    assert (ran.returncode, ran.stderr) == (1, "")


def test_a_terminal_without_chinese_is_told_all_the_same() -> None:
    ran = kf2v_to(subprocess.PIPE, "config", "show", PYTHONIOENCODING="ascii", KF2V_REWRITE_MODEL="千问")
    assert ran.returncode == 0
    assert "\\u5343\\u95ee" in ran.stdout

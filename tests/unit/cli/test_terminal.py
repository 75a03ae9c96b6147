"""Data goes to stdout, talk to stderr, and nobody's words steer the terminal."""

import json

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

"""Exit codes are one table, and everything that can go wrong finds its row."""

import pytest

from kf2v.cli.exits import ROWS, Exit, exit_of_error, exit_of_task


def test_every_exit_has_one_row_and_the_documented_number() -> None:
    assert [row.exit for row in ROWS] == list(Exit)
    assert [int(exit) for exit in Exit] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130]


def test_no_error_code_is_in_two_rows() -> None:
    codes = [code for row in ROWS for code in row.codes]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("code", "status", "exit"),
    [
        ("InvalidApiKey", 401, Exit.AUTH),
        ("AccessDenied", 403, Exit.AUTH),
        ("AccessDenied.Unpurchased", 403, Exit.AUTH),
        ("Model.AccessDenied", 403, Exit.AUTH),
        ("AllocationQuota.FreeTierOnly", 403, Exit.QUOTA),
        ("Throttling.RateQuota", 429, Exit.QUOTA),
        ("Arrearage", 400, Exit.QUOTA),
        ("SomethingNew", 429, Exit.QUOTA),
        ("InvalidParameter", 400, Exit.USAGE),
        ("BadRequest.TooLarge", 413, Exit.USAGE),
        ("DataInspectionFailed", 400, Exit.MODERATION),
        ("IPInfringementSuspect", 400, Exit.MODERATION),
        ("Timeout", None, Exit.TIMEOUT),
        ("HTTP504", 504, Exit.TIMEOUT),
        ("NetworkError", None, Exit.NETWORK),
        ("InternalError", 500, Exit.GENERAL),
        ("UnsupportedOperation", 400, Exit.GENERAL),
        ("InvalidParameterX", 400, Exit.GENERAL),
    ],
)
def test_an_error_leads_to_its_exit(code: str, status: int | None, exit: Exit) -> None:
    assert exit_of_error(code, status) is exit


@pytest.mark.parametrize(
    ("status", "code", "exit"),
    [
        ("SUCCEEDED", "", Exit.OK),
        ("PENDING", "", Exit.OK),
        ("RUNNING", "", Exit.OK),
        ("FAILED", "InvalidURL", Exit.FAILED),
        ("FAILED", "InternalError.Timeout", Exit.FAILED),
        ("FAILED", "InvalidParameter", Exit.FAILED),
        ("FAILED", "DataInspectionFailed", Exit.MODERATION),
        ("FAILED", "IPInfringementSuspect", Exit.MODERATION),
        ("CANCELED", "", Exit.GONE),
        ("UNKNOWN", "", Exit.GONE),
    ],
)
def test_a_task_leads_to_its_exit(status: str, code: str, exit: Exit) -> None:
    assert exit_of_task(status, code) is exit

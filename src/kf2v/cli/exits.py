"""Exit codes: what a script may conclude from how a command ended.

The numbers up to 10 are those of Alibaba's own ``bl`` command line; 8, 9 and 130 are ours.
"""

from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """How a command ended; ``ROWS`` says what each means."""

    OK = 0
    GENERAL = 1
    USAGE = 2
    AUTH = 3
    QUOTA = 4
    TIMEOUT = 5
    NETWORK = 6
    CONFIRMATION = 7
    FAILED = 8
    GONE = 9
    MODERATION = 10
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One exit code and the error codes and HTTP statuses that lead to it."""

    exit: Exit
    meaning: str
    #: an error code counts if it is one of these or begins with one and a dot
    codes: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()


ROWS: tuple[Row, ...] = (
    Row(exit=Exit.OK, meaning="success"),
    Row(exit=Exit.GENERAL, meaning="any other error"),
    Row(
        exit=Exit.USAGE,
        meaning="wrong usage: an option or a value that cannot be used",
        codes=("Usage", "InvalidParameter", "BadRequest"),
    ),
    Row(
        exit=Exit.AUTH,
        meaning="no key, a wrong key, or a key without the right",
        codes=("InvalidApiKey", "AccessDenied", "NOT AUTHORIZED"),
        statuses=(401, 403),
    ),
    Row(
        exit=Exit.QUOTA,
        meaning="too many requests, or nothing left to spend",
        codes=(
            "Throttling",
            "AllocationQuota",
            "Arrearage",
            "CommodityNotPurchased",
            "PrepaidBillOverdue",
            "PostpaidBillOverdue",
        ),
        statuses=(429,),
    ),
    Row(exit=Exit.TIMEOUT, meaning="no answer or no end in time", codes=("Timeout",), statuses=(408, 504)),
    Row(exit=Exit.NETWORK, meaning="the server cannot be reached", codes=("NetworkError", "ProxyError")),
    Row(exit=Exit.CONFIRMATION, meaning="a question was not answered with yes", codes=("NotConfirmed",)),
    Row(exit=Exit.FAILED, meaning="the task FAILED"),
    Row(exit=Exit.GONE, meaning="the task is CANCELED, expired or unknown"),
    Row(
        exit=Exit.MODERATION,
        meaning="the content was refused by moderation",
        codes=("DataInspectionFailed", "IPInfringementSuspect"),
    ),
    Row(exit=Exit.INTERRUPTED, meaning="interrupted with Ctrl-C; a task goes on"),
)


def exit_of_error(code: str, status: int | None = None) -> Exit:
    """The exit for an error of the API or of ours: by its code where the table knows it, else by HTTP status."""
    for row in ROWS:
        if any(code == known or code.startswith(known + ".") for known in row.codes):
            return row.exit
    for row in ROWS:
        if status in row.statuses:
            return row.exit
    return Exit.GENERAL


def exit_of_task(status: str, code: str = "") -> Exit:
    """The exit for a task that stands at ``status``; ``code`` is why it failed."""
    match status:
        case "FAILED":
            return Exit.MODERATION if exit_of_error(code) is Exit.MODERATION else Exit.FAILED
        case "CANCELED" | "UNKNOWN":
            return Exit.GONE
        case _:
            return Exit.OK

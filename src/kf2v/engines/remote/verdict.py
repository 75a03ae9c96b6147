"""What it means here that the far side refused, or did not answer."""

from enum import Enum

from kf2v.net.remote_error import RemoteError

#: refusals that are about what was submitted, by how their codes begin: they are the caller's, word for word
ABOUT_THE_SUBMISSION = (
    "InvalidParameter",
    "DataInspectionFailed",
    "IPInfringementSuspect",
    "InvalidURL",
    "InvalidFile",
    "InvalidImage",
    "BadRequest",
    "CustomRoleBlocked",
    "FaqRuleBlocked",
)
#: how refusals begin that sound like those, but are about which model was asked for, and where
ABOUT_THE_ADDRESS = ("Model not exist", "url error", "Request method")
#: of what may be had at all, rather than of how fast: waiting does not help
QUOTA = ("Throttling.AllocationQuota", "insufficient_quota", "CommodityNotPurchased", "PrepaidBill", "PostpaidBill")
#: seconds; a quota that comes back so soon is no money that was spent but a queue that is full
SOON = 60.0


class Verdict(Enum):
    """What to do."""

    #: tell the caller, in the far side's words
    TELL = "tell"
    #: ask again, later: it is there and has too much to do
    WAIT = "wait"
    #: ask again for a while: nobody answers, or not in order
    AWAY = "away"
    #: not again: it serves others, or another API
    CLOSED = "closed"


def judge(error: RemoteError) -> Verdict:
    """The verdict on ``error``."""
    status = error.status
    if status is None:
        return Verdict.AWAY
    if status >= 500 or status == 408:
        return Verdict.AWAY
    if error.code.startswith(QUOTA):
        return Verdict.CLOSED if error.retry_after is None or error.retry_after > SOON else Verdict.WAIT
    if status == 429:
        return Verdict.WAIT
    if status == 400 and error.code.startswith(ABOUT_THE_SUBMISSION):
        return Verdict.CLOSED if error.message.startswith(ABOUT_THE_ADDRESS) else Verdict.TELL
    return Verdict.CLOSED

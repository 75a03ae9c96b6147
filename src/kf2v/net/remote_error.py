"""What an endpoint of DashScope's API gives instead of the wanted answer.

::

    RemoteError              what came back, in the endpoint's own words where it had any
     ├─ Refused              an HTTP answer other than 200
     ├─ Unreachable          no answer: refused, reset, not resolvable, TLS
     ├─ TimedOut             no answer in time
     └─ Garbled              an answer that is not this API's
"""

from collections.abc import Mapping
from typing import Any

_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500


class RemoteError(Exception):
    """Something other than the wanted answer. ``status`` is the HTTP status, None where there was none."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        request_id: str = "",
        status: int | None = None,
        doubtful: bool = False,
        retry_after: float | None = None,
        answer: Mapping[str, Any] | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.request_id = request_id
        self.status = status
        #: whether the endpoint may have done all the same what it was asked
        self.doubtful = doubtful
        #: seconds after which the endpoint wants to be asked again, where it said so
        self.retry_after = retry_after
        #: the whole answer, for what it says beside that; empty where there was none
        self.answer = dict(answer or {})
        super().__init__(f"{code}: {message}")


class Refused(RemoteError):
    """An HTTP answer other than 200; ``code``, ``message`` and ``request_id`` are the endpoint's."""


class Unreachable(RemoteError):
    """Nobody answers there, or the connection broke."""


class TimedOut(RemoteError):
    """Nobody answered in time; whether the request was acted on is not known."""


class Garbled(RemoteError):
    """An answer that this API does not give: most likely another kind of server."""


def is_passing(error: RemoteError) -> bool:
    """Whether the same may go well when it is asked for again."""
    if error.status is None:
        return isinstance(error, Unreachable | TimedOut)
    return error.status == _TOO_MANY_REQUESTS or error.status >= _SERVER_ERROR

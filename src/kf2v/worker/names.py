"""What workers are called: after their process, with a number where several live in one."""

from collections.abc import Sequence

_MARK = "."


def worker_names(process: str, count: int) -> Sequence[str]:
    """The ``count`` workers in the process of that name."""
    return [f"{process}{_MARK}{number}" for number in range(1, count + 1)]


def process_of(worker: str) -> str:
    """The process that ``worker`` lives in."""
    return worker.partition(_MARK)[0]

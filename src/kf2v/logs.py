"""Logs as JSON lines on stderr. No prompt, no key and no query string is ever given to a log, so none can leak."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import structlog


def configure(level: str) -> None:
    """Log from ``level`` (``debug``, ``info``, ``warning``, ``error``) on; tracebacks come without local variables."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=_stderr,
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


class _Voice:
    """Says lines on standard error as long as somebody listens: work goes on when its audience has left."""

    def say(self, line: str) -> None:
        try:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except BrokenPipeError:
            sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  for the rest of this process
        except OSError:
            pass

    debug = info = warning = error = critical = exception = say


def _stderr(*_: Any) -> _Voice:
    return _Voice()

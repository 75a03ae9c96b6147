"""A rewriter that cannot fail: where another one does, the caller's words stay as they are."""

import structlog

from kf2v.errors import RewriteFailed
from kf2v.rewriting import Report, Rewriter
from kf2v.video import Frame

log = structlog.get_logger(__name__)


class Lenient:
    """``Rewriter``, with the prompt itself instead of ``RewriteFailed``, and the reason in the log."""

    def __init__(self, rewriter: Rewriter) -> None:
        self.name = rewriter.name
        self._rewriter = rewriter

    def rewrite(self, prompt: str, first: Frame, last: Frame, report: Report) -> str:
        try:
            return self._rewriter.rewrite(prompt, first, last, report)
        except RewriteFailed as error:
            log.warning("prompt was kept as it is", rewriter=self.name, reason=str(error.__cause__ or error))
            return prompt

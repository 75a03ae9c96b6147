"""Leaves every word alone."""

from kf2v.rewriting import Report
from kf2v.video import Frame


class Verbatim:
    """The rewriter of an owner who wants none: ``actual_prompt`` is what the caller wrote."""

    name = "verbatim"

    def rewrite(self, prompt: str, first: Frame, last: Frame, report: Report) -> str:
        del first, last, report
        return prompt

"""The list of models, so that ``dashscope auth whoami`` and model pickers get an answer, and the list of limits.

Reference of the latter: "List quotas". What a day and a month may cost is ours, the rest is the vendor's.
"""

from collections.abc import Sequence

from kf2v.catalog.models import Model
from kf2v.catalog.quotas import Budget, Quota


def render(models: Sequence[Model], *, page_no: int, page_size: int) -> dict[str, object]:
    """``output`` of a model list."""
    start = (page_no - 1) * page_size
    return {
        "total": len(models),
        "page_no": page_no,
        "page_size": page_size,
        "models": [_row(model) for model in models[start : start + page_size]],
    }


def _row(model: Model) -> dict[str, object]:
    return {
        "model": model.name,
        "name": model.name,
        "description": "Generates a 5-second video from a first frame, a last frame and a prompt.",
        "capabilities": ["first-and-last-frame-to-video"],
        "resolutions": list(model.resolutions),
        "default_resolution": model.default_resolution,
    }


def render_limits(
    rows: Sequence[tuple[str, Quota, Budget]], account: Budget, *, page_no: int, page_size: int
) -> dict[str, object]:
    """``output`` of a list of limits: of each model, and of the account over all of them. null is no limit."""
    start = (page_no - 1) * page_size
    return {
        "total": len(rows),
        "page_no": page_no,
        "page_size": page_size,
        "quotas": [_quota(*row) for row in rows[start : start + page_size]],
        "account_limit": _budget(account),
    }


def _quota(model: str, quota: Quota, budget: Budget) -> dict[str, object]:
    return {
        "model": model,
        "workspace_id": None,
        "model_limit": {
            "request_limit": quota.per_second,
            "request_limit_period": 1,
            "async_user_queue_limit": quota.waiting,
            "async_user_concurrency_limit": quota.running,
            **_budget(budget),
        },
        "workspace_limit": None,
    }


def _budget(budget: Budget) -> dict[str, object]:
    return {
        "spend_limit_per_day": None if budget.per_day is None else f"{budget.per_day:f}",
        "spend_limit_per_month": None if budget.per_month is None else f"{budget.per_month:f}",
        "currency": budget.currency,
    }

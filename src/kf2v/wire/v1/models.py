"""The list of models, so that ``dashscope auth whoami`` and model pickers get an answer."""

from collections.abc import Sequence

from kf2v.catalog.models import Model


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

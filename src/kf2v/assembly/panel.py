"""Where moderators are named, and the panel of those who inspect is put together."""

from collections.abc import Callable

from kf2v.moderation import Moderator
from kf2v.moderation.panel import BOTH, Panel
from kf2v.settings import Settings
from kf2v.settings.secrecy import bare
from kf2v.tasks.job import Side


def _lists(settings: Settings) -> Moderator:
    from kf2v.moderation.lists import Lists

    return Lists(settings.moderation_dir, distance=settings.moderation_picture_distance)


def _classifier(settings: Settings) -> Moderator:
    from kf2v.moderation.classifier import Classifier
    from kf2v.moderation.outside import Outside

    return Outside(
        Classifier(settings.moderation_url or "", api_key=bare(settings.moderation_api_key)),
        timeout=settings.moderation_timeout,
    )


def _flagging(settings: Settings) -> Moderator:
    from kf2v.moderation.flagging import Flagging
    from kf2v.moderation.outside import Outside

    return Outside(
        Flagging(
            base_url=settings.moderation_url or "",
            model=settings.moderation_model.strip(),
            api_key=bare(settings.moderation_api_key),
        ),
        timeout=settings.moderation_timeout,
    )


MODERATORS: dict[str, Callable[[Settings], Moderator]] = {"lists": _lists, "http": _classifier, "openai": _flagging}
#: what is inspected unasked, by setting
INSPECTED: dict[str, frozenset[Side]] = {
    "both": BOTH,
    "input": frozenset({"input"}),
    "output": frozenset({"output"}),
    "request": frozenset(),
}


def build_panel(settings: Settings) -> Panel:
    """Who inspects, what of it unasked, and what becomes of what they cannot decide on."""
    return Panel(
        [MODERATORS[name](settings) for name in settings.moderation],
        sides=INSPECTED[settings.moderation_inspects],
        every=settings.moderation_output_every,
        on_failure=settings.moderation_on_failure,
    )


def lay_out_lists(settings: Settings) -> None:
    """Blank lists with explanations for the owner to fill, where there are none yet."""
    from kf2v.moderation.lists import lay_out

    if "lists" in settings.moderation:
        lay_out(settings.moderation_dir)

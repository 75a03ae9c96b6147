"""Where rewriters are named and made."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kf2v.rewriting import Rewriter
from kf2v.settings import Settings
from kf2v.settings.secrecy import bare

if TYPE_CHECKING:
    from kf2v.rewriting.chat import Chat


def _verbatim(settings: Settings) -> Rewriter:
    del settings
    from kf2v.rewriting.verbatim import Verbatim

    return Verbatim()


def _rules(settings: Settings) -> Rewriter:
    from kf2v.rewriting.rules import Rules

    return Rules(settings.rewrite_language)


def build_chat(settings: Settings) -> "Chat":
    """The language model of these settings, whoever the rewriter is."""
    from kf2v.rewriting.chat import Chat
    from kf2v.rewriting.chat.endpoint import Endpoint
    from kf2v.rewriting.rules import Rules

    return Chat(
        Endpoint(
            base_url=settings.rewrite_base_url or "",
            model=settings.rewrite_model.strip(),
            api_key=bare(settings.rewrite_api_key),
            extra=settings.rewrite_extra,
        ),
        vision=settings.rewrite_vision,
        timeout=settings.rewrite_timeout,
        language=settings.rewrite_language,
        notes=Rules().describe,
    )


REWRITERS: dict[str, Callable[[Settings], Rewriter]] = {"rules": _rules, "openai": build_chat, "verbatim": _verbatim}


def build_rewriter(settings: Settings) -> Rewriter:
    """Who rewrites prompts."""
    return REWRITERS[settings.rewriter](settings)

"""One question to one chat endpoint, answered in time or given up."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from kf2v.net.call import Unanswered, call_within
from kf2v.net.compatible import Compatible

if TYPE_CHECKING:
    from openai import AsyncOpenAI

Message: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back."""

    text: str
    #: whether it ends in the middle, at the endpoint's limit
    cut_short: bool = False


class Endpoint:
    """``base_url`` is what comes before ``/chat/completions``; ``extra`` goes into the body of every request."""

    def __init__(self, *, base_url: str, model: str, api_key: str = "", extra: Mapping[str, Any] | None = None) -> None:
        self._server = Compatible(base_url=base_url, api_key=api_key)
        self._model = model
        self._extra = dict(extra or {})

    def ask(self, messages: Sequence[Message], *, seconds: float, tick: Callable[[], None]) -> Reply:
        """The answer, within ``seconds``. Raises Unanswered, and what ``tick`` raises, which is asked all the while."""
        return call_within(seconds, lambda: self._ask(messages, seconds), tick=tick, name="rewrite")

    async def _ask(self, messages: Sequence[Message], seconds: float) -> Reply:
        async def call(client: "AsyncOpenAI") -> Any:
            return await client.chat.completions.create(
                model=self._model,
                messages=list(messages),  # pyright: ignore[reportArgumentType]  dicts as the protocol has them
                extra_body=self._extra or None,
            )

        return _read(await self._server.ask(call, seconds=seconds, wanted="a chat completion"))


def _read(found: Any) -> Reply:
    """The text in a completion, whatever the server put there. Raises Unanswered."""
    try:
        choice = found.choices[0]
        text, reason = choice.message.content, choice.finish_reason
    except (AttributeError, LookupError, TypeError) as error:
        raise Unanswered("it answers, but not with a chat completion", passing=True) from error
    if reason == "content_filter":
        raise Unanswered("its content filter stopped the answer")
    return Reply(text=text if isinstance(text, str) else "", cut_short=reason == "length")

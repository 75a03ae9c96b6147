"""An endpoint of the shape of OpenAI's moderations: it flags, and names categories. Knows no brand."""

import base64
from typing import TYPE_CHECKING, Any, cast

from kf2v.moderation import Exhibit, Objection
from kf2v.net.call import Unanswered
from kf2v.net.compatible import Compatible

if TYPE_CHECKING:
    from openai import AsyncOpenAI

#: letters of a stranger's categories that are kept for the log
REPEATED = 200


class Flagging:
    """``model`` at the endpoint ``base_url``, which is what comes before ``/moderations``."""

    name = "openai"

    def __init__(self, *, base_url: str, model: str, api_key: str = "") -> None:
        self._endpoint = Compatible(base_url=base_url, api_key=api_key)
        self._model = model

    async def ask(self, shown: str | bytes, exhibit: Exhibit, *, seconds: float) -> Objection | None:
        """What it flags in a text or a JPEG; it has no word for rights. Raises Unanswered."""
        del exhibit
        wanted: Any = shown if isinstance(shown, str) else [_picture(shown)]

        async def call(client: "AsyncOpenAI") -> Any:
            return await client.moderations.create(model=self._model, input=wanted)

        return _verdict(await self._endpoint.ask(call, seconds=seconds, wanted="a moderation"))


def _picture(shown: bytes) -> dict[str, object]:
    url = f"data:image/jpeg;base64,{base64.b64encode(shown).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url}}


def _verdict(found: Any) -> Objection | None:
    """What whatever the endpoint put there says. Raises Unanswered."""
    try:
        flags = [getattr(result, "flagged", None) for result in found.results]
    except (AttributeError, TypeError) as error:
        raise Unanswered("it answers, but not with a moderation", passing=True) from error
    if not any(flag is True for flag in flags):
        if flags and all(flag is False for flag in flags):
            return None
        raise Unanswered("it answers, but not with a moderation", passing=True)
    named = ", ".join(sorted({name for result in found.results for name in _categories(result)}))
    return Objection(ground="inappropriate", reason=f"flagged: {named[:REPEATED] or 'no category named'}")


def _categories(result: Any) -> list[str]:
    """Those that are flagged, where it names any: what it flags is refused, whatever it calls it."""
    categories: Any = getattr(result, "categories", None)
    members: object = categories.to_dict(warnings=False) if hasattr(categories, "to_dict") else categories
    named = cast("dict[str, object]", members) if isinstance(members, dict) else {}
    return [name for name, flagged in named.items() if flagged is True]

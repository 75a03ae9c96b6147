"""A classifier of the owner's own, over the JSON contract of docs/howto/moderate.md."""

import base64
from typing import Any, cast

from kf2v.moderation import Exhibit, Objection
from kf2v.net.call import Unanswered
from kf2v.net.json_call import post_json

#: letters of a stranger's reason that are kept for the log
REPEATED = 200


class Classifier:
    """Whoever answers POSTs at ``url``."""

    name = "http"

    def __init__(self, url: str, *, api_key: str = "") -> None:
        self._url = url
        self._api_key = api_key

    async def ask(self, shown: str | bytes, exhibit: Exhibit, *, seconds: float) -> Objection | None:
        """Its verdict on a text or a JPEG. Raises Unanswered."""
        found = await post_json(self._url, _question(shown, exhibit), api_key=self._api_key, seconds=seconds)
        return _verdict(found)


def _question(shown: str | bytes, exhibit: Exhibit) -> dict[str, object]:
    contents: dict[str, object] = {"kind": "text", "text": shown}
    if isinstance(shown, bytes):
        contents = {
            "kind": "image",
            "image": base64.b64encode(shown).decode("ascii"),
            "mime_type": "image/jpeg",
        }
    about = {"part": exhibit.part, "frame": exhibit.number, "task_id": exhibit.task_id, "model": exhibit.model}
    return {
        "stage": exhibit.side,
        **contents,
        **{name: value for name, value in about.items() if value not in (None, "")},
    }


def _verdict(found: object) -> Objection | None:
    answer = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    match answer.get("verdict"):
        case "pass":
            return None
        case "inappropriate" | "ip" as ground:
            return Objection(ground=ground, reason=str(answer.get("reason") or "no reason given")[:REPEATED])
        case _:
            raise Unanswered('it answers, but with no verdict "pass", "inappropriate" or "ip"', passing=True)

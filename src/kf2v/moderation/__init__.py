"""Moderation: a prompt, a picture or a frame of the film in, an objection or none out.

This module is the protocol; ``lists`` knows the owner's own words and pictures, ``classifier`` and ``flagging`` ask a
service elsewhere, and ``panel`` asks several as if they were one. Knows nothing of pixels until it is shown some.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from kf2v.tasks.job import Side

if TYPE_CHECKING:
    from kf2v.video import Frame

Part: TypeAlias = Literal["prompt", "actual_prompt", "first_frame", "last_frame", "preview", "frame"]
#: called while somebody is waited for, at least once a second; may raise to end it
Tick: TypeAlias = Callable[[], None]
#: told a sentence for the task's owner, about something that is not as was asked for
Note: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """What is looked at, beside its contents."""

    side: Side
    part: Part
    #: empty where there is no task (yet)
    task_id: str = ""
    #: of the call that brought a prompt, or all the prompts of a chain
    request_id: str = ""
    model: str = ""
    #: of a frame of the film, from 0
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """Why something may not pass."""

    #: ``ip``: somebody else seems to have rights to it
    ground: Literal["inappropriate", "ip"]
    #: for the owner's log; callers are not told, and it does not repeat what they wrote
    reason: str


class Undecided(Exception):
    """No verdict could be had; says why."""


class NotAsked(Undecided):
    """It was not even asked for, because there was no answer just before."""


class Moderator(Protocol):
    """Looks at texts and pictures, from any thread, several at once.

    Whoever waits for somebody else calls ``tick``, and passes on what it raises at once. ``read`` and ``look`` return
    None where nothing speaks against it, and raise Undecided where that is not known.
    """

    name: str
    #: whether it asks somebody else, and so may take long
    elsewhere: bool

    def reads(self) -> bool:
        """False while no text could be objected to; quick enough for an event loop."""
        ...

    def looks(self) -> bool:
        """False while no picture could be objected to; quick enough for an event loop."""
        ...

    def read(self, text: str, exhibit: Exhibit, tick: Tick) -> Objection | None: ...

    def look(self, picture: "Frame", exhibit: Exhibit, tick: Tick) -> Objection | None: ...

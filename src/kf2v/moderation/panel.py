"""Several moderators as one: all are asked, the first objection counts and becomes the API's error."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Literal

import structlog

from kf2v.errors import DataInspectionFailed, InternalError, IPInfringementSuspect
from kf2v.moderation import Exhibit, Moderator, NotAsked, Note, Objection, Part, Tick, Undecided
from kf2v.tasks.job import Side

if TYPE_CHECKING:
    from kf2v.video import Frame

BOTH: frozenset[Side] = frozenset({"input", "output"})

#: the vendor's words; for rights to the output it has a sentence but no code of its own
REFUSALS: dict[tuple[Side, str], tuple[type[DataInspectionFailed], str]] = {
    ("input", "inappropriate"): (DataInspectionFailed, "Input data may contain inappropriate content."),
    ("output", "inappropriate"): (DataInspectionFailed, "Output data may contain inappropriate content."),
    ("input", "ip"): (IPInfringementSuspect, IPInfringementSuspect.sentence),
    ("output", "ip"): (DataInspectionFailed, "Output data is suspected of being involved in IP infringement"),
}

NAMES: dict[Part, str] = {
    "prompt": "the prompt",
    "actual_prompt": "the rewritten prompt",
    "first_frame": "the first frame",
    "last_frame": "the last frame",
    "preview": "a preview",
    "frame": "a frame of the video",
}

log = structlog.get_logger(__name__)


def unheard(text: str) -> None:
    """A Note where there is no task."""
    del text


class Panel:
    """The moderators of one deployment, in the order they are asked; without any, everything passes.

    ``sides`` are inspected whether or not a caller wishes it, of a film one frame in ``every``; ``on_failure`` says
    what becomes of what nobody could decide on.
    """

    def __init__(
        self,
        moderators: Sequence[Moderator] = (),
        *,
        sides: frozenset[Side] = BOTH,
        every: int = 1,
        on_failure: Literal["pass", "fail"] = "pass",
    ) -> None:
        self._moderators = tuple(moderators)
        self._sides = sides
        self._every = every
        self._on_failure = on_failure

    def reads(self, side: Side, wished: Collection[Side] = ()) -> bool:
        """Whether any text of ``side`` could be objected to."""
        return self._inspects(side, wished) and any(moderator.reads() for moderator in self._moderators)

    def looks(self, side: Side, wished: Collection[Side] = ()) -> bool:
        """Whether any picture of ``side`` could be objected to."""
        return self._inspects(side, wished) and any(moderator.looks() for moderator in self._moderators)

    def samples(self, number: int, *, of: int) -> bool:
        """Whether a film's frame of this number, from 0, is to be looked at; the first and the last always are."""
        return number % self._every == 0 or number == of - 1

    def read(self, text: str, exhibit: Exhibit, tick: Tick, note: Note = unheard, *, busy: str = "") -> None:
        """Raises DataInspectionFailed for a text that may not pass, InternalError where that counts as undecided.

        ``note`` hears of what nobody could decide on. ``busy`` says why nobody elsewhere can be asked, if that is so.
        """

        def ask(one: Moderator) -> Objection | None:
            if busy and one.elsewhere:
                raise Undecided(busy)
            return one.read(text, exhibit, tick) if one.reads() else None

        if text.strip():
            self._hear(exhibit, ask, note)

    def look(self, picture: "Frame", exhibit: Exhibit, tick: Tick, note: Note = unheard) -> None:
        """Raises as ``read`` does."""
        self._hear(exhibit, lambda one: one.look(picture, exhibit, tick) if one.looks() else None, note)

    def _undecided(self, silent: dict[str, Undecided], exhibit: Exhibit, note: Note) -> None:
        """``silent`` says why, by moderator. Raises InternalError where that counts."""
        log.warning(
            "moderation did not decide",
            then=self._on_failure,
            reason="; ".join(f"{name}: {why}" for name, why in silent.items()),
            part=exhibit.part,
            number=exhibit.number,
            task_id=exhibit.task_id,
        )
        passes = self._on_failure == "pass"
        then = "so it passed" if passes else "so it did not pass"
        unasked = all(isinstance(why, NotAsked) for why in silent.values())
        did = "was silent just before and not asked about" if unasked else "could not decide on"
        note(f"Moderation ({', '.join(silent)}) {did} {NAMES[exhibit.part]}, {then}.")
        if not passes:
            raise InternalError

    def _inspects(self, side: Side, wished: Collection[Side]) -> bool:
        return side in self._sides or side in wished

    def _hear(self, exhibit: Exhibit, ask: Callable[[Moderator], Objection | None], note: Note) -> None:
        silent: dict[str, Undecided] = {}
        for moderator in self._moderators:
            try:
                objection = ask(moderator)
            except Undecided as error:
                silent[moderator.name] = error
                continue
            if objection is not None:
                raise _refusal(moderator, objection, exhibit)
        if silent:
            self._undecided(silent, exhibit, note)


def _refusal(moderator: Moderator, objection: Objection, exhibit: Exhibit) -> DataInspectionFailed:
    log.info(
        "moderation objected",
        moderator=moderator.name,
        ground=objection.ground,
        reason=objection.reason,
        part=exhibit.part,
        number=exhibit.number,
        task_id=exhibit.task_id,
    )
    kind, sentence = REFUSALS[exhibit.side, objection.ground]
    return kind(sentence)

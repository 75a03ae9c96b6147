"""The owner's own lists: words and patterns for texts, perceptual hashes for pictures. Asks nobody, needs nothing."""

from pathlib import Path
from typing import TYPE_CHECKING

from kf2v.kept_file import write_new
from kf2v.moderation import Exhibit, Objection, Tick
from kf2v.moderation.lists import pictures, words
from kf2v.moderation.lists.kept import KeptList

if TYPE_CHECKING:
    from kf2v.video import Frame

WORDS, PICTURES = "words.txt", "pictures.txt"
#: bits of 64, measured in docs/decisions/0016-moderation.md
DISTANCE = 10


class Lists:
    """Both lists, in files of ``folder`` that may be edited at any time."""

    name = "lists"
    elsewhere = False

    def __init__(self, folder: Path, *, distance: int = DISTANCE) -> None:
        self._words = KeptList(folder / WORDS, words.parse)
        self._pictures = KeptList(folder / PICTURES, pictures.parse)
        self._distance = distance

    def reads(self) -> bool:
        return not self._words.empty()

    def looks(self) -> bool:
        return not self._pictures.empty()

    def read(self, text: str, exhibit: Exhibit, tick: Tick) -> Objection | None:
        del exhibit, tick
        return words.objection(text, self._words.entries(), self._words.name)

    def look(self, picture: "Frame", exhibit: Exhibit, tick: Tick) -> Objection | None:
        del exhibit, tick
        entries = self._pictures.entries()
        return pictures.objection(picture, entries, distance=self._distance, file=self._pictures.name)


def lay_out(folder: Path) -> None:
    """Put blank lists into ``folder``, where there are none yet."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (WORDS, PICTURES):
        if not (folder / name).exists():
            write_new(folder / name, blank(name))


def blank(name: str) -> str:
    """The list ``name`` (``WORDS`` or ``PICTURES``) as it is shipped: explained, with examples, without an entry."""
    return (Path(__file__).parent / name).read_text("utf-8")

"""Pictures that may not be shown, known by a perceptual hash: 64 bits that survive scaling and re-encoding.

The hash is the ``phash`` of the imagehash library, which is loaded when there is a picture to compare with.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kf2v.moderation import Objection
from kf2v.moderation.lists.kept import BrokenLine
from kf2v.moderation.lists.words import Ground, split_ground

if TYPE_CHECKING:
    from kf2v.video import Frame

#: Half the bits are set where there is anything to see. Of a plain surface only one is, and it would be found in every
#: black frame.
FEWEST_BITS = 16

_ENTRY = re.compile(r"([0-9a-fA-F]{16})(?:\s+(.*))?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbidden:
    """One picture."""

    #: in the file
    number: int
    ground: Ground
    #: 64 bits
    hash: int
    label: str = ""


def parse(line: str, number: int) -> Forbidden:
    """An entry. Raises BrokenLine."""
    ground, entry = split_ground(line)
    found = _ENTRY.match(entry)
    if found is None:
        raise BrokenLine("an entry should be 16 hexadecimal digits and perhaps a label")
    hash_ = int(found[1], 16)
    if not says_enough(hash_):
        raise BrokenLine("a picture so plain is like too many others")
    return Forbidden(number=number, ground=ground, hash=hash_, label=(found[2] or "").strip())


def says_enough(hash_: int) -> bool:
    """Whether a hash tells its picture from others."""
    return FEWEST_BITS <= hash_.bit_count() <= 64 - FEWEST_BITS


def hash_of(picture: "Frame") -> int:
    """64 bits."""
    import imagehash
    from PIL import Image

    return int(str(imagehash.phash(Image.fromarray(picture))), 16)


def objection(picture: "Frame", entries: Sequence[Forbidden], *, distance: int, file: str) -> Objection | None:
    """What the nearest of ``entries`` has against ``picture``, if it differs in ``distance`` bits or fewer."""
    if not entries:
        return None
    here = hash_of(picture)
    nearest = min(entries, key=lambda entry: (entry.hash ^ here).bit_count())
    if (bits := (nearest.hash ^ here).bit_count()) > distance:
        return None
    label = f" ({nearest.label})" if nearest.label else ""
    return Objection(ground=nearest.ground, reason=f"line {nearest.number} of {file}{label}, {bits} bits away")

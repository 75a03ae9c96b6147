"""Names of tasks: UUIDs that begin with the time, version 7 of RFC 9562.

To clients a task id is opaque. To a store it is the index that every insert and every poll goes through, and there
ids of one moment should be neighbours: entirely random ones (version 4) touch one page of the index each, which makes
an insert into a table of some size cost about twice as much.
"""

import secrets

#: bits that are neither time, version (4) nor variant (2)
RANDOM_BITS = 74


def new_id(now: int) -> str:
    """A fresh id; ``now`` in milliseconds since the epoch. Nobody can guess it from other ids."""
    chance = secrets.randbits(RANDOM_BITS)
    high, low = chance >> 62, chance & ((1 << 62) - 1)
    name = f"{now << 80 | 7 << 76 | high << 64 | 2 << 62 | low:032x}"
    return f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}"

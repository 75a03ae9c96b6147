"""A process that owns a store: ``tenant.py PATH hold`` keeps it, ``tenant.py PATH insert PREFIX`` fills it.

Every line it prints is a fact at the moment it is printed: ``open``, or the id of a task whose insert returned.
"""

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from kf2v.store.sqlite import SqliteStore
from orders import order

SIDE_BY_SIDE = 16


def say(fact: str) -> None:
    os.write(1, f"{fact}\n".encode())


async def insert(store: SqliteStore, prefix: str, part: int) -> None:
    number = part
    while True:
        task = order(number, id=f"{prefix}-{number}")
        await store.insert(task)
        say(task.id)
        number += SIDE_BY_SIDE


async def main(path: Path, *work: str) -> None:
    store = await SqliteStore.open(path)
    say("open")
    match work:
        case ["insert", prefix]:
            await asyncio.gather(*(insert(store, prefix, part) for part in range(SIDE_BY_SIDE)))
        case _:
            sys.stdin.read()
            await store.close()


asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))

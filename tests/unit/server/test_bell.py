"""What a bell wakes, and whom."""

import asyncio

from kf2v.server.bell import Bell


def test_everybody_who_listens_is_woken() -> None:
    async def listened() -> list[bool]:
        bell = Bell()
        asleep = [asyncio.create_task(bell.listen().wait()) for _ in range(3)]
        await asyncio.sleep(0)
        bell.ring()
        async with asyncio.timeout(5):
            return list(await asyncio.gather(*asleep))

    assert asyncio.run(listened()) == [True] * 3


def test_a_ring_between_listening_and_waiting_is_heard_whoever_listens_meanwhile() -> None:
    bell = Bell()
    mine = bell.listen()
    bell.ring()
    theirs = bell.listen()
    assert mine.is_set()
    assert not theirs.is_set()
    bell.ring()
    assert theirs.is_set()


def test_who_listens_after_a_ring_waits_for_the_next() -> None:
    bell = Bell()
    for _ in range(2):
        bell.ring()
        assert not bell.listen().is_set()

"""Keys: shown once, kept as keyed hashes."""

import asyncio
import re

import pytest

from kf2v.admission.keys import Keys
from kf2v.clock import ManualClock
from kf2v.errors import InvalidApiKey, NoApiKey
from kf2v.store.memory import MemoryStore


def test_a_new_key_looks_like_the_vendors_and_names_its_account() -> None:
    async def story() -> None:
        keys = Keys(MemoryStore(), secret=b"s", clock=ManualClock())
        row, secret = await keys.create("ann")
        assert re.fullmatch(r"sk-[0-9a-f]{32}", secret)
        caller = await keys.identify(f"Bearer {secret}")
        assert (caller.account, caller.key_id) == ("ann", row.id)
        assert row.hint == secret[-4:]

    asyncio.run(story())


def test_the_row_does_not_hold_the_key_and_depends_on_the_secret() -> None:
    async def story() -> None:
        one, two = (Keys(MemoryStore(), secret=secret, clock=ManualClock()) for secret in (b"1", b"2"))
        first, second = await one.ensure("sk-same", "a"), await two.ensure("sk-same", "a")
        assert "sk-same" not in repr(first)
        assert first.digest != second.digest

    asyncio.run(story())


def test_ensuring_a_key_twice_keeps_the_first() -> None:
    async def story() -> None:
        keys = Keys(MemoryStore(), secret=b"s", clock=ManualClock())
        first, second = await keys.ensure("sk-mine", "a"), await keys.ensure("sk-mine", "b")
        assert first == second
        assert len(await keys.list()) == 1

    asyncio.run(story())


@pytest.mark.parametrize("header", ["bearer {}", "BEARER {}", "Bearer  {} ", "{}"])
def test_the_scheme_is_read_kindly(header: str) -> None:
    async def story() -> None:
        keys = Keys(MemoryStore(), secret=b"s", clock=ManualClock())
        _, secret = await keys.create("ann")
        assert (await keys.identify(header.format(secret))).account == "ann"

    asyncio.run(story())


@pytest.mark.parametrize("header", [None, "", " ", "Bearer", "Bearer "])
def test_nothing_is_no_key(header: str | None) -> None:
    with pytest.raises(NoApiKey):
        asyncio.run(Keys(MemoryStore(), secret=b"s", clock=ManualClock()).identify(header))


@pytest.mark.parametrize("header", ["Bearer sk-x", "Basic dXNlcjpwYXNz", "Bearer \udcff", "Bearer a b"])
def test_anything_else_is_a_wrong_key(header: str) -> None:
    with pytest.raises(InvalidApiKey):
        asyncio.run(Keys(MemoryStore(), secret=b"s", clock=ManualClock()).identify(header))


def test_a_revoked_key_is_a_wrong_key_and_is_revoked_once() -> None:
    async def story() -> None:
        keys = Keys(MemoryStore(), secret=b"s", clock=ManualClock())
        row, secret = await keys.create("ann")
        assert await keys.revoke(row.id)
        assert not await keys.revoke(row.id)
        assert not await keys.revoke("nobody")
        with pytest.raises(InvalidApiKey):
            await keys.identify(f"Bearer {secret}")

    asyncio.run(story())

"""Every variant of the store, one after the other, for the suites that all of them pass."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kf2v.store import Store
from kf2v.store.memory import MemoryStore
from kf2v.store.sqlite import SqliteStore


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else await SqliteStore.open(tmp_path / "kf2v.db")
    yield opened
    await opened.close()

"""Offices, and a receiver that is a real server."""

import asyncio
from collections.abc import Iterator

import pytest

from kf2v.net.guard import AllowedHosts
from office import LOCAL, Office, Open, build
from receiver import Receiver


@pytest.fixture
def open_office() -> Iterator[Open]:
    with asyncio.Runner() as runner:

        def opened(*, allowed: AllowedHosts = LOCAL, seconds: float = 20.0, draw: float = 0.5) -> Office:
            return runner.run(build(runner, allowed=allowed, seconds=seconds, draw=draw))

        yield opened


@pytest.fixture
def office(open_office: Open) -> Office:
    return open_office()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    double = Receiver()
    yield double
    double.close()

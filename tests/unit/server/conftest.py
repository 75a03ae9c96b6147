"""Houses for the tests of the HTTP surface."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from house import House, Open, build
from kf2v.settings import Settings


@pytest.fixture
def open_house(tmp_path: Path) -> Iterator[Open]:
    """Opens houses with the settings a test wants."""
    with asyncio.Runner() as runner:
        houses: list[House] = []

        def opened(**settings: Any) -> House:
            house = runner.run(build(runner, Settings(data_dir=tmp_path, engine="still", workers=0, **settings)))
            houses.append(house)
            return house

        yield opened
        for house in houses:
            runner.run(house.client.aclose())


@pytest.fixture
def house(open_house: Open) -> House:
    return open_house()

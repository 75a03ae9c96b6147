"""What several unit tests talk to."""

from collections.abc import Iterator

import pytest

from endpoint import Endpoint


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A DashScope endpoint of our own."""
    double = Endpoint()
    yield double
    double.close()

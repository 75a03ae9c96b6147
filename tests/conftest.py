"""What every suite may ask for: a server that works, a server that only takes orders, and a host with pictures."""

from collections.abc import Iterator

import pytest

from gallery import open_gallery
from service import Service, serving


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with one worker and the quickest engine."""
    with serving(tmp_path_factory.mktemp("service"), workers=1) as running:
        yield running


@pytest.fixture(scope="session")
def idle_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server without workers: what is ordered stays PENDING."""
    with serving(tmp_path_factory.mktemp("idle"), workers=0) as running:
        yield running


@pytest.fixture(scope="session")
def gallery() -> Iterator[str]:
    """The address of a web host with pictures."""
    with open_gallery() as url:
        yield url

"""What every suite may ask for: a server that works, a server that only takes orders, and a host with pictures."""

from collections import Counter
from collections.abc import Iterator

import pytest

from gallery import open_gallery
from service import Service, serving


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test has an id of its own: of several with one id, a run in several processes would run one.

    Schemathesis names what it generates, and pytest makes the id of what it was generated from.
    """
    for item in items:
        if item.parent and not item.nodeid.endswith(item.name):
            item._id = item.parent.id.child(item.name)  # pyright: ignore[reportPrivateUsage]
    twice = [nodeid for nodeid, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"several tests are called {', '.join(twice)}")


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

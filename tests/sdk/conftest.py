"""The official SDKs, each in its own environment, run as programs against a real server."""

import pytest
from environments import VERSIONS, python_of

from gallery import COLD, WARM, picture
from sdk import Sdk


def _installed(version: str, tmp_path_factory: pytest.TempPathFactory) -> Sdk:
    return Sdk(version=version, python=python_of(version), home=tmp_path_factory.mktemp(f"sdk-{version}"))


@pytest.fixture(scope="session")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Sdk:
    """The newest SDK."""
    return _installed(VERSIONS[0], tmp_path_factory)


@pytest.fixture(scope="session")
def sdks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sdk]:
    """All of them by version."""
    return {version: _installed(version, tmp_path_factory) for version in VERSIONS}


@pytest.fixture(scope="session", params=VERSIONS)
def sdk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sdk:
    """Every SDK version in turn."""
    return _installed(request.param, tmp_path_factory)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two local pictures; their names have everything in them that names can have."""
    folder = tmp_path_factory.mktemp("pictures")
    first, last = folder / "首 帧.png", folder / "last%frame.png"
    first.write_bytes(picture(WARM))
    last.write_bytes(picture(COLD, width=600, height=800))
    return str(first), str(last)


@pytest.fixture(scope="session")
def namesakes(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two different pictures of one base name in two folders."""
    paths: list[str] = []
    for colour in (WARM, COLD):
        path = tmp_path_factory.mktemp("folder") / "frame.png"
        path.write_bytes(picture(colour))
        paths.append(str(path))
    return paths[0], paths[1]


@pytest.fixture(scope="session", params=[version for version in VERSIONS if version != "1.23.8"])
def aio_sdk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sdk:
    """Every SDK version that has the asyncio class."""
    return _installed(request.param, tmp_path_factory)


@pytest.fixture(scope="session")
def frame_urls(gallery: str) -> tuple[str, str]:
    """Two pictures on the web."""
    return f"{gallery}/first_frame.png", f"{gallery}/last_frame.png"

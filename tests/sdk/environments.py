"""One environment per official SDK version, made from its lock file and kept between runs.

`python tests/sdk/environments.py` makes them all; the tests make what is missing.
"""

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Generator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: the newest, the user guide's minimum and the API reference's minimum
VERSIONS = ("2.0.2", "1.25.8", "1.23.8")


def python_of(version: str) -> Path:
    """The interpreter of the environment with that SDK, which is made if need be.

    Raises subprocess.CalledProcessError where it cannot be installed.
    """
    place = ROOT / ".venvs" / f"sdk-{version}"
    with _alone(place.parent / f"{place.name}.lock"):
        return _made(place, version)


@contextlib.contextmanager
def _alone(file: Path) -> Generator[None, None, None]:
    """Nobody else makes that environment meanwhile: tests run in several processes."""
    file.parent.mkdir(exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _made(place: Path, version: str) -> Path:
    lock = ROOT / "requirements" / f"sdk-{version}.lock"
    python = place / "bin" / "python"
    made_from = place / ".lock-sha256"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if made_from.exists() and made_from.read_text() == digest:
        return python
    venv.create(place, with_pip=True, clear=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", lock]
    subprocess.run(install, check=True, env={**os.environ, "PIP_NO_INPUT": "1"})
    made_from.write_text(digest)
    return python


def main() -> None:
    for version in VERSIONS:
        print(python_of(version), file=sys.stderr)


if __name__ == "__main__":
    main()

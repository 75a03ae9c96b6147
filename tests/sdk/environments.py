"""One environment per official SDK version, made from its lock file and kept between runs.

`python tests/sdk/environments.py` makes them all; the tests make what is missing.
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: the newest, the user guide's minimum and the API reference's minimum
VERSIONS = ("2.0.2", "1.25.8", "1.23.8")


def python_of(version: str) -> Path:
    """The interpreter of the environment with that SDK, which is made if need be.

    Raises subprocess.CalledProcessError where it cannot be installed.
    """
    place = ROOT / ".venvs" / f"sdk-{version}"
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

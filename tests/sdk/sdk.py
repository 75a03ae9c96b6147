"""One version of an official SDK, run as its users run it: a program, an environment, a base URL."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service import Service, environment

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True, kw_only=True)
class Sdk:
    """One version of the SDK and the environment it is installed in."""

    version: str
    python: Path
    home: Path

    def run(self, program: Path | str, *arguments: str, service: Service, **variables: str) -> str:
        """What ``program`` printed; an assertion fails with its stderr if it did not end well."""
        place = PROGRAMS / program
        done = self.try_run([str(self.python), str(place), *arguments], service=service, **variables)
        assert done.returncode == 0, f"{place.name} on {self.version}:\n{done.stderr}\n{service.log_tail()}"
        return done.stdout

    def report(self, program: str, *arguments: str, service: Service) -> Any:
        """What ``program`` printed, read as JSON."""
        return json.loads(self.run(program, *arguments, service=service))

    def cli(self, *arguments: str, service: Service, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the ``dashscope`` command."""
        return self.try_run([str(self.python.parent / "dashscope"), *arguments], service=service, **variables)

    def try_run(self, command: list[str], *, service: Service, **variables: str) -> subprocess.CompletedProcess[str]:
        """The only thing that is set is where the server is, and the key."""
        known = {"DASHSCOPE_HTTP_BASE_URL": service.base_url, "DASHSCOPE_API_KEY": service.api_key}
        return subprocess.run(
            command,
            env=environment(self.home, **{**known, "COLUMNS": "4000", **variables}),
            cwd=self.home,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

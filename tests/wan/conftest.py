"""Everything here needs torch: without it the whole folder is one skipped line. With it: one thread, no hub, and
tiny checkpoints of both families."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

NEEDED = ("torch", "diffusers", "transformers", "safetensors", "ftfy", "sentencepiece")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

#: third parties' own warnings, each of which would be an error here
FORGIVEN: tuple[str, ...] = ()

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

if not MISSING:
    import torch

    torch.set_num_threads(1)


class Unequipped(pytest.Module):
    """A file of this folder on a machine without torch; all of them together are reported in one line."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        pytest.skip(f"the wan engine is not tested here: no {', '.join(MISSING)} (pip install 'kf2v[wan]')")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return Unequipped.from_parent(parent, path=module_path) if MISSING else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for warning in FORGIVEN:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="session")
def flf2v_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Wan2.1-FLF2V checkpoint in fp32, as diffusers writes it. Read it, never write to it."""
    from wan import tiny

    return tiny.save(tmp_path_factory.mktemp("wan") / "flf2v", "wan2.1-flf2v")


@pytest.fixture(scope="session")
def a14b_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Wan2.2-I2V-A14B checkpoint in fp32, as diffusers writes it. Read it, never write to it."""
    from wan import tiny

    return tiny.save(tmp_path_factory.mktemp("wan") / "a14b", "wan2.2-a14b")

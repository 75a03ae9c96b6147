"""The Triton kernels against the reference in torch, through Triton's interpreter: no GPU, and slow, so tiny."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_every_kernel_does_what_the_reference_does() -> None:
    """The interpreter is chosen when Triton is imported, so it gets a process of its own."""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    paths = [str(HERE.parents[1] / "src"), str(HERE.parent), *sys.path]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "kernels_in_torch.py")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
    assert ran.stdout.split() == [
        *(f"modulated-{kind}-{out}" for kind in ("fp32", "bf16") for out in ("same", "rows")),
        *(
            f"added-{kind}-{gate}-{out}"
            for kind in ("fp32", "bf16")
            for gate in ("gated", "plain")
            for out in ("same", "rows")
        ),
        *(f"turned-{kind}" for kind in ("fp32", "bf16")),
        *(f"rms-{kind}" for kind in ("fp32", "bf16")),
        *(f"gelu-{kind}-{out}" for kind in ("fp32", "bf16") for out in ("same", "rows")),
        *(f"rows-{kind}" for kind in ("fp32", "bf16")),
        *(f"steered-{kind}" for kind in ("fp32", "bf16")),
        *(f"cast-{kind}-{name}" for kind in ("fp32", "bf16") for name in ("whole", "centred")),
    ]


def test_choosing_operations_does_not_import_triton() -> None:
    code = "import sys, kf2v.engines.wan.ops as ops; ops.Ops.best('cpu'); assert 'triton' not in sys.modules"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )

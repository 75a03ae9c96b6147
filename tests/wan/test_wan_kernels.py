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


#: every kernel with the dtypes it meets on a Hopper card at the width 5120 (FFN 13824)
COMPILED = """
import kf2v.engines.wan.ops.kernels as kernels, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

half, coded, single, count, number = "*bf16", "*fp8e4nv", "*fp32", "i32", "fp32"
blend = dict(scale=number, tau=number, alpha=number)
narrow, wide = ({"block": 8192}, 8), ({"block": 16384}, 16)
vectors = dict(factor=single, offset=single, scale=single, d=count, eps=number)
turns = dict(cos=single, sin=single, stride=count, d=count, half=count, eps=number)
for name, types, flags, (block, warps) in (
    ("_modulate", dict(x=half, out=coded, **vectors), {"rows": True}, narrow),
    ("_add", dict(x=half, y=half, gate=single, out=coded, **vectors), {"rows": True, "gated": True}, narrow),
    ("_turn", dict(qkv=half, q_weight=half, k_weight=half, **turns), {}, narrow),
    ("_rms", dict(x=half, weight=half, out=half, d=count, eps=number), {}, narrow),
    ("_gelu", dict(x=half, out=coded, scale=single, d=count), {"rows": True}, wide),
    ("_quantise", dict(x=half, out=coded, scale=single, d=count), {}, narrow),
    ("_steer", dict(positive=half, negative=half, out=half, d=count, **blend), {}, narrow),
    ("_cast", dict(x=half, mean=single, descale=single, out=coded, stride=count, d=count), {"centred": True}, narrow),
):
    kernel, constants = getattr(kernels, name), {**flags, **block}
    order = kernel.arg_names
    source = ASTSource(
        fn=kernel,
        signature={argument: types.get(argument, "constexpr") for argument in order},
        constexprs={(order.index(argument),): value for argument, value in constants.items()},
        # pointers and counts are multiples of sixteen, as the launcher would find
        attrs={(at,): [["tt.divisibility", 16]] for at, a in enumerate(order) if types.get(a) and types[a] != number},
    )
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    assert made.asm["cubin"]
    assert "ld.local" not in made.asm["ptx"] and "st.local" not in made.asm["ptx"], name
    assert "ld.global.v4" in made.asm["ptx"], name
    print(name)
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_every_kernel_compiles_for_hopper_with_wide_loads_and_no_spilling(tmp_path: Path) -> None:
    """Triton brings NVIDIA's assembler along, which needs no card."""
    paths = [str(HERE.parents[1] / "src"), *sys.path]
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": os.pathsep.join(path for path in paths if path), "TRITON_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPILED],
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert ran.stdout.split() == ["_modulate", "_add", "_turn", "_rms", "_gelu", "_quantise", "_steer", "_cast"]

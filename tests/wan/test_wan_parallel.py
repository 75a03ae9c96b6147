"""Sequence parallelism inside one job: two processes are one, to the fifth digit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kf2v.engines.wan.parallel import Share, Ulysses

HERE = Path(__file__).parent


def test_two_processes_make_what_one_makes(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[1] / "src"), str(HERE.parent)])}
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", str(HERE / "ulysses_in_two.py"), str(rank), str(tmp_path / "meeting")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=120)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [f"parted {rank}" in out for rank, out in enumerate(said)] == [True, True], said
    assert [process.returncode for process in started] == [0, 0]


@pytest.mark.parametrize(("length", "size"), [(45, 2), (31_668, 8), (7, 4), (3, 4)])
def test_every_token_is_somebodys_and_no_part_is_much_larger(length: int, size: int) -> None:
    shares = [share_of(rank, length, size) for rank in range(size)]
    assert [i for share in shares for i in range(length)[share.here]] == list(range(length))
    assert max(shares[0].lengths) - min(shares[0].lengths) <= 1


def share_of(rank: int, length: int, size: int) -> Share:
    ulysses = object.__new__(Ulysses)
    ulysses.rank, ulysses.size, ulysses.group = rank, size, None
    return ulysses.share(length)


def test_a_group_has_to_be_there_first() -> None:
    with pytest.raises(ValueError, match="started first"):
        Ulysses()

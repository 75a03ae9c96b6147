"""Two processes denoise together and compare with one that does it alone; started by test_wan_parallel."""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist

from kf2v.engines.wan.dit import Dit
from kf2v.engines.wan.family import DitShape
from kf2v.engines.wan.ops import Ops
from kf2v.engines.wan.parallel import Ulysses
from wan.drawn import DrawnSource

SHAPE = DitShape(layers=2, heads=4, head_dim=24, ffn=96, text_dim=32)


def main(rank: int, meeting: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    ulysses = Ulysses()
    source, generator = DrawnSource(SHAPE, seed=1), torch.Generator().manual_seed(2)
    text = torch.randn(1, 512, 32, generator=generator)
    alone = Dit(SHAPE, source, Ops.reference(), "cpu", torch.float32)
    together = Dit(SHAPE, source, Ops.reference(), "cpu", torch.float32, ulysses=ulysses)
    # 45 tokens, which two cannot share evenly, and 48, which they can
    for h, w in ((6, 10), (8, 8)):
        latents = torch.randn(1, 36, 3, h, w, generator=generator)
        expected = alone.forward(latents, 700.0, alone.prepare(text))
        told: list[int] = []
        found = together.forward(latents, 700.0, together.prepare(text), told.append)
        apart = ((found - expected).norm() / expected.norm()).item()
        assert apart <= 1e-5, apart
        assert told == [0, 1]
        both = [torch.empty_like(found) for _ in range(2)]
        dist.all_gather(both, found)
        assert torch.equal(*both), "the processes must not drift apart"
    assert ulysses.any(rank == 1, "cpu")
    assert not ulysses.any(False, "cpu")
    try:
        Dit(
            DitShape(layers=1, heads=3, head_dim=24, ffn=96, text_dim=32),
            source,
            Ops.reference(),
            "cpu",
            ulysses=ulysses,
        )
    except ValueError as error:
        assert "3 heads" in str(error)
    else:
        raise AssertionError("three heads cannot be shared by two")
    dist.barrier()
    dist.destroy_process_group()
    print("parted", rank, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

"""One video on several GPUs: tokens are shared out, and heads instead of tokens for as long as attention lasts.

Knows no transformer. The method is DeepSpeed-Ulysses (arXiv 2309.14509): before self-attention every process trades
the other heads of its tokens for its own heads of the other tokens, and trades back afterwards; all else goes token
by token. Tried with gloo on CPUs; not run on GPUs yet.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from kf2v.engines.wan.fault import CompanyBroken
from kf2v.engines.wan.ops.attention import Attention
from kf2v.engines.wan.ops.linear import dense


@contextmanager
def answered() -> Generator[None]:
    """Here processes wait for each other. Raises CompanyBroken where one does not answer (any more)."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise CompanyBroken((str(error).splitlines() or ["no answer"])[0]) from error


class Ulysses:
    """A group of processes, each of which runs the same loop on the same latents with the same weights."""

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        """``group`` None is all processes. Raises ValueError when torch.distributed was not started."""
        if not dist.is_initialized():
            raise ValueError("torch.distributed has to be started first (torchrun, or init_process_group)")
        self.group = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)

    def share(self, length: int) -> Share:
        """How ``length`` tokens are shared; parts differ by one at most."""
        each, more = divmod(length, self.size)
        lengths = tuple(each + (rank < more) for rank in range(self.size))
        return Share(ulysses=self, lengths=lengths)

    def any(self, said: bool, device: torch.device | str) -> bool:
        """Whether one process at least says so: how all of them call work off at the same block."""
        flag = torch.tensor(int(said), device=device)
        with answered():
            dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=self.group)
        return bool(flag.item())


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The tokens of one video among the processes."""

    ulysses: Ulysses
    #: by rank
    lengths: tuple[int, ...]

    @property
    def here(self) -> slice:
        """This process's tokens."""
        start = sum(self.lengths[: self.ulysses.rank])
        return slice(start, start + self.lengths[self.ulysses.rank])

    def around(self, attend: Attention) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """``attend`` over all processes' tokens: [L here, N, D] three times → [L here, N·D]."""

        def together(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            qkv = self._heads_here(torch.stack((q, k, v)))  # [3, L, N / P, D]
            read = dense(attend(*qkv.unbind(0)), q.dtype)  # [L, N / P · D]
            return self._tokens_here(read.unflatten(-1, qkv.shape[2:]))

        return together

    def gather(self, x: Tensor) -> Tensor:
        """x [L here, C] of all processes: [L, C] on each, the same to the bit."""
        padded = x.new_zeros(max(self.lengths), *x.shape[1:])
        padded[: len(x)] = x
        found = [torch.empty_like(padded) for _ in self.lengths]
        with answered():
            dist.all_gather(found, padded, group=self.ulysses.group)
        return torch.cat([part[:length] for part, length in zip(found, self.lengths, strict=True)])

    def _heads_here(self, x: Tensor) -> Tensor:
        """[3, L here, N, D] → [3, L, N / P, D]."""
        three, here, heads, channels = x.shape
        few = heads // self.ulysses.size
        one = three * few * channels  # numbers of one token for one process
        given = x.unflatten(2, (-1, few)).permute(2, 0, 1, 3, 4).contiguous()  # [P, 3, L here, N / P, D]
        sizes = [length * one for length in self.lengths]
        taken = x.new_empty(sum(sizes))
        with answered():
            dist.all_to_all_single(
                taken, given.flatten(), sizes, [here * one] * self.ulysses.size, group=self.ulysses.group
            )
        return torch.cat([part.view(three, -1, few, channels) for part in taken.split(sizes)], dim=1)

    def _tokens_here(self, x: Tensor) -> Tensor:
        """[L, N / P, D] → [L here, N·D]."""
        _, few, channels = x.shape
        here, one = self.lengths[self.ulysses.rank], few * channels
        taken = x.new_empty(self.ulysses.size * here * one)
        sizes = [length * one for length in self.lengths]
        with answered():
            dist.all_to_all_single(
                taken, x.contiguous().flatten(), [here * one] * self.ulysses.size, sizes, group=self.ulysses.group
            )
        return taken.view(self.ulysses.size, here, one).transpose(0, 1).flatten(1)  # heads in the order of ranks

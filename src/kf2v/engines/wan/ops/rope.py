"""Where a token stands in time and space, as angles its channels are turned by.

Knows nothing of attention; interleaved pairs (2j, 2j+1) are turned, as Wan does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: the base of the angles in every Wan model
THETA = 10_000.0


@dataclass(frozen=True, slots=True)
class Rope:
    """Cosines and sines of every token's angles, in fp32."""

    #: [L, head_dim / 2]
    cos: Tensor
    #: [L, head_dim / 2]
    sin: Tensor

    def part(self, start: int, stop: int) -> Rope:
        """The tokens from ``start`` up to ``stop``."""
        return Rope(self.cos[start:stop].contiguous(), self.sin[start:stop].contiguous())

    def turn(self, x: Tensor) -> Tensor:
        """x [L, heads, head_dim] turned, in fp32."""
        even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)  # [L, N, D/2] each
        cos, sin = self.cos[:, None], self.sin[:, None]  # [L, 1, D/2]
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


def rope(head_dim: int, grid: tuple[int, int, int], device: torch.device | str) -> Rope:
    """The angles for ``grid`` = (frames, rows, columns) of tokens, in that order.

    Of the channels, 2·(head_dim // 6) belong to rows and as many to columns, the rest to time; the angles are
    taken in fp64, for at position 80 fp32 is already wrong in the fifth digit.
    """
    across = 2 * (head_dim // 6)
    frames, rows, columns = (
        torch.outer(torch.arange(count, dtype=torch.float64), _frequencies(channels))
        for count, channels in zip(grid, (head_dim - 2 * across, across, across), strict=True)
    )
    t, h, w = grid
    angles = torch.cat(
        [
            frames[:, None, None].expand(t, h, w, -1),
            rows[None, :, None].expand(t, h, w, -1),
            columns[None, None].expand(t, h, w, -1),
        ],
        dim=-1,
    ).reshape(t * h * w, head_dim // 2)
    return Rope(angles.cos().float().to(device), angles.sin().float().to(device))


def _frequencies(channels: int) -> Tensor:
    return THETA ** (-torch.arange(0, channels, 2, dtype=torch.float64) / channels)

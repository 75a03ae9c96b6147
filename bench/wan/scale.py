"""At which size everything is measured: the real one on a GPU, or a tiny one that only walks the code."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kf2v.engines.wan import synthetic
from kf2v.engines.wan.family import A14B, DitShape, Family
from kf2v.engines.wan.geometry import FRAMES, tokens
from kf2v.video import Size

#: seconds per video of five seconds in four steps: what this project wants on one H100
TARGETS = {"480P": 8.0, "720P": 28.0}
#: times faster than diffusers with the same weights and steps
RATIO = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One size of everything."""

    family: Family
    shape: DitShape
    sizes: synthetic.Sizes
    #: by name of the tier
    films: Mapping[str, Size]
    frames: int
    #: side of the largest square product
    square: int

    @property
    def tokens(self) -> dict[str, int]:
        return {name: tokens(size, self.frames) for name, size in self.films.items()}


#: what the tiers are generated at, from a picture of 16:9
FULL = Scale(
    family=A14B,
    shape=A14B.shape,
    sizes=synthetic.FULL,
    films={"480P": Size(width=832, height=480), "720P": Size(width=1280, height=720)},
    frames=FRAMES,
    square=8192,
)
#: for walking the code on a CPU, and on a GPU, whose kernels want heads of 128
TINY = Scale(
    family=A14B,
    shape=synthetic.TINY.shape(A14B),
    sizes=synthetic.TINY,
    films={"tiny": Size(width=64, height=48)},
    frames=9,
    square=64,
)
SMALL_SIZES = replace(synthetic.TINY, dit={"layers": 2, "heads": 2, "head_dim": 128, "ffn": 512})
SMALL = Scale(
    family=A14B,
    shape=SMALL_SIZES.shape(A14B),
    sizes=SMALL_SIZES,
    films={"small": Size(width=128, height=96), "larger": Size(width=192, height=128)},
    frames=9,
    square=1024,
)

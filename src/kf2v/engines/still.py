"""A public double of an engine: the first picture stands for half of the time, then the last one.

For tests of everything around an engine, and for finding out whether a set-up works.
"""

from collections.abc import Iterator

from kf2v.engines import Scene, Watch
from kf2v.video import Clip, Frame, Size

FPS = 30
COUNT = 150


class Still:
    """Shows ``scene.first`` for half of the time and ``scene.last`` for the other half."""

    name = "still"

    def generate(self, scene: Scene, watch: Watch) -> Clip:
        """150 frames at 30 frames per second; prompts and seed change nothing."""
        height, width = scene.first.shape[:2]
        return Clip(size=Size(width=width, height=height), fps=FPS, count=COUNT, frames=_frames(scene, watch))


def _frames(scene: Scene, watch: Watch) -> Iterator[Frame]:
    for index in range(COUNT):
        watch.report("render", index / COUNT)
        yield scene.first if index < COUNT // 2 else scene.last
    watch.report("render", 1.0)

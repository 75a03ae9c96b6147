"""The morph engine: finds what belongs together in both frames, moves it there, and hands over where nothing does.

Needs no weights and no accelerator. Analysis happens once at a fixed small size; every frame is then a pure function
of the scene and its position in time, so frames can be made in parallel and always come out the same, byte for byte.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import cv2
import numpy as np

from kf2v.engines import Scene, Watch
from kf2v.engines.morph import words
from kf2v.engines.morph.camera import Camera
from kf2v.engines.morph.timing import Pace, ease
from kf2v.video import Clip, Frame, Size
from kf2v.video.motion.correspondence import Correspondence, analyse
from kf2v.video.motion.path import Homography, in_units
from kf2v.video.motion.render import Renderer, View
from kf2v.video.motion.threads import work_alone

COUNT = 150
FPS = 30.0

#: frames in the making at once; also the bound on memory
LOOKAHEAD = 3
#: grey levels, averaged around a place, that two savings of one picture differ by at most: JPEG at quality 75 does up
#: to 9.7, a pixel's motion of an edge more
SAVED_TWICE = 10.0
#: frames from one view to the next that is found by itself; what lies between is their mean
STRIDE = 4


class Morph:
    """Dense correspondence both ways, geometric interpolation, occlusion-aware blending."""

    name = "morph"

    def __init__(self, threads: int = 2) -> None:
        self._threads = threads

    def generate(self, scene: Scene, watch: Watch) -> Clip:
        """Analyse the pair now; render its 150 frames at 30 per second when they are asked for."""
        work_alone()
        direction = words.read(scene.prompt)
        camera = Camera(direction, scene.seed, shape=(scene.first.shape[0], scene.first.shape[1]))
        says_how = direction.fixed or direction.names_a_move
        journey = camera.journey if says_how else None
        pair = analyse(scene.first, scene.last, partial(watch.report, "analyse"), journey=journey)
        if _still(scene.first, scene.last):
            # A breath begins and ends at rest by itself.
            bend, pace = camera.breath, Pace(stir=1.0)
        else:
            bend = camera.shake if pair.strange else camera.beyond(_own_motion(pair)).bend
            pace = Pace.of(direction.pace, scene.seed)
        renderer = Renderer(scene.first, scene.last, pair, bend)
        height, width = scene.first.shape[:2]
        return Clip(
            size=Size(width=width, height=height),
            fps=FPS,
            count=COUNT,
            frames=self._frames(scene, renderer, pace, watch),
        )

    def _frames(self, scene: Scene, renderer: Renderer, pace: Pace, watch: Watch) -> Iterator[Frame]:
        watch.report("render", 0.0)
        yield scene.first.copy()
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="morph")
        try:
            pending: deque[Future[Frame]] = deque()
            for index, developed in enumerate(_developed(pool, renderer, pace), 1):
                pending.append(developed)
                if len(pending) == LOOKAHEAD:
                    yield pending.popleft().result()
                    watch.report("render", index / COUNT)
            while pending:
                yield pending.popleft().result()
                watch.report("render", (COUNT - len(pending) - 1) / COUNT)
        finally:
            pool.shutdown(cancel_futures=True)
        yield scene.last.copy()
        watch.report("render", 1.0)


def _developed(pool: ThreadPoolExecutor, renderer: Renderer, pace: Pace) -> Iterator[Future[Frame]]:
    """The inner frames in the making, put to work as they are asked for.

    A frame waits in its thread for its views; they were put to work before it, so somebody is at them already.
    """

    def view(index: int) -> Future[View]:
        return pool.submit(renderer.view, ease(index / (COUNT - 1), pace))

    def develop(before: Future[View], after: Future[View], part: float) -> Frame:
        return renderer.develop(before.result().towards(after.result(), part) if part else before.result())

    last = COUNT - 2
    before = view(1)
    for start in range(1, last + 1, STRIDE):
        after_at = min(start + STRIDE, last)
        after = view(after_at) if after_at > start else before
        for index in range(start, min(start + STRIDE, last + 1)):
            yield pool.submit(develop, before, after, (index - start) / max(1, after_at - start))
        before = after


def _own_motion(pair: Correspondence) -> Homography:
    """The rate at which the whole picture moves by itself, in the camera's units."""
    height, width = pair.first.anchor.shape[:2]
    return in_units(pair.path.rate, (height, width))


def _still(first: Frame, last: Frame) -> bool:
    """Whether both show the same, were they saved twice: no place differs by more than coding could have done."""
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, last)]
    apart = cv2.absdiff(greys[0], greys[1]).astype(np.float32)
    return float(cv2.GaussianBlur(apart, (0, 0), 3.0).max()) < SAVED_TWICE

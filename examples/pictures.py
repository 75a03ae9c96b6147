"""The pictures of docs/explanation/morph.md: ``python examples/pictures.py [NAME …]``, a minute or two for all of them.

Writes docs/images/morph/NAME.jpg. Films are made by the engine at 640 × 352 and never encoded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import compress
from pathlib import Path

import cv2
import drawn
import numpy as np
from PIL import Image

from kf2v.engines import Scene
from kf2v.engines.morph import Morph
from kf2v.engines.morph.timing import ease
from kf2v.pipeline.prepare import decode
from kf2v.video import Frame, Size
from kf2v.video.frames import fit
from kf2v.video.motion.alignment import in_company, landmarks, planes
from kf2v.video.motion.correspondence import Correspondence, analyse
from kf2v.video.motion.field import Field, grid, resize, sample
from kf2v.video.motion.halfway import morph
from kf2v.video.motion.matching import Match
from kf2v.video.motion.path import project
from kf2v.video.motion.render import Renderer

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "images" / "morph"
SIZE = Size(width=drawn.WIDTH, height=drawn.HEIGHT)
COUNT, RATE = 150, 30
STRIP, FAILURE = (0, 37, 75, 112, 149), (0, 75, 149)
#: pixels of a small tile, and between tiles
SMALL, GAP = 320, 6
#: early to late, first to last
EARLY, LATE = (255, 196, 54), (92, 40, 150)
FIRST, LAST = (58, 128, 210), (232, 140, 44)

Pair = tuple[Frame, Frame]


class Silence:
    """A watch nobody looks at."""

    def report(self, phase: str, done: float) -> None:
        """Say nothing."""


def photograph(name: str) -> Frame:
    """One of the pictures that lie next to the page's, or of the bundled pair, at the size of the films."""
    path = ROOT / name if "/" in name else OUT / "pairs" / f"{name}.jpg"
    return fit(decode(path.read_bytes()), SIZE)


def still_life() -> Pair:
    """The bundled pair: a camera move."""
    return photograph("examples/pair/first.jpg"), photograph("examples/pair/last.jpg")


def strangers() -> Pair:
    """Two pictures with nothing in common."""
    return photograph("astronaut"), photograph("coffee")


def wings() -> Pair:
    """One bird with and without its wings spread: much is moved, little of it far from home."""
    return photograph("bird-412"), photograph("bird-444")


def film(pair: Pair, moments: Sequence[int], prompt: str = "") -> list[Frame]:
    """The frames of the engine's film at ``moments``."""
    scene = Scene(first=pair[0], last=pair[1], prompt=prompt, negative_prompt="", seed=1)
    wanted = (index in moments for index in range(COUNT))
    return list(compress(Morph().generate(scene, Silence()).frames, wanted))


def sheet(rows: Sequence[Sequence[Frame]], width: int = SMALL) -> Image.Image:
    """Pictures side by side and one above the other, each ``width`` pixels wide."""
    height = round(width * SIZE.height / SIZE.width)
    columns = max(len(row) for row in rows)
    whole = Image.new("RGB", (columns * (width + GAP) - GAP, len(rows) * (height + GAP) - GAP), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            tile = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
            whole.paste(tile, (x * (width + GAP), y * (height + GAP)))
    return whole


def matches() -> Image.Image:
    """Landmarks by plane; flow as colours; trust as brightness; and whose pixels the middle frame shows."""
    first, last = still_life()
    pair = analyse(first, last)
    flow, trust = forward(pair), pair.first.trust
    return sheet([[marked(first, last), in_colours(flow)], [lit(first, trust), origins(first, last, pair)]], 520)


def forward(pair: Correspondence) -> Field:
    """(h, w, 2), pixels of the analysis: from where each pixel of the first frame is to where it ends up."""
    start = pair.first.anchor
    return project(pair.path.at(1.0), start + pair.first.drift) - start


def marked(first: Frame, last: Frame) -> Frame:
    """Landmarks on ``first``, each with its way to ``last``, in the colour of the plane that explains it; else grey."""
    (points, targets), _ = landmarks(first, last)
    kept = in_company(points, targets)
    picture = np.asarray(first * 0.55, np.uint8)
    colours = ((255, 214, 64), (90, 220, 255), (255, 110, 180))
    found = planes(points, targets, first.shape[:2])
    for place, goal, known in zip(points, targets, kept, strict=True):
        misses = [float(np.linalg.norm(project(motion, place) - goal)) for motion in found]
        fits = [index for index, miss in enumerate(misses) if miss < 6]
        colour = colours[fits[0]] if fits else (190, 190, 190) if known else (110, 110, 110)
        start, end = (tuple(int(v) for v in np.rint(16 * p)) for p in (place, goal))
        cv2.line(picture, start, end, colour, 1, cv2.LINE_AA, 4)
        cv2.circle(picture, start, 40, colour, -1, cv2.LINE_AA, 4)
    return picture


def in_colours(flow: Field) -> Frame:
    """Direction as hue, speed as strength of colour, with the key in the corner."""

    def paint(way: Field, most: float) -> Frame:
        turn = np.mod(np.arctan2(way[..., 1], way[..., 0]), 2 * np.pi) * (90 / np.pi)
        strength = 255 * np.clip(np.hypot(way[..., 0], way[..., 1]) / most, 0, 1)
        shades = np.dstack([turn, strength, np.full_like(turn, 250)]).astype(np.uint8)
        return np.asarray(cv2.cvtColor(shades, cv2.COLOR_HSV2RGB), np.uint8)

    picture = paint(flow, float(np.percentile(np.hypot(flow[..., 0], flow[..., 1]), 99)))
    key = grid(61, 61) - 30
    disc = np.hypot(key[..., 0], key[..., 1]) <= 30
    corner = picture[-69:-8, 8:69]
    corner[disc] = paint(key, 30)[disc]
    return picture


def lit(picture: Frame, trust: Field) -> Frame:
    """``picture`` bright where ``trust`` is 1, dark where it is 0."""
    return np.asarray(picture * (0.15 + 0.85 * resize(trust, picture.shape[:2]))[..., None], np.uint8)


def origins(first: Frame, last: Frame, pair: Correspondence) -> Frame:
    """The middle frame in blue where the first frame's pixels are shown, in orange where the last one's are."""
    renderer = Renderer(first, last, pair)
    view = renderer.view(0.5)
    light = cv2.cvtColor(renderer.develop(view), cv2.COLOR_RGB2GRAY)[..., None] / 255
    share = resize(view.share, first.shape[:2])[..., None]
    tint = (1 - share) * np.array(FIRST) + share * np.array(LAST)
    return np.asarray(tint * (0.25 + 0.75 * light), np.uint8)


def lattice() -> Image.Image:
    """A straight grid half way between two pictures, and the same lines on both, as shapes alone tell."""
    first, last = wings()
    shape = first.shape[:2]
    nothing = np.zeros(shape, np.float32)
    still = np.zeros((*shape, 2), np.float32)
    unmatched = Match(forward=still, backward=still, forward_trust=nothing, backward_trust=nothing)
    shapes = morph(first, last, np.eye(3), unmatched)
    here = grid(*shape)
    start = here
    for _ in range(20):
        start = here - sample(shapes.forward, start) / 2
    goal = 2 * here - start
    between = cv2.addWeighted(sample(first, start), 0.5, sample(last, goal), 0.5, 0)
    shown = [(first, start), (np.asarray(between, np.uint8), here), (last, goal)]
    return sheet([[_ruled(picture, places) for picture, places in shown]], 360)


def _ruled(picture: Frame, places: Field, step: int = 16) -> Frame:
    """Every ``step``-th row and column of ``places`` (h, w, 2) as lines on a copy of ``picture``."""
    paper = np.asarray(picture * 0.75, np.uint8)
    lines = [*places[step // 2 :: step], *places[:, step // 2 :: step].swapaxes(0, 1)]
    cv2.polylines(
        paper, [np.rint(16 * line).astype(np.int32) for line in lines], False, (250, 250, 250), 1, cv2.LINE_AA, 4
    )
    return paper


def turns() -> Image.Image:
    """Lines along which both pictures change hands: one for each half second, early ones yellow, late ones violet."""
    first, last = strangers()
    pair = analyse(first, last)
    shown = [(first, pair.turns.first), (last, pair.turns.last)]
    return sheet([[_contoured(picture, when) for picture, when in shown]], 520)


def _contoured(picture: Frame, when: Field) -> Frame:
    """The lines where ``when`` crosses each half second, on a pale copy of ``picture``."""
    pale = np.asarray(0.6 * picture + 0.4 * cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None] * 0.6, np.uint8)
    wide = cv2.GaussianBlur(resize(when, picture.shape[:2]), (0, 0), 3)
    for half_seconds in range(1, 10):
        moment = half_seconds * RATE / 2 / (COUNT - 1)
        inside = (wide < ease(moment) - 0.5).astype(np.uint8)
        edges, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        colour = tuple(round(early + (late - early) * moment) for early, late in zip(EARLY, LATE, strict=True))
        for edge in edges:
            if len(edge) > 60:
                cv2.polylines(pale, [edge], True, colour, 2, cv2.LINE_AA)
    return pale


def strip(pair: Callable[[], Pair]) -> Callable[[], Image.Image]:
    """Five moments of a film."""
    return lambda: sheet([film(pair(), STRIP)])


def failure(pair: Callable[[], Pair]) -> Callable[[], Image.Image]:
    """What went in, and what is made of it half way."""
    return lambda: sheet([film(pair(), FAILURE)])


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "small": strip(lambda: (photograph("bird-400"), photograph("bird-412"))),
    "camera": strip(still_life),
    "large": strip(wings),
    "unrelated": strip(strangers),
    "matches": matches,
    "lattice": lattice,
    "turns": turns,
    "stalks": failure(drawn.stalks),
    "walker": failure(drawn.walker),
    "facade": failure(drawn.facade),
    "writing": failure(drawn.writing),
    "window": failure(lambda: drawn.window(photograph("coffee"), photograph("cat"))),
    "wall": failure(lambda: drawn.wall(photograph("coffee"))),
}


def main(names: Sequence[str]) -> None:
    """Make the pictures called ``names``, or all of them."""
    for name in names or PICTURES:
        PICTURES[name]().save(OUT / f"{name}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Pairs of pictures drawn from formulas, each made to be hard in one way for an engine that follows things.

Nothing in them is anybody's photograph, but for the two that a caller hands in. All are 640 × 352, R'G'B', 8 bits.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Picture = npt.NDArray[np.uint8]
Pair = tuple[Picture, Picture]

WIDTH, HEIGHT = 640, 352


def _noise(seed: int, finest: int = 128) -> npt.NDArray[np.float32]:
    """(h, w), mean 0: fractal noise, with something to see at every scale."""
    dice = np.random.default_rng(seed)
    total = np.zeros((HEIGHT, 2 * WIDTH), np.float32)
    cells = 4
    while cells <= finest:
        layer = dice.standard_normal((cells, 4 * cells)).astype(np.float32)
        total += cv2.resize(layer, (2 * WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) / cells**0.7
        cells *= 2
    return total


def _ground(seed: int, dark: tuple[int, int, int], bright: tuple[int, int, int], x: float = 0.0) -> Picture:
    """A textured surface from one colour to another, seen ``x`` pixels further to the right."""
    part = np.clip(0.5 + 0.35 * _noise(seed), 0, 1)[..., None]
    wide = np.asarray(dark, np.float32) * (1 - part) + np.asarray(bright, np.float32) * part
    view = np.array([[1, 0, -WIDTH / 2 - x], [0, 1, 0]], np.float32)
    return np.asarray(cv2.warpAffine(wide, view, (WIDTH, HEIGHT)), np.uint8)


def stalks() -> Pair:
    """Thin things before a background: the camera moves, and near stalks pass a far meadow much faster than it."""
    dice = np.random.default_rng(3)
    places = np.cumsum(dice.uniform(22, 60, 22)) - 120
    leans, greens = dice.uniform(-45, 45, 22), dice.uniform(0, 1, 22)

    def seen(x: float) -> Picture:
        picture = _ground(5, (36, 58, 88), (214, 190, 150), x / 10)
        for place, lean, green in zip(places, leans, greens, strict=True):
            low, high = (round(16 * (place - x)), 16 * HEIGHT), (round(16 * (place + lean - x)), 16 * 40)
            colour = (round(30 + 60 * green), round(70 + 80 * green), 30)
            cv2.line(picture, low, high, colour, 3, cv2.LINE_AA, 4)
        return picture

    return seen(0), seen(90)


def walker() -> Pair:
    """Something small that goes far: nobody but the walker moves, and the walker crosses half of the beach."""

    def seen(x: int, stride: int) -> Picture:
        picture = _ground(8, (178, 150, 108), (224, 202, 160))
        sky = np.linspace((96, 140, 206), (206, 222, 236), 150)[:, None]
        picture[:150] = np.clip(sky + 6 * _noise(9)[:150, :WIDTH, None], 0, 255)
        sea = _ground(10, (24, 84, 112), (66, 140, 156))
        picture[150:210] = sea[150:210]
        cv2.line(picture, (x, 226), (x, 252), (176, 42, 36), 11, cv2.LINE_AA)
        cv2.line(picture, (x - 1, 256), (x - stride, 284), (36, 40, 58), 5, cv2.LINE_AA)
        cv2.line(picture, (x + 1, 256), (x + stride, 284), (36, 40, 58), 5, cv2.LINE_AA)
        cv2.circle(picture, (x + 1, 212), 7, (196, 146, 112), -1, cv2.LINE_AA)
        return picture

    return seen(150, 4), seen(480, 9)


def facade() -> Pair:
    """The same thing over and over: windows 40 pixels apart, and a camera that moves by 62."""

    def seen(x: int) -> Picture:
        picture = _ground(12, (148, 118, 96), (176, 146, 122), x)
        for left in range(-80 - x, WIDTH + 80, 40):
            for top in range(14, HEIGHT - 40, 56):
                cv2.rectangle(picture, (left, top), (left + 22, top + 34), (44, 56, 70), -1)
                cv2.rectangle(picture, (left, top), (left + 22, top + 34), (226, 216, 200), 2)
                cv2.line(picture, (left + 11, top), (left + 11, top + 34), (226, 216, 200), 2)
        return picture

    return seen(0), seen(62)


def writing() -> Pair:
    """Two sheets of paper on which different things are written."""

    def written(*lines: str) -> Picture:
        sheet = Image.fromarray(_ground(14, (222, 212, 190), (244, 236, 218)))
        pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(64)
        for row, line in enumerate(lines):
            pen.text((56, 40 + 92 * row), line, fill=(40, 34, 46), font=font)
        return np.asarray(sheet, np.uint8).copy()

    return written("Breakfast until", "half past ten,", "coffee all day"), written(
        "Closed. We are", "at the seaside", "till September"
    )


def window(room: Picture, cat: Picture) -> Pair:
    """A pane: what is behind it moves one way while what it mirrors moves the other."""

    def seen(x: int) -> Picture:
        behind, mirrored = (cv2.resize(picture, (760, 428)) for picture in (room, cat))
        behind = behind[38 : 38 + HEIGHT, 60 + x : 60 + x + WIDTH].astype(np.float32)
        mirrored = mirrored[38 : 38 + HEIGHT, 60 - x : 60 - x + WIDTH].astype(np.float32)
        return np.asarray(0.55 * behind + 0.45 * mirrored, np.uint8)

    return seen(-24), seen(24)


def wall(poster: Picture) -> Pair:
    """A wall with a poster, seen along the wall and then from its front."""
    face = _ground(16, (96, 104, 100), (186, 190, 176))
    face[60:292, 120:520] = cv2.resize(poster, (400, 232), interpolation=cv2.INTER_AREA)
    corners = np.array([(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)], np.float32)
    along = np.array([(215, -40), (425, 90), (425, 262), (215, 392)], np.float32)
    street = _ground(18, (58, 60, 66), (128, 132, 140))
    place = cv2.getPerspectiveTransform(corners, along)
    view = cv2.warpPerspective(
        face, place, (WIDTH, HEIGHT), street, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_TRANSPARENT
    )
    return np.asarray(view, np.uint8), face

"""The mark at the bottom right that says where a video comes from.

White, see-through letters on a soft dark edge, so that they can be read on snow and at night. The letters are masks
drawn beforehand (``marks/``); no font is needed to run.
"""

from importlib.resources import files
from typing import Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from kf2v.video.frames import Frame, Size

Text: TypeAlias = Literal["AI-generated", "AI生成"]
Layer: TypeAlias = npt.NDArray[np.float32]

_MASKS: dict[Text, str] = {"AI-generated": "en.png", "AI生成": "zh.png"}

#: height of the letters, as a share of the video's shorter side
HEIGHT = 0.05
#: pixels the letters have at least; TC260's practice guide on labelling generated content (2023) asks for 20
LEAST_HEIGHT = 20
#: distance of the mark's dark edge to the right and to the bottom, likewise
MARGIN = 0.03
#: the most the letters may take of either side; goes before the least height
MOST = 0.6
#: how far the dark edge reaches, as a share of the letters' height
EDGE = 0.14
#: opacity of the letters and of the dark edge around them
WHITE, BLACK = 0.8, 0.7


class Watermark:
    """``text`` prepared for videos of ``size``; apply it to as many frames as you like, from any thread."""

    def __init__(self, text: Text, size: Size) -> None:
        self.text, self.size = text, size
        white, black = _layers(_letters(text, size))
        margin = round(min(size.width, size.height) * MARGIN)
        bottom, right = size.height - margin, size.width - margin
        height, width = white.shape
        self._box = (slice(bottom - height, bottom), slice(right - width, right))
        #: in 256ths, (height, width, 1) uint16: how much of the picture stays, and the light that is added to it
        self._keep = np.rint(256 * (1 - white - black)).astype(np.uint16)[..., None]
        light = np.rint(256 * white).astype(np.uint16)[..., None]
        self._add = np.minimum(light, 256 - self._keep) * np.uint16(255)

    def apply(self, frame: Frame) -> Frame:
        """A copy of ``frame`` with the mark on it. Raises ValueError if the frame has another size."""
        if frame.shape[:2] != (self.size.height, self.size.width):
            raise ValueError(f"a frame of {frame.shape[1]}x{frame.shape[0]} pixels, where the mark is for {self.size}")
        marked = frame.copy()
        # keep + add / 255 is at most 256, so that nothing leaves 16 bits
        marked[self._box] = (marked[self._box] * self._keep + self._add + np.uint16(128)) >> 8
        return marked


def _letters(text: Text, size: Size) -> Layer:
    """The mask of ``text``, 0 … 1, at the scale of ``size``."""
    packed = np.frombuffer((files("kf2v.video") / "marks" / _MASKS[text]).read_bytes(), np.uint8)
    mask = np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), dtype=np.float32) / 255
    height, width = mask.shape
    wanted = max(LEAST_HEIGHT, min(size.width, size.height) * HEIGHT)
    scale = min(wanted / height, size.height * MOST / height, size.width * MOST / width)
    shrunk = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(mask, shrunk, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _layers(letters: Layer) -> tuple[Layer, Layer]:
    """Opacities of the letters and of the dark edge around (not under) them, larger than ``letters`` by that edge."""
    edge = round(letters.shape[0] * EDGE)
    padded = np.pad(letters, edge)
    grown = cv2.dilate(padded, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (edge + 1, edge + 1)))
    soft = np.minimum(1.5 * cv2.GaussianBlur(grown, (0, 0), max(0.5, edge / 2.5)), 1)
    return padded * np.float32(WHITE), np.asarray(soft * (1 - padded) * BLACK, dtype=np.float32)

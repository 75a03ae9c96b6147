"""How the colours of a picture change on its way to another's: evenly, in a space that is even to the eye.

What is known of it is coarse: the colours each place and its wide surroundings have in both pictures. Half way between
blue and orange Oklab (Ottosson 2020, "A perceptual color space for image processing") has neither's brightness lost,
which a mean of coded values has; what that way adds to the coarse colour is added to every pixel there.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from kf2v.video.frames import Frame
from kf2v.video.motion.field import Field, sample

#: pixels of the analysis that share one value
CELL = 8
#: reach of the surroundings that share a light, as a part of the long side
REACH = 1 / 12
#: trust below which the light is not believed
DOUBT = 0.05
#: grey levels of the brightest channel, near where a picture has no more, and grey levels above the surroundings: from
#: the one to the other a place comes to be a light itself
GLARING, OUTSHINING = (230.0, 250.0), (30.0, 90.0)
#: linear sRGB to the responses of the eye's cones, and their cube roots to Oklab
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
OPPONENTS = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """The light of one picture as it becomes the other's, (rows, columns, 3) in Oklab, each value for a cell."""

    own: Field
    others: Field
    #: (rows, columns), 0 … 1: how much of it a place takes on; what glares is a light itself
    taken: Field

    def at(self, part: float) -> Field:
        """(rows, columns, 3): grey levels to add to red, green and blue when ``part`` of the way is done."""
        change = rgb(self.own + np.float32(part) * (self.others - self.own)) - rgb(self.own)
        return change * self.taken[..., None]


def light_of(near: Frame, far: Frame, there: Field, trust: Field, kinship: float) -> Light:
    """How ``near`` comes to be lit as ``far`` is at ``there`` (h, w, 2), as far as ``trust`` (h, w) tells.

    Between strangers, of little ``kinship``, all places tell, and what glares keeps its own light.
    """
    height, width = trust.shape
    size = (max(1, width // CELL), max(1, height // CELL))
    trust = trust + np.float32(1 - kinship)
    own = near.astype(np.float32)
    yours = sample(far, there).astype(np.float32)

    def gathered(load: Field) -> Field:
        small = cv2.resize(load, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(small, (0, 0), max(size) * REACH), np.float32)

    total = gathered(trust)[..., None]
    around = gathered(own * trust[..., None]) / np.maximum(total, 1e-6)
    lit = np.clip(around + gathered((yours - own) * trust[..., None]) / (total + DOUBT), 0, 255)
    here = np.asarray(cv2.resize(own, size, interpolation=cv2.INTER_AREA), np.float32)
    glare = _rise(here.max(axis=2), *GLARING) * _rise((here - around).mean(axis=2), *OUTSHINING)
    return Light(own=oklab(around), others=oklab(lit), taken=1 - np.float32(1 - kinship) * glare)


def oklab(colours: Field) -> Field:
    """(h, w, 3) of sRGB, 0 … 255, in Oklab."""
    coded = np.clip(colours / 255, 0, 1)
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return np.asarray(np.cbrt(linear @ CONES.T) @ OPPONENTS.T, np.float32)


def rgb(colours: Field) -> Field:
    """(h, w, 3) of Oklab as sRGB, 0 … 255; what is beyond its gamut is cut off."""
    cones = (colours @ np.linalg.inv(OPPONENTS).T) ** 3
    linear = np.clip(cones @ np.linalg.inv(CONES).T, 0, 1)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(255 * coded, np.float32)


def _rise(value: Field, start: float, end: float) -> Field:
    return np.clip((value - start) / (end - start), 0, 1)

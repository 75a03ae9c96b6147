"""Where pixels come down on their way, and what that tells: what is seen, and where each place is read.

Every pixel of a frame flies along its strand. Where the pixels of a frame land densely the frame is seen; where they
leave a gap something was hidden before or is hidden later, and the other frame has to answer.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from kf2v.video.motion.correspondence import Strand
from kf2v.video.motion.field import Field, resize, scattered
from kf2v.video.motion.path import Homography, project

#: weight of a pixel nobody trusts, against 1 for a sure one
DOUBT = 0.05
#: weight of what the other frame's pixels say about where to read this one
HEARSAY = 0.2
#: what is narrower than this is no gap
THREAD = np.ones((5, 5), np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """What one frame's pixels leave where they come down."""

    #: (h, w, 4), sums of trust, of trust and doubt (the weight), and of both components of drift times weight
    sums: Field

    @property
    def trusted(self) -> Field:
        """(h, w), sum of trust."""
        return self.sums[..., 0]

    @property
    def seen(self) -> Field:
        """(h, w): 1 where pixels land as densely as they should, 0 in the gaps that open behind moving things."""
        return (self.sums[..., 1] - self.sums[..., 0]) / DOUBT


class Swarm:
    """One frame's pixels in flight."""

    def __init__(self, strand: Strand) -> None:
        self._strand = strand
        weight = strand.trust + DOUBT
        carried = (strand.trust, weight, weight * strand.drift[..., 0], weight * strand.drift[..., 1])
        self._carried = [np.asarray(load, np.float64).ravel() for load in carried]

    def land(self, motion: Homography, position: float, *, zoom: float) -> Landing:
        """Every pixel falls into the cell it is in at ``position`` and is spread a little, more where they thin out."""
        at = project(motion, self._strand.anchor + position * self._strand.drift)
        landed = scattered(at, self._carried)
        spreading = 0.9 * max(1.0, zoom)
        side = 2 * round(2.5 * spreading) + 1
        return Landing(
            sums=np.asarray(cv2.GaussianBlur(landed * np.float32(zoom**2), (side, side), spreading), np.float32)
        )


def drift_of(own: Landing, other: Landing) -> Field:
    """Where a frame is read: at its own pixels' drift, unless the other's are much surer; gaps filled from around."""
    total = cv2.addWeighted(own.sums, 1.0, other.sums, HEARSAY, 0.0)
    height, width = total.shape[:2]
    small = cv2.resize(total, (-(-width // 8), -(-height // 8)), interpolation=cv2.INTER_AREA)
    small = np.asarray(cv2.GaussianBlur(small, (0, 0), 2.0), np.float32)
    around = resize(small[..., 2:] / (small[..., 1:2] + 1e-6), (height, width))
    weight = total[..., 1] + np.float32(1e-3)
    # One component after the other: numpy is slow along an axis of two.
    drift = np.empty_like(around)
    for axis in (0, 1):
        np.divide(total[..., 2 + axis] + np.float32(1e-3) * around[..., axis], weight, out=drift[..., axis])
    return drift


def visible(seen: Field, origin: Field, age: float, kinship: float = 1.0) -> Field:
    """0 … 1: there are pixels, and they come from inside the picture; the seam softens as the picture ages.

    The less ``kinship`` between strangers, the less that counts: they cannot answer for what the other does not show.
    """
    height, width = seen.shape
    x, y = origin[..., 0], origin[..., 1]
    margin = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
    soft = np.float32(1 + age * 0.04 * max(height, width))
    # What grows thins out line by line: lines that nothing lands on are no gap, and would show as rings if they were.
    dense = np.asarray(cv2.morphologyEx(seen, cv2.MORPH_CLOSE, THREAD), np.float32)
    return np.maximum(
        np.clip(3 * dense - 1.35, 0, 1) * np.clip((margin + 1) / soft, 0, 1), np.float32(1 - kinship)
    ) + np.float32(3e-4)


def zoom_of(motion: Homography, here: Field) -> float:
    """How much larger ``motion`` makes things, at the middle of the picture."""
    height, width = here.shape[:2]
    depth = float(motion[2] @ np.array([width / 2, height / 2, 1.0]))
    return float(np.sqrt(np.linalg.det(motion) / abs(depth) ** 3))

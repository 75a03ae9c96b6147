"""Points that look alike, and the one projective motion they share; none rather than a doubtful one."""

import cv2
import numpy as np

from kf2v.engines.morph.field import Field
from kf2v.engines.morph.path import Homography
from kf2v.video import Frame

#: pixels a point may miss its place by
TOLERANCE = 3.0
#: fewer agreeing points than this say nothing
FEWEST = 15


def landmarks(one: Frame, other: Frame) -> tuple[Field, Field]:
    """Points (n, 2) of ``one`` and the points of ``other`` that look alike: SIFT (Lowe 2004), each the other's best."""
    finder = cv2.SIFT.create(3000, contrastThreshold=0.02)
    points, marks = finder.detectAndCompute(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), None)
    others, other_marks = finder.detectAndCompute(cv2.cvtColor(other, cv2.COLOR_RGB2GRAY), None)
    if len(points) < 2 or len(others) < 2:
        return np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)
    # Lowe's ratio test: a match counts when the second best is clearly worse.
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(marks, other_marks, k=2)
    good = [best for best, second in pairs if best.distance < 0.8 * second.distance]
    back = {match.queryIdx: match.trainIdx for match in cv2.BFMatcher(cv2.NORM_L2).match(other_marks, marks)}
    mutual = [match for match in good if back.get(match.trainIdx) == match.queryIdx]
    return (
        np.array([points[match.queryIdx].pt for match in mutual], np.float32).reshape(-1, 2),
        np.array([others[match.trainIdx].pt for match in mutual], np.float32).reshape(-1, 2),
    )


def fit(points: Field, targets: Field, shape: tuple[int, int], *, share: float) -> Homography | None:
    """The homography that takes ``points`` (n, 2) to ``targets`` for at least ``share`` of them (MAGSAC++)."""
    if len(points) < FEWEST:
        return None
    found, agreeing = cv2.findHomography(
        points, targets, cv2.USAC_MAGSAC, ransacReprojThreshold=TOLERANCE, maxIters=3000, confidence=0.999
    )
    motion = np.asarray(found, np.float64)  # nan where OpenCV found nothing and said None
    if motion.shape != (3, 3) or not np.isfinite(motion).all():
        return None
    count = int(agreeing.sum())
    if count < max(FEWEST, share * len(points)) or not is_sane(motion, shape):
        return None
    return motion


def is_sane(motion: Homography, shape: tuple[int, int]) -> bool:
    """Whether a camera could have done it: no mirror, no fold, no zoom beyond 6, no horizon inside the picture."""
    height, width = shape
    corners = np.array([(x, y, 1.0) for x in (0, width / 2, width) for y in (0, height / 2, height)])
    for matrix in (motion, np.linalg.inv(motion)):
        depth = corners @ (matrix[2] / matrix[2, 2])
        if depth.min() < 0.3 or depth.max() > 3.0:
            return False
    # The area of a small square around each point changes by det / depth³.
    unit = motion / motion[2, 2]
    zoom = np.sqrt(np.maximum(np.linalg.det(unit), 0) / (corners @ unit[2]) ** 3)
    return bool(zoom.min() > 1 / 6 and zoom.max() < 6)

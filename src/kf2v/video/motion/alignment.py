"""Points that look alike, and the one projective motion they share; none rather than a doubtful one."""

import math
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from kf2v.video.frames import Frame
from kf2v.video.motion.field import Field
from kf2v.video.motion.path import Homography, project
from kf2v.video.motion.threads import both

#: (h, w) uint8
Grey: TypeAlias = npt.NDArray[np.uint8]

#: places (n, 2) in one frame, and where each seems to be in the other
Pairs: TypeAlias = tuple[Field, Field]

#: pixels a point may miss its place by
TOLERANCE = 3.0
#: pixels between neighbours, and the diameter described, on the grid
GRID_STEP, GRID_SIZE = 6, 4.0
#: nodes compared at once with all others
AT_ONCE = 1024
#: fewer agreeing points than this say nothing
FEWEST = 15
#: the same for a rough agreement, and the pixels it may miss by
FEW, ROUGHLY = 7, 16.0
#: no rough agreement is believed that zooms more (either way), or turns by more radians
LEAST_ZOOM, MOST_TURN = 0.4, math.pi / 3


def landmarks(one: Frame, other: Frame) -> tuple[Pairs, Pairs]:
    """Points that look alike, outliers among them: at corners, and on a grid.

    At corners SIFT (Lowe 2004) finds them at any size and turn; on the grid the same descriptor, upright, says
    something about soft things too, and more often something wrong.
    """
    mine, yours = (np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in (one, other))
    return both(lambda: _corner_pairs(mine, yours), lambda: _grid_pairs(mine, yours))


def _corner_pairs(one: Grey, other: Grey) -> Pairs:
    finder = cv2.SIFT.create(3000, contrastThreshold=0.02)
    points, marks = finder.detectAndCompute(one, None)
    others, other_marks = finder.detectAndCompute(other, None)
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


def _grid_pairs(one: Grey, other: Grey) -> Pairs:
    height, width = one.shape
    nodes = [
        cv2.KeyPoint(float(x), float(y), GRID_SIZE, 0.0)
        for y in range(GRID_STEP // 2, height, GRID_STEP)
        for x in range(GRID_STEP // 2, width, GRID_STEP)
    ]
    places = np.array([node.pt for node in nodes], np.float32)
    finder = cv2.SIFT.create()
    marks = [np.asarray(finder.compute(picture, nodes)[1], np.float32) for picture in (one, other)]
    # Hellinger's kernel (Arandjelović and Zisserman 2012): one strong edge must not drown the rest.
    roots = [np.sqrt(mark / np.maximum(mark.sum(axis=1, keepdims=True), 1e-6)) for mark in marks]
    # Two products cost less than finding the largest down the columns of one, and many nodes share their likest.
    there = _likest(roots[0], roots[1])
    chosen, choice = np.unique(there, return_inverse=True)
    back = _likest(roots[1][chosen], roots[0])[choice]
    mutual = np.linalg.norm(places[back] - places, axis=1) < 1.5 * GRID_STEP
    return places[mutual], places[there[mutual]]


def _likest(marks: Field, others: Field) -> npt.NDArray[np.intp]:
    """(n): which of ``others`` is most like each of ``marks``; some at a time, for a square has 10 000 of either."""
    starts = range(0, len(marks), AT_ONCE)
    return np.concatenate([(marks[start : start + AT_ONCE] @ others.T).argmax(axis=1) for start in starts])


def in_company(points: Field, targets: Field) -> npt.NDArray[np.bool_]:
    """Which matches (n) move as at least half of their eight nearest neighbours do."""
    if len(points) < 9:
        return np.zeros(len(points), bool)
    known = cv2.BFMatcher(cv2.NORM_L2).knnMatch(points, points, k=9)
    near = np.array([[match.trainIdx for match in matches[1:]] for matches in known])
    apart = np.linalg.norm(points[near] - points[:, None], axis=2)
    moves = targets - points
    off = np.linalg.norm(moves[near] - moves[:, None], axis=2)
    return (off < 3 + 0.25 * apart).sum(axis=1) >= 4


def planes(points: Field, targets: Field, shape: tuple[int, int], *, most: int = 3) -> list[Homography]:
    """The motions of the scene's planes, largest first: each fitted to the points that none before it explains."""
    found: list[Homography] = []
    share = 0.2
    while len(found) < most:
        motion = fit(points, targets, shape, share=share)
        if motion is None:
            break
        found.append(motion)
        left = np.linalg.norm(project(motion, points) - targets, axis=1) > 2 * TOLERANCE
        points, targets = points[left], targets[left]
        share = 0.1
    return found


def rough(points: Field, targets: Field) -> Homography | None:
    """The turn, zoom and shift that ``ROUGHLY`` takes at least ``FEW`` points to their targets, if there is one.

    What is near in a deep scene moves otherwise than what is far, and no plane explains both; but half of a dozen
    points that agree even so loosely do not come together by chance.
    """
    if len(points) < FEW:
        return None
    found, agreeing = cv2.estimateAffinePartial2D(
        points, targets, method=cv2.RANSAC, ransacReprojThreshold=ROUGHLY, maxIters=5000, confidence=0.999
    )
    upper = np.asarray(found, np.float64)  # nan where OpenCV found nothing and said None
    if upper.shape != (2, 3) or not np.isfinite(upper).all() or int(agreeing.sum()) < FEW:
        return None
    motion = np.vstack([upper, (0.0, 0.0, 1.0)])
    return motion if is_moderate(motion) else None


def is_moderate(motion: Homography) -> bool:
    """Whether it zooms and turns no more than may be believed on little evidence."""
    across, up = motion[0, 0] / motion[2, 2], motion[1, 0] / motion[2, 2]
    return LEAST_ZOOM < math.hypot(across, up) < 1 / LEAST_ZOOM and abs(math.atan2(up, across)) < MOST_TURN


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

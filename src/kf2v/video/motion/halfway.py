"""Shapes moved into shapes where nothing is the same: a smooth field on the grid halfway between two pictures.

After Liao et al. 2014, "Automating image morphing using structural similarity on a halfway domain": a displacement v
at the halfway point x says that x - v/2 in one picture becomes x + v/2 in the other. Neither picture comes first, so
the field of the pair turned round is the field turned round. What is compared is where edges run and what colour
things have, over wide surroundings; what is found is coupled to a smooth field more and more tightly.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from kf2v.video.frames import Frame
from kf2v.video.motion.field import Field, grid, resize, sample
from kf2v.video.motion.matching import Match
from kf2v.video.motion.path import Homography, project

#: pixels between nodes of the halfway grid
STEP = 8
#: nodes; the farthest displacement looked at
REACH = 8
#: pixels; sides of the cells that edges are counted in
CELLS = (12, 28)
#: of a feature, that are compared
DIMENSIONS = 32
#: weight of a difference in colour, against one in structure
COLOUR = 0.25
#: how tightly the search is coupled to the smooth field, per squared node, round by round
COUPLING = (0.002, 0.004, 0.008, 0.016, 0.03, 0.06)
#: cost differences that count as clear
TEMPERATURE = 0.03
#: of its side that a small square may be stretched or sheared by: beyond, it looks like rubber, and soon it folds
BEND = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Halfway:
    """Flows (h, w, 2) from each picture to the other, each the other's inverse."""

    forward: Field
    backward: Field


def morph(one: Frame, other: Frame, motion: Homography, match: Match) -> Halfway:
    """The field that brings shapes of ``one`` to shapes of ``other``, beyond ``motion``, the way of the whole."""
    height, width = one.shape[:2]
    here = grid(height, width)
    aligned = np.asarray(sample(other, project(motion, here), border=cv2.BORDER_REFLECT_101), np.uint8)
    mine, yours = _condensed(_features(one), _features(aligned))
    anchors = _anchors(match, motion, (mine.shape[0] // 2, mine.shape[1] // 2))
    field = _untangled(_search(mine, yours, *anchors))
    stretch = np.array([width / field.shape[1], height / field.shape[0]], np.float32)
    wide = resize(field * stretch, (height, width))
    there = _from_end(wide, here, -0.5)
    back_at = project(np.linalg.inv(motion), here)
    back = _from_end(wide, back_at, 0.5)
    return Halfway(
        forward=project(motion, here + there) - here,
        backward=back_at - back - here,
    )


def _anchors(match: Match, motion: Homography, shape: tuple[int, int]) -> tuple[Field, Field]:
    """What is matched already, on the halfway grid: displacements (rows, columns, 2) in nodes, trust (rows, columns)."""
    height, width = match.forward_trust.shape
    here = grid(height, width)
    back = np.linalg.inv(motion)
    scale = np.array([shape[1] / width, shape[0] / height], np.float32)
    total = np.zeros((*shape, 3), np.float64)
    ahead = project(back, here + match.forward) - here
    origin = here + match.backward
    behind = project(back, here) - origin
    for start, way, trust in ((here, ahead, match.forward_trust), (origin, behind, match.backward_trust)):
        at = ((start + way / 2 + 0.5) * scale).astype(int)
        x, y = at[..., 0], at[..., 1]
        inside = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0]) & (trust > 0.5)
        cell = (y * shape[1] + x)[inside]
        for layer, load in enumerate((way[..., 0] * scale[0], way[..., 1] * scale[1], np.ones_like(trust))):
            total[..., layer] += np.bincount(cell, load[inside], minlength=shape[0] * shape[1]).reshape(shape)
    count = total[..., 2]
    return (total[..., :2] / np.maximum(count, 1)[..., None]).astype(np.float32), np.clip(
        count * scale[0] * scale[1] / 2, 0, 1
    ).astype(np.float32)


def _features(picture: Frame) -> Field:
    """(2·rows, 2·columns, n): orientation of edges around each half node in cells of two sizes, and colour."""
    height, width = picture.shape[:2]
    rows, columns = max(4, round(height / STEP)), max(4, round(width / STEP))
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    light = cv2.GaussianBlur(lab[..., 0], (0, 0), 1.5)
    across, down = cv2.Sobel(light, -1, 1, 0), cv2.Sobel(light, -1, 0, 1)
    strength = np.hypot(across, down)
    local = cv2.GaussianBlur(strength, (0, 0), 24) + 4
    strength = np.sqrt(strength / local)
    turn = np.mod(np.arctan2(down, across), np.pi) * (6 / np.pi)
    bins = [np.maximum(0, 1 - np.abs((turn - k + 3) % 6 - 3)) * strength for k in range(6)]
    layers: list[Field] = []
    for cell in CELLS:
        cells = [
            cv2.resize(cv2.blur(b, (cell, cell)), (2 * columns, 2 * rows), interpolation=cv2.INTER_AREA) for b in bins
        ]
        shift = max(1, round(cell / (STEP / 2)))
        block: list[Field] = []
        for dy in (-shift, 0, shift):
            for dx in (-shift, 0, shift):
                block += [_moved(c, dx, dy) for c in cells]
        stacked = np.stack(block, axis=2)
        layers.append(stacked / (np.linalg.norm(stacked, axis=2, keepdims=True) + 0.15))
    tint = cv2.resize(cv2.blur(lab, (STEP, STEP)), (2 * columns, 2 * rows), interpolation=cv2.INTER_AREA)
    tint = (tint - tint.mean(axis=(0, 1))) / (tint.std(axis=(0, 1)) + 6)
    return np.concatenate([*layers, COLOUR * tint], axis=2).astype(np.float32)


def _condensed(mine: Field, yours: Field) -> tuple[Field, Field]:
    """The same features in the ``DIMENSIONS`` in which they differ most (principal components, without the mean)."""
    every = np.concatenate([mine.reshape(-1, mine.shape[2]), yours.reshape(-1, yours.shape[2])])
    every = every - every.mean(axis=0)
    _, axes = np.linalg.eigh(every.T @ every)
    kept = axes[:, -DIMENSIONS:].astype(np.float32)
    return mine @ kept, yours @ kept


def _moved(layer: Field, dx: int, dy: int) -> Field:
    rows, columns = layer.shape
    y = np.clip(np.arange(rows) + dy, 0, rows - 1)
    x = np.clip(np.arange(columns) + dx, 0, columns - 1)
    return layer[y][:, x]


def _search(mine: Field, yours: Field, known: Field, sure_known: Field) -> Field:
    """(rows, columns, 2), nodes: displacement at the halfway grid."""
    rows, columns = mine.shape[0] // 2, mine.shape[1] // 2
    pad = ((REACH, REACH), (REACH, REACH), (0, 0))
    mine, yours = np.pad(mine, pad, mode="edge"), np.pad(yours, pad, mode="edge")
    moves = np.array([(x, y) for y in range(-REACH, REACH + 1) for x in range(-REACH, REACH + 1)], np.float32)
    cost = np.empty((len(moves), rows, columns), np.float32)
    for k, (x, y) in enumerate(moves.astype(int)):
        a = mine[REACH - y : REACH - y + 2 * rows : 2, REACH - x : REACH - x + 2 * columns : 2]
        b = yours[REACH + y : REACH + y + 2 * rows : 2, REACH + x : REACH + x + 2 * columns : 2]
        d = a - b
        cost[k] = np.einsum("ijk,ijk->ij", d, d)
    cost = cost.reshape(len(moves), -1) / len(CELLS)
    cost -= cost.min(axis=0)
    off = ((moves[:, None, :] - known.reshape(-1, 2)[None]) ** 2).sum(axis=2)
    cost = cost * (1 - sure_known.ravel()) + sure_known.ravel() * np.minimum(off, 25) * 0.2
    smooth = np.zeros((rows, columns, 2), np.float32)
    for tightness in COUPLING:
        flat = smooth.reshape(-1, 2)
        apart = ((moves[:, None, :] - flat[None]) ** 2).sum(axis=2)
        energy = cost + tightness * apart
        energy -= energy.min(axis=0)
        weight = np.exp(-energy / TEMPERATURE)
        total = weight.sum(axis=0)
        found = (weight.T @ moves) / total[:, None]
        sure = 1 / total
        smooth = _smoothed(
            found.reshape(rows, columns, 2), sure.reshape(rows, columns), 4.0 if tightness < 0.02 else 3.0
        )
    return smooth


def _smoothed(found: Field, sure: Field, reach: float) -> Field:
    carried = np.dstack([found * sure[..., None], sure]).astype(np.float32)
    carried = np.asarray(cv2.GaussianBlur(carried, (0, 0), reach, borderType=cv2.BORDER_REPLICATE), np.float32)
    return carried[..., :2] / (carried[..., 2:] + 1e-6)


def _untangled(field: Field) -> Field:
    """``field`` (nodes) smoothed where it bends what it moves by more than ``BEND``, until it nowhere does."""
    for _ in range(60):
        too_much = _bend(field) > BEND
        if not too_much.any():
            break
        near = cv2.GaussianBlur(cv2.dilate(too_much.astype(np.float32), np.ones((5, 5), np.uint8)), (0, 0), 1.5)
        softer = cv2.GaussianBlur(field, (0, 0), 1.5, borderType=cv2.BORDER_REPLICATE)
        field = np.asarray(field + np.clip(near, 0, 1)[..., None] * (softer - field), np.float32)
    return field


def _bend(field: Field) -> Field:
    """(rows, columns): the largest stretch, squeeze or shear of a small square, as a share of its side."""
    xx, xy = np.gradient(field[..., 0], axis=1), np.gradient(field[..., 0], axis=0)
    yx, yy = np.gradient(field[..., 1], axis=1), np.gradient(field[..., 1], axis=0)
    return np.sqrt(np.maximum(xx * xx + yx * yx, xy * xy + yy * yy))


def _from_end(field: Field, at: Field, side: float) -> Field:
    """The displacement of the halfway point that ends at ``at`` on one side: x + side·v(x) = at, by iteration."""
    v = sample(field, at)
    for _ in range(8):
        v = sample(field, at - side * v)
    return v

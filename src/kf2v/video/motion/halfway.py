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
from kf2v.video.motion.threads import both

#: pixels between nodes of the halfway grid
STEP = 8
#: nodes; the farthest displacement looked at
REACH = 8
#: directions an edge can run in
DIRECTIONS = 6
#: pixels; sides of the cells that edges are counted in
CELLS = (12, 28)
#: length of a description below which there is little to describe
FAINT = 0.15
#: of a feature, that are compared
DIMENSIONS = 32
#: weight of a difference in colour, against one in structure
COLOUR = 0.25
#: what a node off its anchor costs, squared, and the squared nodes from which on it costs no more
ASTRAY, FARTHEST_ASTRAY = 0.2, 25
#: how tightly the search is coupled to the smooth field, per squared node, and how many nodes wide that is smoothed
COUPLING = ((0.002, 4.0), (0.004, 4.0), (0.008, 4.0), (0.016, 4.0), (0.03, 3.0), (0.06, 3.0))
#: cost differences that count as clear
TEMPERATURE = 0.03
#: of its side that a small square may be stretched or sheared by: beyond, it looks like rubber, and soon it folds
BEND = 0.3
#: rounds of smoothing that a bend is given to straighten
PATIENCE = 60
#: rounds in which a place at one end finds its halfway point; each at least halves the error, thanks to ``BEND``
ROUNDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Halfway:
    """Flows (h, w, 2) from each picture to the other, each the other's inverse."""

    forward: Field
    backward: Field


@dataclass(frozen=True, slots=True, kw_only=True)
class _Anchors:
    """What is matched already, on the halfway grid."""

    #: (rows, columns, 2), nodes
    moves: Field
    #: (rows, columns), 0 … 1
    trust: Field


def morph(one: Frame, other: Frame, motion: Homography, match: Match) -> Halfway:
    """The field that brings shapes of ``one`` to shapes of ``other``, beyond ``motion``, the way of the whole."""
    height, width = one.shape[:2]
    here = grid(height, width)
    aligned = np.asarray(sample(other, project(motion, here), border=cv2.BORDER_REFLECT_101), np.uint8)
    nodes = (max(4, round(height / STEP)), max(4, round(width / STEP)))
    mine, yours = _condensed(*both(lambda: _features(one, nodes), lambda: _features(aligned, nodes)))
    field = _untangled(_coupled(_costs(mine, yours), _anchors(match, motion, nodes)))
    wide = resize(field * np.array([width / nodes[1], height / nodes[0]], np.float32), (height, width))
    ahead = _from_end(wide, here, -0.5)
    unmoved = project(np.linalg.inv(motion), here)
    behind = _from_end(wide, unmoved, 0.5)
    return Halfway(forward=project(motion, here + ahead) - here, backward=unmoved - behind - here)


def _anchors(match: Match, motion: Homography, nodes: tuple[int, int]) -> _Anchors:
    """Every trusted vector counts for the cell its middle falls into; a cell half full of them is sure."""
    height, width = match.forward_trust.shape
    rows, columns = nodes
    here = grid(height, width)
    back = np.linalg.inv(motion)
    origin = here + match.backward
    flights = (
        (here, project(back, here + match.forward) - here, match.forward_trust),
        (origin, project(back, here) - origin, match.backward_trust),
    )
    scale = np.array([columns / width, rows / height], np.float32)
    total = np.zeros((rows, columns, 3), np.float64)
    for start, way, trust in flights:
        at = ((start + way / 2 + 0.5) * scale).astype(int)
        x, y = at[..., 0], at[..., 1]
        counted = (x >= 0) & (x < columns) & (y >= 0) & (y < rows) & (trust > 0.5)
        cell = (y * columns + x)[counted]
        for layer, load in enumerate((way[..., 0] * scale[0], way[..., 1] * scale[1], np.ones_like(trust))):
            total[..., layer] += np.bincount(cell, load[counted], minlength=rows * columns).reshape(nodes)
    count = total[..., 2]
    return _Anchors(
        moves=(total[..., :2] / np.maximum(count, 1)[..., None]).astype(np.float32),
        trust=np.clip(count * scale[0] * scale[1] / 2, 0, 1).astype(np.float32),
    )


def _features(picture: Frame, nodes: tuple[int, int]) -> Field:
    """(2·rows, 2·columns, n): how edges run in cells of two sizes around each half node, and colour."""
    half_nodes = (2 * nodes[0], 2 * nodes[1])
    lab = np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
    edges = _edges(lab[..., 0])
    tint = _pooled(lab, STEP, half_nodes)
    tint = (tint - tint.mean(axis=(0, 1))) / (tint.std(axis=(0, 1)) + 6)
    structure = [_described(edges, cell, half_nodes) for cell in CELLS]
    return np.concatenate([*structure, COLOUR * tint], axis=2).astype(np.float32)


def _edges(light: Field) -> list[Field]:
    """``DIRECTIONS`` times (h, w): how strong edges in a direction are, against what is strong around there."""
    soft = cv2.GaussianBlur(light, (0, 0), 1.5)
    across = np.asarray(cv2.Sobel(soft, -1, 1, 0), np.float32)
    down = np.asarray(cv2.Sobel(soft, -1, 0, 1), np.float32)
    strength = np.hypot(across, down)
    around = np.asarray(cv2.GaussianBlur(strength, (0, 0), 24), np.float32) + 4
    strength = np.sqrt(strength / around)
    turn = np.mod(np.arctan2(down, across), np.pi) * (DIRECTIONS / np.pi)
    opposite = DIRECTIONS / 2
    return [
        np.maximum(0, 1 - np.abs((turn - k + opposite) % DIRECTIONS - opposite)) * strength for k in range(DIRECTIONS)
    ]


def _described(edges: list[Field], cell: int, half_nodes: tuple[int, int]) -> Field:
    """(2·rows, 2·columns, n) of length about 1: edges counted in 3 × 3 cells around each half node."""
    counted = [_pooled(layer, cell, half_nodes) for layer in edges]
    apart = max(1, round(cell / (STEP / 2)))
    ways = (-apart, 0, apart)
    every = np.stack([_moved(layer, dx, dy) for dy in ways for dx in ways for layer in counted], axis=2)
    return every / (np.linalg.norm(every, axis=2, keepdims=True) + FAINT)


def _pooled(picture: Field, cell: int, half_nodes: tuple[int, int]) -> Field:
    """The mean of ``picture`` in the cell around each half node."""
    size = (half_nodes[1], half_nodes[0])
    return np.asarray(cv2.resize(cv2.blur(picture, (cell, cell)), size, interpolation=cv2.INTER_AREA), np.float32)


def _moved(layer: Field, dx: int, dy: int) -> Field:
    """What lies ``dx`` and ``dy`` further; beyond the edge what lies on it."""
    rows, columns = layer.shape
    y = np.asarray(np.arange(dy, rows + dy).clip(0, rows - 1), np.intp)
    x = np.asarray(np.arange(dx, columns + dx).clip(0, columns - 1), np.intp)
    return layer[y][:, x]


def _condensed(mine: Field, yours: Field) -> tuple[Field, Field]:
    """The same features in the ``DIMENSIONS`` in which they differ most (principal components, without the mean)."""
    every = np.concatenate([mine.reshape(-1, mine.shape[2]), yours.reshape(-1, yours.shape[2])])
    every = every - every.mean(axis=0)
    _, axes = np.linalg.eigh(every.T @ every)
    kept = axes[:, -DIMENSIONS:].astype(np.float32)
    return mine @ kept, yours @ kept


def _moves() -> Field:
    """(n, 2), nodes: every displacement that is looked at."""
    reach = range(-REACH, REACH + 1)
    return np.array([(x, y) for y in reach for x in reach], np.float32)


def _costs(mine: Field, yours: Field) -> Field:
    """(n, rows, columns): how unlike the pictures are half of each move before and behind each node, 0 at best."""
    rows, columns = mine.shape[0] // 2, mine.shape[1] // 2
    pad = ((REACH, REACH), (REACH, REACH), (0, 0))
    mine, yours = np.pad(mine, pad, mode="edge"), np.pad(yours, pad, mode="edge")
    moves = _moves().astype(int)
    cost = np.empty((len(moves), rows, columns), np.float32)
    for k, (x, y) in enumerate(moves):
        # A whole node is two half nodes: half a move of x nodes is x half nodes.
        before = mine[REACH - y : REACH - y + 2 * rows : 2, REACH - x : REACH - x + 2 * columns : 2]
        behind = yours[REACH + y : REACH + y + 2 * rows : 2, REACH + x : REACH + x + 2 * columns : 2]
        unlike = before - behind
        cost[k] = np.einsum("ijk,ijk->ij", unlike, unlike)
    cost /= len(CELLS)
    return cost - cost.min(axis=0)


def _coupled(cost: Field, anchors: _Anchors) -> Field:
    """(rows, columns, 2), nodes: what costs little, is smooth, and keeps to the anchors.

    Every node takes the mean of all moves, each weighed by its cost and its distance to the smooth field; the smooth
    field is made of these means, each weighed by how few moves it is a mean of. Then the same again, held closer.
    """
    rows, columns = anchors.trust.shape
    moves = _moves()
    anchored = anchors.trust.ravel()
    astray = np.minimum(_apart(moves, anchors.moves), FARTHEST_ASTRAY)
    cost = cost.reshape(len(moves), -1) * (1 - anchored) + anchored * astray * ASTRAY
    smooth = np.zeros((rows, columns, 2), np.float32)
    for tightness, width in COUPLING:
        energy = cost + tightness * _apart(moves, smooth)
        energy -= energy.min(axis=0)
        weight = np.exp(-energy / TEMPERATURE)
        total = weight.sum(axis=0)
        found = (weight.T @ moves) / total[:, None]
        smooth = _smoothed(found.reshape(rows, columns, 2), (1 / total).reshape(rows, columns), width)
    return smooth


def _apart(moves: Field, field: Field) -> Field:
    """(n, rows·columns): squared distance of each of ``moves`` (n, 2) to the field (rows, columns, 2) at each node."""
    x, y = (moves[:, None, axis] - field[..., axis].reshape(1, -1) for axis in (0, 1))
    return x * x + y * y


def _smoothed(found: Field, sure: Field, width: float) -> Field:
    carried = np.dstack([found * sure[..., None], sure]).astype(np.float32)
    carried = np.asarray(cv2.GaussianBlur(carried, (0, 0), width, borderType=cv2.BORDER_REPLICATE), np.float32)
    return carried[..., :2] / (carried[..., 2:] + 1e-6)


def _untangled(field: Field) -> Field:
    """``field`` (nodes) smoothed where it bends what it moves by more than ``BEND``, until it nowhere does."""
    for _ in range(PATIENCE):
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
    for _ in range(ROUNDS):
        v = sample(field, at - side * v)
    return v

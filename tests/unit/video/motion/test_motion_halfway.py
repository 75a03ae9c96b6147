"""Shapes moved into shapes, where no texture matches."""

import cv2
import numpy as np
import pytest

from kf2v.video import Frame
from kf2v.video.motion.field import Field, grid, sample
from kf2v.video.motion.halfway import BEND, STEP, Halfway, morph
from kf2v.video.motion.matching import Match
from stage import SIZE, texture, zoom_and_turn

HERE = grid(*SIZE)
STILL = np.eye(3)
#: what both pictures show of a subject: half way into the ground's grey
SUBJECT = 150


def ellipse(x: int, y: int, width: int, height: int) -> Frame:
    """Bright, on plain ground."""
    picture = np.full((*SIZE, 3), 70, np.uint8)
    return np.asarray(
        cv2.ellipse(picture, (x, y), (width, height), 0, 0, 360, (230, 200, 150), -1, cv2.LINE_AA), np.uint8
    )


FIRST, LAST = ellipse(140, 96, 30, 40), ellipse(176, 90, 45, 32)


def matched(flow: tuple[float, float], top: int, left: int, height: int, width: int) -> Match:
    """Nothing is, but a rectangle of the first picture by ``flow`` (x, y)."""
    forward = np.broadcast_to(np.float32(flow), (*SIZE, 2)).copy()
    trust, other_trust = np.zeros((2, *SIZE), np.float32)
    trust[top : top + height, left : left + width] = 1
    x, y = (int(step) for step in flow)
    other_trust[top + y : top + y + height, left + x : left + x + width] = 1
    return Match(forward=forward, backward=-forward, forward_trust=trust, backward_trust=other_trust)


NOTHING = matched((0, 0), 0, 0, 0, 0)


@pytest.fixture(scope="module")
def halfway() -> Halfway:
    return morph(FIRST, LAST, STILL, NOTHING)


def overlap(one: Field, other: Field) -> float:
    """The share that both subjects cover of what either covers."""
    mine, yours = one[..., 0] > SUBJECT, other[..., 0] > SUBJECT
    return float((mine & yours).sum() / (mine | yours).sum())


def slopes(flow: Field) -> tuple[Field, Field, Field, Field]:
    """How x and y of a flow change with x and y: (xx, xy, yx, yy)."""
    xy, xx = np.gradient(flow[..., 0])
    yy, yx = np.gradient(flow[..., 1])
    return xx, xy, yx, yy


def test_a_subject_moves_onto_a_subject_of_another_shape(halfway: Halfway) -> None:
    assert overlap(FIRST, LAST) < 0.3
    assert overlap(sample(FIRST, HERE + halfway.backward), LAST) > 0.8
    assert overlap(sample(LAST, HERE + halfway.forward), FIRST) > 0.8


def test_each_flow_leads_back_along_the_other(halfway: Halfway) -> None:
    there = HERE + halfway.forward
    back = np.linalg.norm(halfway.forward + sample(halfway.backward, there), axis=2)
    x, y = there[..., 0], there[..., 1]
    inside = (x > 0) & (y > 0) & (x < SIZE[1] - 1) & (y < SIZE[0] - 1)
    assert back[inside].max() < 0.05


def test_a_pair_turned_round_gives_the_flows_turned_round(halfway: Halfway) -> None:
    turned = morph(LAST, FIRST, STILL, NOTHING)
    assert np.abs(turned.forward - halfway.backward).max() < 0.05
    assert np.abs(turned.backward - halfway.forward).max() < 0.05


@pytest.mark.parametrize(
    ("one", "other"), [(FIRST, LAST), (texture(1), texture(2)), (texture(3), FIRST)], ids=["subjects", "noise", "mixed"]
)
def test_nothing_folds_and_nothing_is_bent_like_rubber(one: Frame, other: Frame) -> None:
    flow = morph(one, other, STILL, NOTHING).forward
    xx, xy, yx, yy = slopes(flow)
    assert ((1 + xx) * (1 + yy) - xy * yx).min() > 0.25
    # A bend of b halfway is one of b / (1 - b/2) seen from an end; interpolating nodes adds a little.
    most = 1.1 * BEND / (1 - BEND / 2)
    assert max(np.hypot(xx, yx).max(), np.hypot(xy, yy).max()) < most


def test_a_picture_becomes_itself_without_moving() -> None:
    flow = morph(FIRST, FIRST, STILL, NOTHING).forward
    assert np.abs(flow).max() < 0.01


def test_what_is_matched_keeps_near_its_match() -> None:
    flow = (24.0, 0.0)
    middle = np.s_[78:112, 118:142]
    anchored = morph(texture(1), texture(2), STILL, matched(flow, 60, 100, 70, 60))
    free = morph(texture(1), texture(2), STILL, NOTHING)
    astray, before = (np.linalg.norm(found.forward - flow, axis=2)[middle] for found in (anchored, free))
    assert np.median(astray) < STEP
    assert np.median(before) > 2 * STEP


def test_flows_are_found_beyond_the_motion_of_the_whole() -> None:
    motion = zoom_and_turn(1, 0, 36, -6)
    found = morph(FIRST, ellipse(176, 90, 30, 40), motion, NOTHING)
    assert np.abs(found.forward - [36, -6])[FIRST[..., 0] > SUBJECT].max() < 1

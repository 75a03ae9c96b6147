"""Forbidden pictures are known again after what happens to pictures on their way, and others are not taken for them."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from kf2v.moderation import Exhibit
from kf2v.moderation.lists import DISTANCE, PICTURES, Lists
from kf2v.moderation.lists.kept import BrokenLine
from kf2v.moderation.lists.pictures import hash_of, parse, says_enough
from kf2v.video import Frame
from stage import flat, texture

FRAME = Exhibit(side="input", part="first_frame")
WORLD = texture(1, (480, 832))


def sent_as(picture: Frame, *, size: tuple[int, int] = (832, 480), quality: int = 90, light: float = 1.0) -> Frame:
    file = BytesIO()
    image = ImageEnhance.Brightness(Image.fromarray(picture).resize(size)).enhance(light)
    image.save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def apart(one: Frame, other: Frame) -> int:
    return (hash_of(one) ^ hash_of(other)).bit_count()


@pytest.mark.parametrize(
    "changed",
    [
        sent_as(WORLD),
        sent_as(WORLD, quality=10),
        sent_as(WORLD, size=(416, 240)),
        sent_as(WORLD, size=(640, 640)),
        sent_as(WORLD, light=1.2),
        WORLD[10:-10, 16:-16],
    ],
    ids=["re-encoded", "badly re-encoded", "halved", "squeezed", "brighter", "cropped by 2 %"],
)
def test_the_same_picture_is_near(changed: Frame) -> None:
    assert apart(WORLD, changed) <= DISTANCE


@pytest.mark.parametrize("seed", range(2, 12))
def test_another_picture_is_far(seed: int) -> None:
    assert apart(WORLD, texture(seed, (480, 832))) > DISTANCE


def test_a_listed_picture_is_refused_with_its_label(tmp_path: Path) -> None:
    other = texture(2, (480, 832))
    (tmp_path / PICTURES).write_text(f"{hash_of(WORLD):016x} the world\nip: {hash_of(other):016X}\n")
    lists = Lists(tmp_path)
    said = lists.look(sent_as(WORLD), FRAME, lambda: None)
    assert said is not None
    assert said.ground == "inappropriate"
    assert said.reason.startswith("line 1 of pictures.txt (the world), ")
    said = lists.look(other, FRAME, lambda: None)
    assert said is not None
    assert said.ground == "ip"
    assert lists.look(texture(3, (480, 832)), FRAME, lambda: None) is None


def test_the_distance_is_the_owners(tmp_path: Path) -> None:
    changed = WORLD[24:-24, 41:-41]
    bits = apart(WORLD, changed)
    assert bits > 0
    (tmp_path / PICTURES).write_text(f"{hash_of(WORLD):016x}\n")
    assert Lists(tmp_path, distance=bits).look(changed, FRAME, lambda: None) is not None
    assert Lists(tmp_path, distance=bits - 1).look(changed, FRAME, lambda: None) is None


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_plain_surface_says_too_little(level: int) -> None:
    assert not says_enough(hash_of(flat(level)))


@pytest.mark.parametrize(
    "line",
    [
        "8000000000000000 black",
        "ffffffffffffffff",
        "e4a38b9c72d61b3",
        "e4a38b9c72d61b3a0",
        "a cat",
        "e4a38b9c72d61b3axcat",
    ],
)
def test_a_line_without_a_usable_hash_is_broken(line: str) -> None:
    with pytest.raises(BrokenLine):
        parse(line, 1)

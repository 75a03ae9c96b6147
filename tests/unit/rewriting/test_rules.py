"""What is said about pairs whose camera, light and colours are known, because we made them."""

import itertools
import math

import cv2
import numpy as np
import pytest

from kf2v.engines.morph import words
from kf2v.engines.morph.words import Direction
from kf2v.rewriting.language import Language, language_of
from kf2v.rewriting.rules import TONGUES, Rules
from kf2v.rewriting.rules.findings import Amount, Findings, Light, Step, findings
from kf2v.rewriting.rules.sight import Colour, Scene, look
from kf2v.video import Frame
from kf2v.wire.v1.text import PROMPT_LIMIT
from stage import flat, shifted, texture, viewed, zoom_and_turn

SHAPE = (272, 480)
WORLD = texture(7, (700, 1100))
#: what the camera does: zoom, degrees the picture turns, where its middle goes, in pixels
MOVES: dict[str, tuple[tuple[float, float, float, float], Step]] = {
    "nearer": ((1.3, 0.0, 0.0, 0.0), Step.IN),
    "farther": ((1 / 1.3, 0.0, 0.0, 0.0), Step.OUT),
    "to the right": ((1.0, 0.0, -60.0, 0.0), Step.RIGHT),
    "to the left": ((1.0, 0.0, 60.0, 0.0), Step.LEFT),
    "up": ((1.0, 0.0, 0.0, 40.0), Step.UP),
    "down": ((1.0, 0.0, 0.0, -40.0), Step.DOWN),
    "clockwise": ((1.0, -10.0, 0.0, 0.0), Step.CLOCKWISE),
    "counter-clockwise": ((1.0, 10.0, 0.0, 0.0), Step.COUNTER),
}
DIRECTIONS = {
    Step.IN: Direction(zoom=1),
    Step.OUT: Direction(zoom=-1),
    Step.LEFT: Direction(pan=-1),
    Step.RIGHT: Direction(pan=1),
    Step.UP: Direction(tilt=1),
    Step.DOWN: Direction(tilt=-1),
    Step.CLOCKWISE: Direction(roll=1),
    Step.COUNTER: Direction(roll=-1),
    Step.ROUND_LEFT: Direction(orbit=-1),
    Step.ROUND_RIGHT: Direction(orbit=1),
}
#: Direction's fields that are moves
PARTS = ("zoom", "pan", "tilt", "orbit", "roll")

languages = pytest.mark.parametrize("language", ["en", "zh"])


def here() -> Frame:
    return viewed(WORLD, np.eye(3), SHAPE)


def there(zoom: float, degrees: float, x: float, y: float) -> Frame:
    return viewed(WORLD, zoom_and_turn(zoom, degrees, x, y, SHAPE), SHAPE)


def rewritten(prompt: str, first: Frame, last: Frame, language: Language = "en") -> str:
    return Rules(language).rewrite(prompt, first, last, lambda _: None)


def found(**changes: object) -> Findings:
    plain = {
        "scene": Scene.SAME,
        "steps": (),
        "rests": False,
        "lights": (),
        "first_colours": (),
        "last_colours": (),
        "growth": None,
        "travel": None,
        "turned": None,
    }
    return Findings(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MOVES)
def test_a_known_move_is_named_and_no_other(name: str) -> None:
    plan, step = MOVES[name]
    seen = findings(look(here(), there(*plan)))
    assert [one for one, _ in seen.steps] == [step]
    assert seen.scene is Scene.SAME
    assert not seen.rests


def test_a_known_move_is_measured() -> None:
    zoom, pan, roll = 1.2, 0.1, 6.0
    (move,) = look(here(), there(zoom, -roll, -pan * SHAPE[1], 0.0)).moves
    assert move.zoom == pytest.approx(math.log(zoom), abs=0.01)
    assert math.degrees(move.roll) == pytest.approx(roll, abs=0.3)
    assert move.pan == pytest.approx(pan, abs=0.02)
    assert move.orbit == pytest.approx(0.0, abs=math.radians(1.0))


def test_amounts_are_told_apart() -> None:
    amounts = [dict(findings(look(here(), there(zoom, 0, 0, 0))).steps).get(Step.IN) for zoom in (1.03, 1.12, 1.3, 1.8)]
    assert amounts == [None, Amount.SLIGHT, Amount.PLAIN, Amount.LARGE]


@pytest.mark.parametrize("side", [-1, 1])
def test_a_picture_that_turns_like_a_door_is_an_orbit(side: int) -> None:
    lean = np.eye(3)
    lean[2, 0] = -side * math.radians(15) / 1.5 / (SHAPE[1] / 2)
    middle = np.eye(3)
    middle[:2, 2] = (SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2
    seen = findings(look(here(), viewed(WORLD, middle @ lean @ np.linalg.inv(middle), SHAPE)))
    assert seen.steps[0][0] is (Step.ROUND_RIGHT if side > 0 else Step.ROUND_LEFT)


def test_a_camera_that_only_turns_sideways_is_no_orbit() -> None:
    for focal in (1.2, 2.0, 3.5):
        angle, unit = math.radians(8.0), SHAPE[1] / 2
        lens = np.array([[focal * unit, 0, (SHAPE[1] - 1) / 2], [0, focal * unit, (SHAPE[0] - 1) / 2], [0, 0, 1]])
        turn = np.array([[math.cos(angle), 0, -math.sin(angle)], [0, 1, 0], [math.sin(angle), 0, math.cos(angle)]])
        plan = lens @ turn @ np.linalg.inv(lens)
        seen = findings(look(here(), viewed(WORLD, plan / plan[2, 2], SHAPE)))
        assert Step.RIGHT in dict(seen.steps)
        assert not dict(seen.steps).keys() & {Step.ROUND_LEFT, Step.ROUND_RIGHT}


def test_a_camera_that_rests_is_said_to_rest_though_something_moves() -> None:
    last = here()
    last[100:160, 200:260] = texture(99, (60, 60))
    assert rewritten("a wave", here(), last).startswith("a wave. The camera holds still.")


@pytest.mark.parametrize(("factor", "light"), [(1.5, Light.BRIGHTER), (0.6, Light.DARKER)])
def test_a_change_of_light_is_told(factor: float, light: Light) -> None:
    last = np.clip(here().astype(np.float32) * factor, 0, 255).astype(np.uint8)
    seen = findings(look(here(), last))
    assert light in seen.lights
    assert seen.rests


@pytest.mark.parametrize(("tint", "light"), [((1.15, 1.0, 0.7), Light.WARMER), ((0.8, 1.0, 1.25), Light.COOLER)])
def test_a_change_of_warmth_is_told(tint: tuple[float, float, float], light: Light) -> None:
    last = np.clip(here().astype(np.float32) * np.array(tint, np.float32), 0, 255).astype(np.uint8)
    assert light in findings(look(here(), last)).lights


@pytest.mark.parametrize(
    ("rgb", "colour"),
    [
        ((0, 0, 0), Colour.BLACK),
        ((128, 128, 128), Colour.GREY),
        ((250, 250, 250), Colour.WHITE),
        ((200, 20, 20), Colour.RED),
        ((240, 140, 20), Colour.ORANGE),
        ((110, 70, 35), Colour.BROWN),
        ((225, 205, 170), Colour.BEIGE),
        ((240, 225, 40), Colour.YELLOW),
        ((40, 150, 50), Colour.GREEN),
        ((20, 160, 160), Colour.TEAL),
        ((30, 70, 210), Colour.BLUE),
        ((120, 40, 190), Colour.PURPLE),
        ((245, 150, 190), Colour.PINK),
    ],
)
def test_colours_have_the_names_people_give_them(rgb: tuple[int, int, int], colour: Colour) -> None:
    picture = np.full((*SHAPE, 3), rgb, np.uint8)
    assert look(picture, picture).first_colours == (colour,)


def test_a_change_of_colours_is_told_largest_first() -> None:
    first, last = np.full((*SHAPE, 3), (30, 70, 210), np.uint8), np.full((*SHAPE, 3), (240, 140, 20), np.uint8)
    last[:, :150] = 0
    told = rewritten("", first, last)
    assert "The light grows" in told
    assert told.endswith("the main colours change from blue to orange and black.")


def test_strangers_are_another_scene() -> None:
    one = np.clip(texture(1, SHAPE).astype(int) // 2 + (0, 0, 120), 0, 255).astype(np.uint8)
    other = np.clip(texture(2, SHAPE).astype(int) // 2 + (125, 90, 0), 0, 255).astype(np.uint8)
    assert look(one, other).scene is Scene.OTHER
    assert rewritten("a dream", one, other).startswith("a dream. One scene gives place to quite another one.")


def test_the_same_picture_twice_says_nothing_about_a_camera() -> None:
    for picture in (here(), flat(90, SHAPE)):
        told = rewritten("", picture, picture)
        assert told.startswith("The last picture is the first one again.")
        assert words.read(told) == Direction()


def test_a_picture_saved_twice_is_the_same_picture() -> None:
    _, file = cv2.imencode(".jpg", here(), [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert look(here(), np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)).scene is Scene.EQUAL


def test_a_logo_that_stays_says_nothing_about_a_camera() -> None:
    one, other = texture(1, SHAPE), texture(2, SHAPE)
    for picture in (one, other):
        picture[:60, :90] = texture(3, (60, 90))
    assert look(one, other).moves == ()


def test_of_two_planes_that_move_apart_only_what_both_do_is_told() -> None:
    def scene(near: float, far: float) -> Findings:
        far_picture, near_picture = (there(1.0, 0.0, shift, 0.0) for shift in (far, near))
        far_picture[SHAPE[0] * 2 // 5 :] = near_picture[SHAPE[0] * 2 // 5 :]
        return findings(look(here(), far_picture))

    both = scene(-80.0, -48.0)
    assert (dict(both.steps).keys(), both.travel) == ({Step.RIGHT}, 10)
    for shift in (0.0, 60.0):
        apart = scene(-80.0, shift)
        assert (apart.steps, apart.rests, apart.scene) == ((), False, Scene.SAME)


@pytest.mark.parametrize(
    "pair",
    [
        (flat(0, SHAPE), flat(255, SHAPE)),
        (flat(128, SHAPE), texture(1, SHAPE)),
        (texture(1, SHAPE), texture(2, SHAPE)),
        (texture(1, SHAPE), np.ascontiguousarray(texture(1, SHAPE)[:, ::-1])),
        (texture(1, SHAPE), np.ascontiguousarray(texture(1, SHAPE)[::-1, ::-1])),
        (texture(1, (16, 480)), texture(2, (16, 480))),
        (texture(1, SHAPE), shifted(texture(1, SHAPE), 240, 100)),
    ],
    ids=["black and white", "plain and busy", "strangers", "mirrored", "upside down", "a strip", "half a picture on"],
)
@languages
def test_any_two_pictures_will_do_and_say_the_same_each_time(pair: tuple[Frame, Frame], language: Language) -> None:
    told = rewritten("", *pair, language)
    assert rewritten("", *pair, language) == told
    assert len(told) <= PROMPT_LIMIT


@pytest.mark.parametrize(
    ("prompt", "start"),
    [
        ("A cat looks up", "A cat looks up. The camera pushes in."),
        ("A cat looks up.", "A cat looks up. The camera pushes in."),
        ("A cat looks up, ", "A cat looks up. The camera pushes in."),
        ("A cat looks up!", "A cat looks up! The camera pushes in."),
        ("一只猫抬头", "一只猫抬头。镜头推近。"),
        ("一只猫抬头。", "一只猫抬头。镜头推近。"),
        ("一只猫抬头，", "一只猫抬头。镜头推近。"),
        ("Un chat regarde le ciel", "Un chat regarde le ciel. The camera pushes in."),
        ("猫が空を見上げる。", "猫が空を見上げる。 The camera pushes in."),
    ],
)
def test_the_words_of_the_caller_come_first_and_ours_in_their_language(prompt: str, start: str) -> None:
    assert rewritten(prompt, here(), there(1.3, 0, 0, 0)).startswith(start)


@pytest.mark.parametrize(
    "prompt",
    [
        "The camera pulls back slowly",
        "a fixed shot of a cat",
        "Zoom out, fast",
        "镜头拉远",
        "固定机位，猫抬头",
        "no camera movement",
    ],
)
def test_who_speaks_of_the_camera_is_not_contradicted(prompt: str) -> None:
    told = rewritten(prompt, here(), there(1.3, 0, 0, 0))
    assert told.startswith(prompt)
    assert words.read(told) == words.read(prompt)


def test_a_long_prompt_loses_our_words_and_none_of_its_own() -> None:
    last = there(1.3, 0, 0, 0)
    for length in (PROMPT_LIMIT, PROMPT_LIMIT - 10, PROMPT_LIMIT - 40):
        prompt = ("word " * PROMPT_LIMIT)[: length - 1] + "."
        told = rewritten(prompt, here(), last)
        assert told.startswith(prompt)
        assert len(told) <= PROMPT_LIMIT
    assert "The camera pushes in." in told


@languages
def test_an_empty_prompt_becomes_a_full_description(language: Language) -> None:
    told = rewritten("  ", here(), there(1.3, 0, -80, 0), language)
    assert language_of(told) == language
    for said in {
        "en": ("pushes in", "to the right", "1.3 times", "the same scene", "main colours"),
        "zh": ("推近", "向右", "1.3倍", "同一场景", "主色调"),
    }[language]:
        assert said in told


@languages
@pytest.mark.parametrize("amount", Amount)
@pytest.mark.parametrize("step", Step)
def test_morph_understands_every_move_as_it_was_meant(language: Language, step: Step, amount: Amount) -> None:
    heard = words.read(TONGUES[language].move(found(steps=((step, amount),))))
    for part in PARTS:
        meant = getattr(DIRECTIONS[step], part) * (0.5 if amount is Amount.SLIGHT else 1.0)
        assert getattr(heard, part) == meant, part
    assert (heard.pace, heard.fixed) == (0.0, False)


@languages
def test_morph_understands_moves_that_are_made_together(language: Language) -> None:
    tongue = TONGUES[language]
    for steps in itertools.permutations((Step.IN, Step.LEFT, Step.UP, Step.CLOCKWISE, Step.ROUND_RIGHT), 3):
        heard = words.read(tongue.move(found(steps=tuple((step, Amount.PLAIN) for step in steps))))
        for part in PARTS:
            assert getattr(heard, part) == sum(getattr(DIRECTIONS[step], part) for step in steps), (steps, part)


@languages
def test_morph_hears_no_move_in_anything_else_that_is_said(language: Language) -> None:
    tongue = TONGUES[language]
    before = "The cat is asleep. " if language == "en" else "猫在睡觉。"
    assert words.read(tongue.move(found(rests=True))) == Direction(fixed=True)
    for scene in Scene:
        assert words.read(before + tongue.scene(found(scene=scene))) == Direction()
    for first, last in itertools.product(Colour, repeat=2):
        seen = found(first_colours=(first,), last_colours=(last, Colour.GREY), lights=tuple(Light))
        assert words.read(before + tongue.look(seen)) == Direction()
    moves = tongue.move(found(steps=((Step.IN, Amount.PLAIN),)))
    amounts = tongue.amounts(found(growth=1.5, travel=20, turned=9))
    assert words.read(f"{moves}{tongue.gap}{amounts}") == Direction(zoom=1)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("a cat", "en"),
        ("一只猫", "zh"),
        ("一只 golden retriever 在跑", "zh"),
        ("a cat named 猫", "en"),
        ("ein Kätzchen", "en"),
        ("猫が走る", None),
        ("고양이", None),
        ("", None),
        ("123 !?", None),
    ],
)
def test_the_language_is_the_one_that_most_of_it_is_in(text: str, language: Language | None) -> None:
    assert language_of(text) == language

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kf2v.engines.morph.phrases import PHRASES
from kf2v.engines.morph.words import Direction, read

NOTHING = Direction()
FIXED = Direction(fixed=True)

ENGLISH = {
    # nearer and farther
    "push in": Direction(zoom=1),
    "Push in on her face.": Direction(zoom=1),
    "slow dolly in": Direction(zoom=1, pace=-1),
    "A slow, steady push-in toward the old clock": Direction(zoom=1, pace=-1),
    "The camera slowly pushes in on her face": Direction(zoom=1, pace=-1),
    "the camera slightly pushes in": Direction(zoom=0.5),
    "Camera: slow zoom in": Direction(zoom=1, pace=-1),
    "The camera moves forward through the forest": Direction(zoom=1),
    "The camera gently approaches the lighthouse": Direction(zoom=1, pace=-0.5),
    "The camera moves in closer": Direction(zoom=1),
    "crash zoom on the villain": Direction(zoom=1, pace=1),
    "The shot tightens on his eyes": Direction(zoom=1),
    "Cinematic dolly shot moving forward down the hallway": Direction(zoom=1),
    "The camera flies over the mountains": Direction(zoom=1),
    "As the camera pulls out, the town comes into view": Direction(zoom=-1),
    "zoom out": Direction(zoom=-1),
    "The camera pulls back to reveal the whole city": Direction(zoom=-1),
    "Pulling back to reveal the valley": Direction(zoom=-1),
    "the camera quickly pulls away from the car": Direction(zoom=-1, pace=1),
    "The shot widens": Direction(zoom=-1),
    "The camera starts on her face. It slowly pulls back.": Direction(zoom=-1, pace=-1),
    # sideways
    "camera moves left": Direction(pan=-1),
    "pan left": Direction(pan=-1),
    "Pan right across the room": Direction(pan=1),
    "a slow, smooth pan to the left": Direction(pan=-1, pace=-1),
    "The camera pans from left to right across the valley": Direction(pan=1),
    "The camera glides across the table from right to left": Direction(pan=-1),
    "camera pans right slowly": Direction(pan=1, pace=-1),
    "The camera trucks to the right": Direction(pan=1),
    "whip pan to the left": Direction(pan=-1, pace=1),
    "The camera pans across the skyline": Direction(pan=1),
    # up and down
    "tilt up to the sky": Direction(tilt=1),
    "The camera tilts down": Direction(tilt=-1),
    "the camera rises": Direction(tilt=1),
    "crane up, revealing the field": Direction(tilt=1),
    "The camera, starting at eye level, slowly rises": Direction(tilt=1, pace=-1),
    "the camera looks down on the street": Direction(tilt=-1),
    "The camera pans up the tower": Direction(tilt=1),
    "The drone shot descends": Direction(tilt=-1),
    "A small black cat looks up at the sky curiously. The camera gradually rises from eye level and finally captures "
    "its curious gaze from a top-down view.": Direction(tilt=1, pace=-0.5),
    # around, and about its axis
    "The camera orbits around the statue": Direction(orbit=1),
    "the camera circles around her to the left": Direction(orbit=-1),
    "The camera moves around the car clockwise": Direction(orbit=-1),
    "slow orbit shot": Direction(orbit=1, pace=-1),
    "Orbit left around the dancer": Direction(orbit=-1),
    "The camera then slowly orbits left around the temple": Direction(orbit=-1, pace=-1),
    "The ballerina spins on stage, camera circles her slowly clockwise": Direction(orbit=-1, pace=-1),
    "The camera performs a 360-degree rotation around the car": Direction(orbit=1),
    "The camera rotates clockwise": Direction(roll=1),
    "Camera rolls 90 degrees clockwise": Direction(roll=1),
    "The camera rolls counter-clockwise": Direction(roll=-1),
    # by hand, and not at all
    "handheld camera": Direction(handheld=1),
    "shot handheld, documentary style": Direction(handheld=1),
    "Shaky cam, running through the alley": Direction(handheld=1),
    "static camera": FIXED,
    "Static shot. The woman turns her head to the left and smiles.": FIXED,
    "Locked-off shot of a street at night": FIXED,
    "The camera remains perfectly still": FIXED,
    "The camera stays in place while the crowd moves left": FIXED,
    # several at once
    "Push in, pan left": Direction(zoom=1, pan=-1),
    "The camera slowly zooms out and tilts up": Direction(zoom=-1, tilt=1, pace=-1),
    "Handheld camera, the camera pushes in quickly": Direction(zoom=1, handheld=1, pace=1),
    "slow camera movement": Direction(pace=-1),
}

CHINESE = {
    "推近": Direction(zoom=1),
    "推镜头": Direction(zoom=1),
    "镜头推近": Direction(zoom=1),
    "镜头缓慢推进": Direction(zoom=1, pace=-1),
    "缓慢推进的镜头": Direction(zoom=1, pace=-1),
    "鏡頭緩慢推進": Direction(zoom=1, pace=-1),
    "镜头不断推进": Direction(zoom=1),
    "镜头向前移动,穿过森林": Direction(zoom=1),
    "镜头由远及近": Direction(zoom=1),
    "急推": Direction(zoom=1, pace=1),
    "镜头由全景推至近景": Direction(zoom=1),
    "镜头从近景拉至远景": Direction(zoom=-1),
    "一镜到底,镜头穿过走廊": Direction(zoom=1),
    "一个可爱且表情有些忧伤的蓝色小怪物站在雨中。镜头缓慢拉近,定格在小怪物抬头仰望天空的瞬间。": Direction(
        zoom=1, pace=-1
    ),
    "拉镜头,展现全景": Direction(zoom=-1),
    "镜头快速拉远": Direction(zoom=-1, pace=1),
    "将镜头拉远": Direction(zoom=-1),
    "镜头慢慢向后退": Direction(zoom=-1, pace=-1),
    "镜头左移": Direction(pan=-1),
    "镜头向左平移": Direction(pan=-1),
    "镜头缓缓向右移动": Direction(pan=1, pace=-1),
    "摇镜头向左": Direction(pan=-1),
    "镜头从左到右扫过": Direction(pan=1),
    "从左向右平移": Direction(pan=1),
    "镜头上移": Direction(tilt=1),
    "镜头升": Direction(tilt=1),
    "镜头向上摇": Direction(tilt=1),
    "由下往上摇镜头": Direction(tilt=1),
    "无人机航拍,镜头缓缓下降": Direction(tilt=-1, pace=-1),
    "写实风格,一只黑色小猫好奇地看向天空,镜头从平视逐渐上升,最后俯拍它的好奇的眼神。": Direction(tilt=1, pace=-0.5),
    "写实风格,一只小黑猫好奇地仰望天空,镜头从平视角度逐渐升高,最后以俯视角度捕捉到它好奇的眼神。": Direction(
        tilt=1, pace=-0.5
    ),
    "镜头俯冲": Direction(tilt=-1, zoom=1),
    "镜头环绕女孩一周": Direction(orbit=1),
    "360度环绕": Direction(orbit=1),
    "环绕拍摄": Direction(orbit=1),
    "镜头围绕主体逆时针旋转": Direction(orbit=1),
    "镜头顺时针环绕雕像": Direction(orbit=-1),
    "镜头旋转": Direction(roll=1),
    "镜头逆时针旋转": Direction(roll=-1),
    "手持镜头": Direction(handheld=1),
    "手持拍摄,纪录片风格": Direction(handheld=1),
    "镜头轻微晃动": Direction(handheld=0.5),
    "固定镜头": FIXED,
    "一辆汽车从左向右驶过,固定镜头,写实风格": FIXED,
    "镜头不动": FIXED,
    "镜头保持静止,微风吹过": FIXED,
    "镜头固定,人物向左移动": FIXED,
    "镜头缓慢推进,然后向左平移": Direction(zoom=1, pan=-1, pace=-1),
    "镜头推进并左移": Direction(zoom=1, pan=-1),
    "镜头 zoom in, 然后 pan left": Direction(zoom=1, pan=-1),
    "运镜缓慢": Direction(pace=-1),
}

OTHER_PEOPLE_S_MOVES = [
    "",
    "a man pans for gold",
    "she raises her left hand",
    "she slowly pushes the door",
    "person runs forward",
    "a man moves left",
    "the sun rises over the hills",
    "a cat rises slowly",
    "a satellite orbits the earth",
    "a dancer spins quickly",
    "he is on a Zoom call",
    "a frying pan left on the stove",
    "she pulls back the curtain",
    "push in the chair",
    "A truck left the station",
    "a race car zooms out of the tunnel",
    "She tilts her head up",
    "a lady with a hand-held fan",
    "slow motion, drops of water",
    "dolly zoom",
    "an actor enters from camera left",
    "The camera films a man moving left",
    "A man holds a camera and moves left",
    "The camera follows the girl as she runs to the left",
    "a close-up of an eye",
    "The dog moves closer to the camera",
    "The woman looks at the camera and turns right",
    "A view of a mountain rising above clouds",
    "Medium shot. She walks toward the window, then turns left.",
    "A sports car drifts right around a corner and speeds away. The shot is wide and low.",
    "The photographer lowers the camera and walks away",
    "Wind moves her hair to the left as she slowly turns around and smiles. Film grain, 35mm lens.",
    "她左手拿着苹果",
    "女孩缓慢推开门",
    "太阳升起",
    "旋转的木马",
    "群山环绕的湖泊",
    "女孩手持鲜花",
    "镜头前的女孩向左移动",
    "镜头中,一只猫向左移动",
    "他把椅子推近桌子",
    "慢镜头,水滴落下",
    "小女孩快速地跑向右边",
    "她慢慢靠近镜头",
    "一位老人坐在长椅上,缓慢抬起头,向右看去,阳光洒落。电影质感,浅景深。",
    "特写镜头下,花朵缓缓绽放,花瓣向下飘落",
    "近景镜头,男孩慢慢靠近窗户,向左转头",
    "太阳缓慢下降,画面逐渐变暗",
    "两人靠近,拥抱在一起,画面温馨",
]


@pytest.mark.parametrize(("prompt", "meant"), {**ENGLISH, **CHINESE}.items())
def test_a_phrase_is_read_as_the_move_it_names(prompt: str, meant: Direction) -> None:
    assert read(prompt) == meant


@pytest.mark.parametrize("prompt", OTHER_PEOPLE_S_MOVES)
def test_what_others_do_moves_no_camera(prompt: str) -> None:
    assert read(prompt) == NOTHING


@pytest.mark.parametrize(
    "prompt",
    [
        "no zoom",
        "no camera movement",
        "without any camera motion",
        "The camera does not move",
        "The camera doesn’t move.",
        "The camera is static, no panning or zooming",
        "don't zoom in",
        "不要推进镜头",
        "不要推拉摇移",
        "镜头没有移动",
        "没有运镜",
    ],
)
def test_who_only_forbids_moves_gets_a_fixed_camera(prompt: str) -> None:
    assert read(prompt) == FIXED


@pytest.mark.parametrize(
    ("prompt", "meant"),
    {
        "No zoom, pan left": Direction(pan=-1),
        "Instead of zooming in, the camera pans right": Direction(pan=1),
        "The camera isn't static, it orbits right": Direction(orbit=1),
        "不要推进,镜头向左平移": Direction(pan=-1),
        "no camera shake, push in": Direction(zoom=1),
    }.items(),
)
def test_what_is_forbidden_leaves_the_rest_alone(prompt: str, meant: Direction) -> None:
    assert read(prompt) == meant


def test_steadiness_alone_fixes_nothing() -> None:
    assert read("no camera shake") == NOTHING


@pytest.mark.parametrize(
    ("prompt", "zoom"),
    [
        ("push in, then pull out", 1),
        ("The camera pulls out, then pushes in", -1),
        ("镜头推近,然后拉远", 1),
        ("镜头先拉远再推近", -1),
    ],
)
def test_of_two_contradicting_moves_the_first_counts(prompt: str, zoom: float) -> None:
    assert read(prompt).zoom == zoom


@pytest.mark.parametrize(
    "prompt", ["The camera is static at first, then slowly pushes in", "固定镜头,随后镜头缓慢推进"]
)
def test_a_move_outweighs_a_fixed_camera(prompt: str) -> None:
    assert read(prompt) == Direction(zoom=1, pace=-1)


def test_how_fast_somebody_runs_says_nothing_about_the_camera() -> None:
    assert read("A boy runs very fast. The camera pans left.").pace == 0
    assert read("The camera slowly pans left. A boy runs very fast.").pace == -1


def test_capitals_spaces_lines_and_width_do_not_matter() -> None:
    assert read("Push in\nPan left") == Direction(zoom=1, pan=-1)
    assert read("THE  CAMERA\tPUSHES   IN") == Direction(zoom=1)
    assert read("镜头推进,向左平移。") == read("镜头推进，向左平移。") == Direction(zoom=1, pan=-1)


@settings(deadline=2000, max_examples=150)
@given(st.text(max_size=800))
def test_any_text_can_be_read(prompt: str) -> None:
    assert_is_within_bounds(read(prompt))


ENGLISH_WORDS = "camera the slowly not no left right in out to up moves pan pans zoom zooms , . - ly's and as"
CHINESE_WORDS = "镜头 缓慢 推 拉 摇 左 右 向 不 环绕 旋转 的 , 。 360度 顺时针 地"
FRAGMENTS = st.sampled_from([" ", "  ", *f"{ENGLISH_WORDS} {CHINESE_WORDS}".split()])


@settings(deadline=2000, max_examples=150)
@given(st.lists(FRAGMENTS, max_size=400).map("".join), st.lists(FRAGMENTS, max_size=200).map(" ".join))
def test_text_made_of_nothing_but_camera_words_can_be_read(close: str, spaced: str) -> None:
    for prompt in (close[:800], spaced[:800]):
        direction = read(prompt)
        assert_is_within_bounds(direction)
        assert not (direction.fixed and direction.names_a_move)


@pytest.mark.parametrize(
    "fragment", ["ly", "slowly ", "no ", "the camera ", "镜头", "环绕", "缓慢地", "a-", "[", "360 度"]
)
@pytest.mark.timeout(20)
def test_a_fragment_said_over_and_over_is_read_too(fragment: str) -> None:
    assert_is_within_bounds(read((fragment * 800)[:800]))


def test_every_phrase_that_moves_the_camera_moves_something_a_direction_has() -> None:
    known = {*Direction.__dataclass_fields__, "motion"}
    for phrase in PHRASES:
        assert phrase.does.keys() <= known
        assert all(-1 <= value <= 1 and value for value in phrase.does.values())


def assert_is_within_bounds(direction: Direction) -> None:
    for value in (direction.zoom, direction.pan, direction.tilt, direction.orbit, direction.roll, direction.pace):
        assert -1 <= value <= 1
    assert 0 <= direction.handheld <= 1

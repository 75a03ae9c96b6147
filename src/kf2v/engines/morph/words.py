"""What a prompt asks of the camera.

Knows how sentences hang together, just enough to tell the camera's moves from everybody else's; the phrases themselves
are in ``phrases``.

The camera moves where a phrase needs no witness ("dolly in", 推镜头), where a camera is what does it ("the camera
slowly rises", 镜头逐渐升高), where the next clause goes on about it ("…, then pans left"; 然后向左平移), and where a
clause is an order ("pan left across the room"). A man who pans for gold or rises from his chair moves no camera.

A contradiction is settled in favour of what is said first, for each kind of move by itself. A move outweighs a fixed
camera, for "static at first, then pushes in" has a move in it. Whoever only forbids moves ("no zoom") gets a fixed
camera. Where no side is said it is right, up or clockwise.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from kf2v.engines.morph.phrases import FAINT, HOW, PACES, PHRASES, Needs, Phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """What the camera is asked to do, from −1 to 1 where a move has two ways; nothing by default."""

    #: −1 pulls out, 1 pushes in
    zoom: float = 0.0
    #: −1 to the camera's left, 1 to its right: the picture goes the other way
    pan: float = 0.0
    #: −1 down, 1 up, whether the camera nods or rises
    tilt: float = 0.0
    #: −1 travels to the left around the subject, 1 to the right
    orbit: float = 0.0
    #: −1 the camera turns counter-clockwise about its axis, 1 clockwise: the picture turns the other way
    roll: float = 0.0
    #: 0 … 1
    handheld: float = 0.0
    #: no move at all, not even a small one
    fixed: bool = False
    #: −1 slow, 1 fast
    pace: float = 0.0

    @property
    def names_a_move(self) -> bool:
        """Whether there is anything to bend a path by."""
        return any((self.zoom, self.pan, self.tilt, self.orbit, self.roll, self.handheld))


def read(prompt: str) -> Direction:
    """The camera's part of ``prompt``, in English, Chinese or both; any text will do."""
    said: dict[str, float] = {}
    forbidden = False
    for sighting in _sightings(_plain(prompt)):
        if sighting.denied:
            forbidden = forbidden or bool(sighting.phrase.does.keys() & _FORBIDDABLE)
            continue
        for what, value in sighting.phrase.does.items():
            said.setdefault(what, value * (0.5 if sighting.faint else 1.0))
        if sighting.phrase.does and sighting.pace:
            said.setdefault("pace", sighting.pace)
    direction = Direction(
        zoom=said.get("zoom", 0.0),
        pan=said.get("pan", 0.0),
        tilt=said.get("tilt", 0.0),
        orbit=said.get("orbit", 0.0),
        roll=said.get("roll", 0.0),
        handheld=said.get("handheld", 0.0),
        pace=said.get("pace", 0.0),
    )
    if (forbidden or "fixed" in said) and not direction.names_a_move:
        return Direction(fixed=True)
    return direction


#: what, forbidden, says that the camera should rest; a hand that should not shake does not
_FORBIDDABLE = {"zoom", "pan", "tilt", "orbit", "roll", "motion"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sighting:
    """A phrase that is about the camera, with what is said about it."""

    phrase: Phrase
    start: int
    end: int
    denied: bool
    faint: bool
    pace: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clause:
    text: str
    #: the clause before has no say in who does this one
    anew: bool


_TRADITIONAL = str.maketrans(
    "鏡頭進環繞轉動緩後針畫視開靜機攝遠順時無沒拋慢輕續樞穩搖甩漸從週圍鎖別變",
    "镜头进环绕转动缓后针画视开静机摄远顺时无没抛慢轻续枢稳摇甩渐从周围锁别变",
)


def _plain(prompt: str) -> str:
    """Lower case, half-width, simplified as far as camera words go, adjectives joined where commas part them."""
    text = unicodedata.normalize("NFKC", prompt).lower().translate(_TRADITIONAL).replace("’", "'")
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(r"\b(slow|gentle|smooth|steady|soft|fast|quick|subtle|cinematic|slight), (?=\w)", r"\1 ", text)
    return re.sub(r"(?:^|(?<=[.,;!?\n] )|(?<=\n))(\w{1,20}ly), (?=\w)", r"\1 ", text)


_BREAK = re.compile(
    r"[,.;:!?。…()\"“”—–\n]+|\b(?:and|then|while|before|after|but|until)\b"
    r"|(?P<anew>\b(?:as|when|where|who|which|that|because|so)\b)"
)


def _clauses(text: str) -> Iterator[_Clause]:
    start, anew = 0, False
    for found in _BREAK.finditer(text):
        clause = text[start : found.start()].strip()
        if clause:
            yield _Clause(text=clause, anew=anew)
            anew = False
        anew = anew or found["anew"] is not None
        start = found.end()
    if clause := text[start:].strip():
        yield _Clause(text=clause, anew=anew)


def _sightings(text: str) -> Iterator[_Sighting]:
    """In order; of phrases that overlap the first, and of those that start together the longest."""
    ours = False  # whether the camera is what the text is about
    for clause in _clauses(text):
        ours = ours and not clause.anew
        found = sorted(_in_clause(clause.text, ours=ours), key=lambda one: (one.start, -one.end))
        moves = False
        end = 0
        for sighting in found:
            if sighting.start >= end:
                end = sighting.end
                moves = moves or bool(sighting.phrase.does)
                yield sighting
        ours = moves or _LED.match(clause.text) is not None or (ours and _GOES_ON.match(clause.text) is not None)


#: English words between a camera and its verb
_WORDS_BETWEEN = re.compile(
    r" ?(?:(?:\w{1,20}ly|is|are|was|be|being|will|would|should|can|could|then|also|now|first|again|just|next|starts?"
    r"|starting|begins?|beginning|continues?|continuing|keeps?|keeping|proceeds?|to|gets?|has|have|slow|smooth|gentle"
    r"|steady|gradual|fast|quick|rapid|swift|dramatic|cinematic|subtle|slight|performs?|performing|does|do|makes?"
    r"|making|executes?|with|in|a|an|the|our|not|never|cannot|no|without|any|isn't|doesn't|don't|won't|can't|must|avoid"
    r"|very|extremely|so|more|bit|little|it|itself|from eye level|at eye level|still(?= \w{1,20}(?:s|ing)\b))\b ?)*"
)
_CAMERA = re.compile(
    r"\b(?:camera(?:man|work)?|lens|shot|viewpoint|point of view|pov|perspective|view|cam)\b(?:'s)?"
    r"(?: (?:movement|motion|angle|position|work|operator)\b)?"
    r"|(?:镜头|机位|摄影机|摄像机|摄像头|相机|视角|画面|视野|航拍)(?:语言|的?运动|角度)?"
    r"(?![前中里内外]|下(?![移摇降俯沉潜压])|后(?![退移拉撤])|[左右](?:侧|边)?的)"
    r"|(?:镜头|机位|相机|摄像机|画面|视角)(?=前[推移进行])"
)
#: Chinese words after which it is the picture's content that moves
_CONTENT = re.compile(r"拍摄|拍到|拍下|记录|捕捉|看到|见到|展示|显示|里的|中的|前的|对准|只见|呈现|定格|瞬间")
#: Chinese words that carry a sentence on
_ON = re.compile(
    r"(?:然后|接着|随后|再|又|并且?|同时|最后|最终|之后|继而|紧接着|而后|且|随即|开始|先|首先|接下来|以及|和|后|让|使|将|把|不要|不|请|用"
    rf"|没有|无|以|呈|做|进行|采用|使用|{HOW[:-1]})*"
)
#: a clause with the camera as its subject
_LED = re.compile(rf"(?:{_WORDS_BETWEEN.pattern}|{_ON.pattern})(?:{_CAMERA.pattern})")
#: a clause that says more about the subject of the one before
_GOES_ON = re.compile(
    r"(?:\w{1,20}ing|from|to|with|in|on|at|through|above|over|past|across|into|toward|towards|finally|along)\b"
    r"|从|由|以|在|沿|随着|围绕|穿过|越过|跟随|掠过|聚焦|定格|最终|最后|展现|露出|(?:然后|接着|随后|再|逐渐|缓缓|缓慢)"
)
_DENIED = re.compile(
    r"\b(?:no|not(?! only)|never(?! stop)|without|avoid(?:s|ing)?|\w{2,6}n't|cannot|instead of|rather than"
    r"|nor|neither)\b(?: [\w/'-]+){0,3} ?$"
    r"|(?:不(?![断停久同仅但光只知由禁时紧])|没有?|无(?![人限尽数缝声边垠])|(?<![级区个类])别(?![墅处致的])|勿|避免|禁止|拒绝)[^,。]{0,5}$"
)


def _in_clause(text: str, *, ours: bool) -> Iterator[_Sighting]:
    anchors = [found.end() for found in _CAMERA.finditer(text)]
    for phrase in PHRASES:
        for found in phrase.told.finditer(text):
            start, end = found.span()
            if start == end or (phrase.chinese and _describes(text, end)):
                continue
            if _is_meant(text, phrase, start, end, anchors, ours=ours):
                yield _Sighting(
                    phrase=phrase,
                    start=start,
                    end=end,
                    denied=_DENIED.search(text, max(0, start - 60), start) is not None,
                    faint=_near(FAINT, text, start, end) is not None,
                    pace=_pace(text, start, end),
                )


def _is_meant(text: str, phrase: Phrase, start: int, end: int, anchors: list[int], *, ours: bool) -> bool:
    """Whether the phrase at ``start`` … ``end`` is said of the camera; ``anchors`` are where cameras' names end."""
    if phrase.needs is Needs.NOTHING or any(_reaches(phrase, text[at:start]) for at in anchors if at <= start):
        return True
    before = text[:start]
    if ours and (_WORDS_BETWEEN.fullmatch(before) or _ON.fullmatch(before) or (phrase.chinese and _runs_on(before))):
        return True
    if phrase.chinese and _A_CAMERA_THAT.match(text, end):
        return True
    if phrase.needs is not Needs.ORDER:
        return False
    if phrase.chinese:
        if _THE_CAMERA.match(text, end):
            return True
        return _ON.fullmatch(before) is not None and _ENDS.fullmatch(text, end) is not None
    return _WORDS_BETWEEN.fullmatch(before) is not None and phrase.ordered.match(text, start) is not None


_A_CAMERA_THAT = re.compile(r"(?:的|式)(?:镜头|运镜|机位|视角|拍摄|手法)")
_THE_CAMERA = re.compile(r"镜头|运镜|机位|视角|拍摄")
_ENDS = re.compile(r"(?:特写|主体|人物|画面|至特写|到特写|拍摄|全景|[,。的了]|镜头)*")


def _reaches(phrase: Phrase, between: str) -> bool:
    if phrase.chinese:
        return len(between) <= 24 and not _CONTENT.search(between)
    return _WORDS_BETWEEN.fullmatch(between) is not None


def _runs_on(before: str) -> bool:
    return len(before) <= 16 and _GOES_ON.match(before) is not None and not _CONTENT.search(before)


def _describes(text: str, end: int) -> bool:
    """Whether the Chinese phrase that ends at ``end`` belongs to a noun that is no camera (旋转的木马)."""
    return text.startswith(("的", "着的", "中的"), end) and not re.match(
        r"(?:着|中)?的(?:镜头|运镜|机位|视角|画面|方式|手法|感觉|效果|$)", text[end:]
    )


def _near(words: re.Pattern[str], text: str, start: int, end: int) -> re.Match[str] | None:
    """The last of ``words`` shortly before or in the phrase, or the first right after it."""
    before = list(words.finditer(text, max(0, start - 24), end))
    if before:
        return before[-1]
    behind = re.compile(r" ?(?:very |more |so |and )?[得地]?很?(?=\S)").match(text, end)
    return words.match(text, behind.end()) if behind else None


def _pace(text: str, start: int, end: int) -> float:
    heard = [(found.start(), value) for value, words in PACES if (found := _near(words, text, start, end))]
    return max(heard)[1] if heard else 0.0

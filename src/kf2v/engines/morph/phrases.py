"""What people call camera moves, in English and Chinese: the table that ``words`` reads by.

A row is what a phrase does, what it needs around it to be about the camera at all, and the phrase itself. In phrases
``<push|pull>`` is any form of either verb and ``~`` the place of an adverb or two. Rows that do nothing are false
friends: they keep their words from being taken for something else. The longer of two phrases that start at the same
place is meant.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Needs(Enum):
    """What makes a phrase one about the camera."""

    #: unmistakable wherever it stands
    NOTHING = "nothing"
    #: a camera that does it, or a clause that begins with it as an order ("push in on her face")
    ORDER = "order"
    #: a camera that does it
    CAMERA = "camera"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """One row, ready to be searched for."""

    #: fields of ``Direction`` and their values; ``motion`` is a move of no kind, which matters where it is denied
    does: Mapping[str, float]
    needs: Needs
    told: re.Pattern[str]
    #: as ``told``, with verbs as in an order where that is enough
    ordered: re.Pattern[str]
    chinese: bool


def _verb(word: str, *, ordered: bool) -> str:
    if ordered:
        return word
    if word == "rise":
        return "(?:rise|rises|rising|rose)"
    if word.endswith("e"):
        return f"{word[:-1]}(?:e|es|ed|ing)"
    if word.endswith("y") and word[-2] not in "aeo":
        return f"{word[:-1]}(?:y|ies|ied|ying)"
    doubled = f"{word[-1]}?" if word in {"pan", "spin", "get", "dip", "whip"} else ""
    return f"{word}(?:es|s|{doubled}ed|{doubled}ing)?"


def _pattern(template: str, *, ordered: bool) -> re.Pattern[str]:
    def verbs(found: re.Match[str]) -> str:
        return "(?:" + "|".join(_verb(word, ordered=ordered) for word in found[1].split("|")) + ")"

    filled = re.sub(r"<(\w+(?:\|\w+)*)>", verbs, template)
    filled = filled.replace("~", r"(?: (?:\w{1,20}ly|even|ever|further|straight|all the way|a bit|a little)){0,2}")
    filled = filled.replace("{SLOW}", SLOW).replace("{HOW}", HOW)
    return re.compile(filled if CHINESE.search(template) else rf"\b(?:{filled})(?!\w)")


def _phrase(does: Mapping[str, float], needs: Needs, template: str) -> Phrase:
    told = _pattern(template, ordered=False)
    return Phrase(
        does=does,
        needs=needs,
        told=told,
        ordered=_pattern(template, ordered=True) if needs is Needs.ORDER else told,
        chinese=bool(CHINESE.search(template)),
    )


CHINESE = re.compile(r"[\u4e00-\u9fff]")

#: English adjectives of a move
SLOW = (
    r"(?:slow|fast|quick|rapid|swift|crash|snap|gentle|subtle|slight|dramatic|smooth|steady|gradual|soft|long|cinematic"
    r"|continuous|simple|sudden|camera)"
)
#: Chinese adverbs of a move
HOW = (
    r"(?:缓慢|缓缓|慢慢|慢速|徐徐|快速|迅速|急速|飞速|高速|逐渐|渐渐|平稳|平滑|平缓|匀速|顺滑|流畅|轻轻|轻微|微微|稍微|稍稍"
    r"|略微|小幅度?|大幅度?|持续|不断|一直|继续|直接|猛地|突然|地)*"
)

_N, _O, _C = Needs.NOTHING, Needs.ORDER, Needs.CAMERA
_IN, _OUT = {"zoom": 1.0}, {"zoom": -1.0}
_LEFT, _RIGHT = {"pan": -1.0}, {"pan": 1.0}
_UP, _DOWN = {"tilt": 1.0}, {"tilt": -1.0}
_ROUND_LEFT, _ROUND_RIGHT = {"orbit": -1.0}, {"orbit": 1.0}
_CLOCKWISE, _COUNTER = {"roll": 1.0}, {"roll": -1.0}
_HAND = {"handheld": 1.0}
_FIXED = {"fixed": 1.0}
_MOTION = {"motion": 1.0}
_FALSE: Mapping[str, float] = {}

_NOT_A_THING = r"(?! (?:the|a|an|his|her|their|its|my|your) (?:chair|drawer|door|curtain|cart|plug|gate|boat|sheet)s?)"
_ASIDE_VERBS = "<pan|move|track|truck|slide|glide|drift|sweep|swing|turn|travel|dolly|fly|float|shift|look|rotate|go>"
_TO = r"~ (?:to |towards? |over to |across to )?(?:the |its |our )?"
_TO_LEFT = rf"{_TO}left(?:wards?)?(?! (?:behind|over)\b)"
_TO_RIGHT = rf"{_TO}right(?:wards?)?(?! (?:up|in|into|at|through|behind|past|over|next|before|after)\b)"
_LIFT = "<tilt|pan|move|look|crane|boom|pedestal|go|lift|float|fly|drift|glide|angle|point|sweep|travel|slide|swing>"
_ROUND = "<move|rotate|spin|travel|fly|glide|sweep|swing|go|turn|track|dolly|walk|pivot|float|drift|curve|wrap>"
_ANTI = r"(?:counter|anti)[- ]?clockwise"
_BY = r"(?: (?:\d{1,3}|a few) ?(?:degrees|°))?"
_STAY = "<stay|remain|keep|hold|stand>"

_ENGLISH = (
    # false friends
    (_FALSE, _N, r"dolly[- ]zooms?|zolly|vertigo (?:effect|shot)"),
    (_FALSE, _N, r"zoom (?:calls?|meetings?|class|lens|background)|<zoom> (?:past|by|off|along|down|up the)"),
    (_FALSE, _N, r"<zoom> (?:out of|in through|in from|in and out of)|out of focus"),
    (_FALSE, _N, r"(?:frying|sauce|bread|dust|baking) pans?|peter pan"),
    # nearer
    (_IN, _N, r"(?:push|zoom|dolly)-in|<zoom|dolly> in|<push> in (?:on|to|toward|towards)"),
    (_IN, _N, r"{SLOW} (?:push|zoom|dolly|track|creep)[- ]in|push[- ]in (?:shot|move|movement)"),
    (_IN, _N, r"{SLOW} (?:{SLOW} )?zoom(?!s|ing|ed)(?![- ](?:out|back|call|meeting|lens))"),
    (_IN, _N, r"(?:<zoom|dolly|push|track> )(?:closer|forwards?)"),
    (_IN, _O, rf"<push>~ in{_NOT_A_THING}|<push|dolly>~ (?:forwards?|closer)|<move> (?:in )?closer|<close|track> in"),
    (_IN, _C, r"<push|move|zoom|dolly|track|creep|inch|glide|fly|ease|float|drift|travel|go|come|press|slide|get>"
              r"~ (?:in(?! an? (?:circle|arc|orbit|circular)\b)|inwards?|forwards?|ahead|closer|nearer|near|into"
              r"|through|towards?(?! the (?:left|right|sky)\b)|up close|on(?= (?:the|a|his|her|their|its)\b))"),
    (_IN, _C, r"<approach|advance|tighten>|<close|narrow|pull> in|<zoom>|<fly|glide|soar|sweep>~ (?:over|above|past)"),
    # farther
    (_OUT, _N, r"(?:zoom|pull|dolly)-(?:out|back)|pull[- ](?:out|back) (?:shot|move|reveal)|<zoom|dolly> (?:out|back)"),
    (_OUT, _N, r"{SLOW} (?:{SLOW} )?(?:zoom|pull|dolly)[- ](?:out|back)|<pull> (?:back|out) to (?:reveal|show|a wide)"),
    (_OUT, _O, rf"<pull>~ (?:out|back|away)(?! of\b){_NOT_A_THING}"),
    (_OUT, _C, r"<pull|zoom|dolly|move|track|back|draw|fly|glide|drift|ease|float|travel|go|step|push|pan>"
               r"~ (?:out(?:wards?)?|back(?:wards?)?|away|off)"),
    (_OUT, _C, r"<retreat|recede|withdraw|widen>|<back> up"),
    # sideways
    (_LEFT, _N, rf"(?:{{SLOW}} |whip[- ])?pan(?:ning)?(?: shot)?{_TO_LEFT}(?! (?:on|in)\b)"),
    (_LEFT, _N, r"left(?:ward)?[- ]pan|right[- ]to[- ]left pan"),
    (_RIGHT, _N, rf"(?:{{SLOW}} |whip[- ])?pan(?:ning)?(?: shot)?{_TO_RIGHT}"),
    (_RIGHT, _N, r"right(?:ward)?[- ]pan|left[- ]to[- ]right pan"),
    (_LEFT, _O, rf"<pan|track|dolly>{_TO_LEFT}"),
    (_RIGHT, _O, rf"<pan|track|dolly>{_TO_RIGHT}"),
    (_LEFT, _C, rf"{_ASIDE_VERBS}{_TO_LEFT}"),
    (_RIGHT, _C, rf"{_ASIDE_VERBS}{_TO_RIGHT}"),
    (_LEFT, _N, r"pan(?:ning|s)?(?: shot)? (?:from )?(?:the )?right to (?:the )?left"),
    (_RIGHT, _N, r"pan(?:ning|s)?(?: shot)? (?:from )?(?:the )?left to (?:the )?right"),
    (_LEFT, _C, rf"{_ASIDE_VERBS}~ (?:across [\w ]{{1,24}} )?(?:from )?(?:the )?right to (?:the )?left"),
    (_RIGHT, _C, rf"{_ASIDE_VERBS}~ (?:across [\w ]{{1,24}} )?(?:from )?(?:the )?left to (?:the )?right"),
    (_RIGHT, _N, r"whip[- ]pan|panning shot|{SLOW} (?:{SLOW} )?pan(?=$| (?:shot|across|over|along|around|of)\b)"),
    (_RIGHT, _O, r"<pan> (?:across|over|along|around)"),
    (_RIGHT, _C, r"<pan>(?! for\b)|<sweep> (?:across|over)"),
    (_LEFT, _N, r"(?:truck|crab)(?:ing)? shot to the left"),
    (_RIGHT, _N, r"(?:truck|crab)(?:ing)? shot to the right"),
    # up and down
    (_UP, _N, r"tilt[- ]up(?! (?:his|her|their|the|its|your)\b)|(?:pedestal|boom|jib|crane)(?:ing)?[- ]up|crane shot"),
    (_UP, _N, r"rising (?:crane|drone|aerial|camera|shot|pedestal|jib)|upward (?:tilt|pan|camera)"
              r"|{SLOW} tilt upwards?"),
    (_DOWN, _N, r"tilt[- ]down(?! (?:his|her|their|the|its|your)\b)|(?:pedestal|boom|jib|crane)(?:ing)?[- ]down"),
    (_DOWN, _N, r"descending (?:crane|drone|aerial|camera|shot|pedestal|jib)|downward (?:tilt|pan|camera)"
                r"|{SLOW} tilt downwards?"),
    (_UP, _N, r"pan(?:ning)?~ up(?:wards?)?"),
    (_DOWN, _N, r"pan(?:ning)?~ down(?:wards?)?"),
    (_UP, _O, r"<tilt|crane|pan>~ up(?:wards?)?(?! (?:his|her|their|its|your)\b)"),
    (_DOWN, _O, r"<tilt|crane|pan>~ down(?:wards?)?(?! (?:his|her|their|its|your)\b)"),
    (_UP, _C, rf"(?:<rise>|{_LIFT})~ (?:up(?! (?:close|to (?:her|his|the) (?:face|subject)))(?:wards?)?|higher"
              r"|skywards?|(?:to|towards?) the sky)"),
    (_UP, _C, r"<rise|ascend|climb|elevate|soar|lift>"),
    (_DOWN, _C, rf"(?:<sink|drop>|{_LIFT})~ (?:down(?:wards?)?|lower)"),
    (_DOWN, _C, r"<descend|lower>|<swoop|plunge|dive> (?:down|in)"),
    # around
    (_ROUND_RIGHT, _N, r"orbit(?:al|ing)? (?:shot|camera|move|movement)|camera orbit"),
    (_ROUND_RIGHT, _N, r"{SLOW} (?:{SLOW} )?orbit(?! of\b)"),
    (_ROUND_RIGHT, _N, r"arc(?:ing)? shot|circling (?:shot|camera)"
                       r"|360[- ]?(?:degrees?|°)? (?:orbit|camera|shot|rotation around|spin around)"),
    (_ROUND_LEFT, _O, rf"<orbit|arc|circle>{_TO_LEFT}"),
    (_ROUND_RIGHT, _O, rf"<orbit|arc|circle>{_TO_RIGHT}"),
    (_ROUND_RIGHT, _O, r"<orbit>|<circle|arc|rotate|revolve> around"),
    (_ROUND_RIGHT, _C, rf"<orbit|circle|revolve|arc|spiral>"
                       rf"|{_ROUND}~ (?:360 degrees |in an? (?:slow |wide )?(?:circle|arc|orbit) )?(?:around|round)"
                       rf"|{_ROUND}~ in an? (?:slow |wide |smooth )?(?:circle|arc|orbit)"),
    (_ROUND_LEFT, _C, rf"(?:<orbit|circle|revolve|arc>|{_ROUND}~ (?:around|round))(?: [\w'-]+){{0,5}}?"
                      r" (?:(?:to|towards?) the left|leftwards?|clockwise|from right to left)"),
    (_ROUND_RIGHT, _C, rf"(?:<orbit|circle|revolve|arc>|{_ROUND}~ (?:around|round))(?: [\w'-]+){{0,5}}?"
                       rf" (?:(?:to|towards?) the right|rightwards?|{_ANTI}|from left to right)"),
    # about its axis
    (_CLOCKWISE, _N, r"(?:dutch|clockwise) (?:camera )?(?:roll|tilt|rotation)"),
    (_COUNTER, _N, rf"{_ANTI} (?:camera )?(?:roll|tilt|rotation)"),
    (_CLOCKWISE, _C, r"<rotate|spin|twist>|<roll>~ (?:over|on its axis|upside down)"),
    (_CLOCKWISE, _C, rf"<roll|rotate|turn|spin|twist|tilt>~{_BY} clockwise|<roll|tilt|lean|cant>~ to the right"),
    (_COUNTER, _C, rf"<roll|rotate|turn|spin|twist|tilt>~{_BY} {_ANTI}|<roll|tilt|lean|cant>~ to the left"),
    # by hand
    (_HAND, _N, r"hand-?held(?: or [\w-]+)?(?= (?:camera|cam|shot|footage|style|look|feel|feeling|shooting|filming"
                r"|movement|motion|cinematography|tracking|shake|shaky|video|documentary|pov|follow|aesthetic|realism)|\W*$)"),
    (_HAND, _N, r"shaky[- ]?cam(?:era)?|shaky footage|camera shake|shaking camera|jittery camera"),
    (_HAND, _C, r"hand-?held|<shake|wobble|sway|jitter>|shaky|jittery"),
    # not at all
    (_FIXED, _N, r"(?:static|fixed|stationary|locked(?:[- ](?:off|down))?|motionless|immobile|unmoving|tripod)"
                 r"(?: (?:wide|medium|close-up|wide-angle|establishing|long|overhead|low-angle|tripod))?"
                 r" (?:camera|shot|frame|framing|view|lens|tripod|viewpoint|perspective)(?: (?:position|angle))?"),
    (_FIXED, _N, r"lock(?:ed)?[- ](?:off|down) (?:shot|camera)|locked-off|still (?:shot|frame)"),
    (_FIXED, _C, rf"(?:{_STAY}~ )?(?:(?:completely|perfectly|totally) )?(?:static|fixed|stationary"
                 r"|locked(?: off| down)?|motionless|immobile|unmoving)"),
    (_FIXED, _C, rf"{_STAY}~ (?:(?:completely|perfectly|totally|very) )?(?:still|put|steady|level|in place|in position"
                 r"|its position|where it is)|<be> still|still$|<hold>(?= on\b)"),
    # of no kind
    (_MOTION, _N, r"camera (?:movements?|motion|moves(?= ?$))|<move> the camera"),
    (_MOTION, _O, r"zoom|zooms|zooming|panning|pans|tilting|tilts|orbiting|tracking"),
    (_MOTION, _C, r"<move|shift|budge|turn|tilt>|movement|motion"),
)  # fmt: skip

_SIDEWAYS = "(?:旋转|平移|横移|移动|移|摇移|摇动|横摇|摇|滑动|滑|转动|转|扫过|扫|甩|推移|运动|跟拍|跟移|偏移)"
_TOWARDS = "(?:向|往|朝|至|到)"

_CHINESE = (
    # false friends
    (_FALSE, _N, r"希区柯克(?:式)?(?:变焦|镜头|运镜)?|滑动变焦|慢镜头|快镜头|空镜头"),
    (_FALSE, _C, r"拉近(?:了)?(?:彼此|两人|人与人|距离)|推开"),
    (_FALSE, _C, r"拉开(?:窗帘|帷幕|序幕|抽屉|车?门)|转移|转身|转头|升级|升温"),
    # nearer
    (_IN, _N, r"推镜头?|前推镜"),
    (_IN, _O, r"推近|推进|拉近|拉进|变焦推近|[急缓快慢]推(?![近进入到向至上])"),
    (_IN, _C, r"推(?:入|向|到|至|上(?=去|前)|移到|移至|(?=特写|镜))|前推"),
    (_IN, _C, r"靠近|逼近|贴近|接近|凑近|缩近|放大|前移|前进|前行|穿过|穿越|穿行|飞过|飞越|掠过"),
    (_IN, _C, r"[向往朝]前{HOW}(?:推进|推移|推|移动|移|运动|行进|滑动|飞行|飞|穿行|进|走)|推$"),
    (_IN, _C, r"[从自由]远(?:处|景|而)?{HOW}[及到至向往拉推而][近特]"),
    # farther
    (_OUT, _C, r"[从自由](?:近|特写)(?:处|景|而)?{HOW}[及到至向往拉推而][远全]"),
    (_OUT, _N, r"拉镜头?|后拉镜"),
    (_OUT, _O, r"拉远|推远|拉开|后拉|[急缓快慢]拉(?![近进远开出升])"),
    (_OUT, _C, r"拉(?:出|后|离|(?=全景|远景)|[到至](?=全景|远景|大?全))|后退|后移|退后|倒退|远离|缩小|退远|退开|退出"),
    (_OUT, _C, r"[向往朝]后{HOW}(?:拉远|拉|退|移动|移|推|运动|撤)|拉$"),
    # sideways
    (_LEFT, _N, rf"[摇移甩]镜头?{{HOW}}{_TOWARDS}?左|左[摇移]镜头?|[向往朝]左{{HOW}}[摇移甩推]镜"),
    (_RIGHT, _N, rf"[摇移甩]镜头?{{HOW}}{_TOWARDS}?右|右[摇移]镜头?|[向往朝]右{{HOW}}[摇移甩推]镜"),
    (_LEFT, _O, rf"[向往朝]左(?:侧|边|方|面)?{{HOW}}{_SIDEWAYS}|左(?:侧|边)?{{HOW}}(?:平移|横移|移|摇)"),
    (_RIGHT, _O, rf"[向往朝]右(?:侧|边|方|面)?{{HOW}}{_SIDEWAYS}|右(?:侧|边)?{{HOW}}(?:平移|横移|移|摇)"),
    (_LEFT, _O, rf"[从自由]右(?:侧|边)?{{HOW}}{_TOWARDS}左(?:侧|边)?{{HOW}}{_SIDEWAYS}"),
    (_RIGHT, _O, rf"[从自由]左(?:侧|边)?{{HOW}}{_TOWARDS}右(?:侧|边)?{{HOW}}{_SIDEWAYS}"),
    (_LEFT, _C, rf"{_SIDEWAYS}{{HOW}}{_TOWARDS}左|[从自由](?:画面)?右(?:侧|边|方)?{{HOW}}{_TOWARDS}左"),
    (_RIGHT, _C, rf"{_SIDEWAYS}{{HOW}}{_TOWARDS}右|[从自由](?:画面)?左(?:侧|边|方)?{{HOW}}{_TOWARDS}右"),
    (_RIGHT, _N, r"摇镜头?|移镜头?|甩镜头?|平移镜头|横移镜头|横摇镜头"),
    (_RIGHT, _C, r"平移|横移|横摇|摇移|横扫|扫过|摇过"),
    # up and down
    (_UP, _N, rf"[摇移]镜头?{{HOW}}{_TOWARDS}?上|升镜头?|上[摇移]镜头?"),
    (_DOWN, _N, rf"[摇移]镜头?{{HOW}}{_TOWARDS}?下|降镜头|下[摇移]镜头?"),
    (_UP, _N, r"升降镜头|俯仰镜头"),
    (_UP, _O, r"[向往朝]上(?:方|空)?{HOW}(?:平移|移动|移|摇动|摇|升|抬|仰|扬|推移|推|运动|拉升|拉|倾斜|转动|转)"),
    (_DOWN, _O, r"[向往朝]下(?:方)?{HOW}(?:平移|移动|移|摇动|摇|降|沉|俯|压|推移|推|运动|倾斜|转动|转)"),
    (_UP, _C, r"[升抬拉]{HOW}[高起升]|上(?:升|移|摇|仰|扬|抬)|升空|仰起|攀升|升$"),
    (_DOWN, _C, r"下(?:降|移|摇|俯|沉|潜|压)|降低|降下|降落|俯下|降$"),
    (_UP, _C, rf"[从自由](?:低|下)(?:处|方|面|而)?{{HOW}}(?:{_TOWARDS}|而)[高上]|俯仰"),
    (_DOWN, _C, rf"[从自由](?:高|上)(?:处|方|面|空|而)?{{HOW}}(?:{_TOWARDS}|而)[低下]"),
    ({"tilt": -1.0, "zoom": 1.0}, _C, r"俯冲"),
    # around
    (_ROUND_RIGHT, _N, r"环绕(?:镜头|拍摄|运镜|式运镜|式镜头|跟拍)|环拍"),
    (_ROUND_RIGHT, _N, r"(?:360|三百六十) ?[度°]{HOW}(?:环绕|全景环绕|旋转拍摄)"),
    (_ROUND_RIGHT, _O, r"环绕"),
    (_ROUND_RIGHT, _C, r"围绕|绕着?|盘旋|(?:360|三百六十) ?[度°]{HOW}(?:旋转|拍摄|转动)?"),
    (_ROUND_RIGHT, _C, r"(?:围绕|环绕|绕着?)[^,。的]{1,12}?(?:旋转|转动|转|运动|移动|拍摄|一周|一圈|飞行|盘旋)"),
    (_ROUND_LEFT, _C, rf"[向往朝从]左(?:侧|边)?{{HOW}}(?:环绕|围绕|绕)|(?:围绕|环绕|绕着?)[^,。]{{0,12}}?{_TOWARDS}左"
                      r"{HOW}(?:旋转|转动|移动|转|环绕|运动)?"),
    (_ROUND_RIGHT, _C, rf"[向往朝从]右(?:侧|边)?{{HOW}}(?:环绕|围绕|绕)|(?:围绕|环绕|绕着?)[^,。]{{0,12}}?{_TOWARDS}右"
                       r"{HOW}(?:旋转|转动|移动|转|环绕|运动)?"),
    (_ROUND_LEFT, _C, r"顺时针(?:方向)?{HOW}(?:环绕|围绕|绕)|(?:围绕|环绕|绕着?)[^,。逆]{0,12}?顺时针(?:方向)?{HOW}"
                      r"(?:旋转|转动|移动|转|环绕|运动)?"),
    (_ROUND_RIGHT, _C, r"逆时针(?:方向)?{HOW}(?:环绕|围绕|绕)|(?:围绕|环绕|绕着?)[^,。顺]{0,12}?逆时针(?:方向)?{HOW}"
                       r"(?:旋转|转动|移动|转|环绕|运动)?"),
    # about its axis
    (_CLOCKWISE, _N, r"旋转镜头|滚转镜头"),
    (_CLOCKWISE, _C, r"(?:顺时针(?:方向)?{HOW})?(?:旋转|滚转|翻转|翻滚|转动)"),
    (_COUNTER, _C, r"逆时针(?:方向)?{HOW}(?:旋转|滚转|翻转|翻滚|转动|转)"),
    # by hand
    (_HAND, _N, r"手持(?:式)?(?:镜头|摄影|摄像|拍摄|相机|运镜|跟拍|感|质感|风格|晃动|抖动|视角|dv)"
                r"|呼吸感(?:镜头|运镜)"),
    (_HAND, _C, r"晃动|抖动|摇晃|颤动|震动|摇摆|手持|呼吸感"),
    # not at all
    (_FIXED, _N, r"(?:固定|静止|静态|锁定)(?:的|不动的)?(?:镜头|机位|视角|摄影机|摄像机|相机|拍摄)|定镜头|定机位"),
    (_FIXED, _N, r"(?:机位|镜头)(?:始终|全程|一直|保持|完全)*(?:固定|静止|不动|不变|锁定)"),
    (_FIXED, _C, r"固定|静止|不动|不变|锁定|定住|不移动|不运动"),
    # of no kind
    (_MOTION, _N, r"(?:镜头|相机|摄像机|机位)(?:的)?(?:移动|运动)|运镜|推拉摇移|推拉"),
    (_MOTION, _C, r"移动|运动|变化"),
)  # fmt: skip

PHRASES = tuple(_phrase(*row) for row in (*_ENGLISH, *_CHINESE))

#: how fast, and the words for it
PACES = tuple(
    (value, re.compile(words))
    for value, words in (
        (
            -1.0,
            r"\bslow(?:ly|er)?\b(?![- ]?mo)|\bleisurely\b|\bunhurried|缓慢|缓缓|慢慢|慢速|徐徐|慢(?=[推拉摇移升降环])",
        ),
        (
            -0.5,
            r"\bgradual(?:ly)?\b|\bgent(?:le|ly)\b|\bsoft(?:ly)?\b"
            r"|逐渐|渐渐|轻轻|平缓|轻柔|(?<![缓慢])慢(?![慢速推拉摇移升降环]|动作|镜头)",
        ),
        (
            1.0,
            r"\b(?:fast|faster|quick|quickly|rapid|rapidly|swift|swiftly|sudden|suddenly|abruptly|whip|crash|snap)\b"
            r"|快速|迅速|急速|飞速|高速|极速|急[推拉摇移升降]|猛|突然|瞬间|甩镜|快(?=[推拉摇移升降环])",
        ),
    )
)

#: half as much
FAINT = re.compile(r"\bslight(?:ly)?\b|\bsubt(?:le|ly)\b|\ba (?:bit|little)\b|轻微|微微|略微|稍微|稍稍|小幅|有点|一点")

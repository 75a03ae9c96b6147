"""What the rules say in Chinese. Camera words are those that ``morph`` reads."""

from kf2v.rewriting.rules.findings import Amount, Findings, Light, Step
from kf2v.rewriting.rules.sight import Colour, Scene

MOVES = {
    Step.IN: "{}推近",
    Step.OUT: "{}拉远",
    Step.LEFT: "向左{}平移",
    Step.RIGHT: "向右{}平移",
    Step.UP: "向上{}移动",
    Step.DOWN: "向下{}移动",
    Step.CLOCKWISE: "顺时针{}旋转",
    Step.COUNTER: "逆时针{}旋转",
    Step.ROUND_LEFT: "向左{}环绕",
    Step.ROUND_RIGHT: "向右{}环绕",
}
AMOUNTS = {Amount.SLIGHT: "略微", Amount.PLAIN: "", Amount.LARGE: "大幅"}
LIGHT = {
    Light.BRIGHTER: "光线变亮",
    Light.DARKER: "光线变暗",
    Light.WARMER: "色温变暖",
    Light.COOLER: "色温变冷",
}
COLOURS = {
    Colour.BLACK: "黑色",
    Colour.GREY: "灰色",
    Colour.WHITE: "白色",
    Colour.RED: "红色",
    Colour.ORANGE: "橙色",
    Colour.BROWN: "棕色",
    Colour.BEIGE: "米色",
    Colour.YELLOW: "黄色",
    Colour.GREEN: "绿色",
    Colour.TEAL: "青色",
    Colour.BLUE: "蓝色",
    Colour.PURPLE: "紫色",
    Colour.PINK: "粉色",
}


class Chinese:
    """One paragraph of statements, each a sentence."""

    #: what joins the caller's words and ours
    stop, gap = "。", ""

    def move(self, findings: Findings) -> str:
        if findings.rests:
            return "镜头保持固定。"
        steps = [MOVES[step].format(AMOUNTS[amount]) for step, amount in findings.steps]
        return f"镜头{'，同时'.join(steps)}。" if steps else ""

    def amounts(self, findings: Findings) -> str:
        told: list[str] = []
        if findings.growth is not None:
            told.append(f"画面中央的景物最终约为原来的{findings.growth:.1f}倍大")
        if findings.travel is not None:
            told.append(f"取景范围约偏离画幅的{findings.travel}%")
        if findings.turned is not None:
            told.append(f"地平线约倾斜{findings.turned}度")
        return _sentence(told)

    def scene(self, findings: Findings) -> str:
        match findings.scene:
            case Scene.EQUAL:
                return "结尾与开头是同一幅画面。"
            case Scene.SAME:
                return "首尾两帧是同一场景。"
            case Scene.OTHER:
                return "一个场景过渡为另一个完全不同的场景。"
            case Scene.UNKNOWN:
                return ""

    def look(self, findings: Findings) -> str:
        told = [LIGHT[light] for light in findings.lights]
        first, last = ("和".join(COLOURS[colour] for colour in side) for side in findings.colours)
        if findings.lasting_colours:
            told.append(f"主色调始终是{'和'.join(COLOURS[colour] for colour in findings.lasting_colours)}")
        elif first and last:
            told.append(f"主色调由{first}变为{last}")
        return _sentence(told)


def _sentence(parts: list[str]) -> str:
    return f"{'，'.join(parts)}。" if parts else ""

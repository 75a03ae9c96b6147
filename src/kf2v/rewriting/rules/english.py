"""What the rules say in English. Camera words are those that ``morph`` reads."""

from collections.abc import Sequence

from kf2v.rewriting.rules.findings import Amount, Findings, Light, Step
from kf2v.rewriting.rules.sight import Scene

MOVES = {
    Step.IN: "pushes in{}",
    Step.OUT: "pulls back{}",
    Step.LEFT: "pans{} to the left",
    Step.RIGHT: "pans{} to the right",
    Step.UP: "tilts{} up",
    Step.DOWN: "tilts{} down",
    Step.CLOCKWISE: "rolls{} clockwise",
    Step.COUNTER: "rolls{} counter-clockwise",
    Step.ROUND_LEFT: "circles{} around to the left",
    Step.ROUND_RIGHT: "circles{} around to the right",
}
AMOUNTS = {Amount.SLIGHT: " slightly", Amount.PLAIN: "", Amount.LARGE: " strongly"}
LIGHT = {
    Light.BRIGHTER: "brighter",
    Light.DARKER: "dimmer",
    Light.WARMER: "warmer",
    Light.COOLER: "cooler",
}


class English:
    """One paragraph of statements, each a sentence."""

    #: what joins the caller's words and ours
    stop, gap = ".", " "

    def move(self, findings: Findings) -> str:
        if findings.rests:
            return "The camera holds still."
        steps = [MOVES[step].format(AMOUNTS[amount]) for step, amount in findings.steps]
        return f"The camera {_listed(steps)}." if steps else ""

    def amounts(self, findings: Findings) -> str:
        told: list[str] = []
        if findings.growth is not None:
            told.append(f"what is in the middle ends about {findings.growth:.1f} times as large as it began")
        if findings.travel is not None:
            told.append(f"the view shifts by about {findings.travel} % of its width or height")
        if findings.turned is not None:
            told.append(f"the horizon leans by about {findings.turned} degrees")
        return _sentence(", and ".join(told))

    def scene(self, findings: Findings) -> str:
        match findings.scene:
            case Scene.EQUAL:
                return "The last picture is the first one again."
            case Scene.SAME:
                return "Both pictures show the same scene."
            case Scene.OTHER:
                return "One scene gives place to quite another one."
            case Scene.UNKNOWN:
                return ""

    def look(self, findings: Findings) -> str:
        lights = _listed([LIGHT[light] for light in findings.lights])
        told = [f"the light grows {lights}"] if lights else []
        first, last = (_listed([colour.value for colour in side]) for side in findings.colours)
        if findings.lasting_colours:
            told.append(f"the main colours stay {_listed([colour.value for colour in findings.lasting_colours])}")
        elif first and last:
            told.append(f"the main colours change from {first} to {last}")
        return _sentence(", and ".join(told))


def _listed(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""

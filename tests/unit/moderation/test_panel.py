"""Several moderators as one, and the words in which a refusal is told."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from kf2v.errors import Canceled, DataInspectionFailed, InternalError, IPInfringementSuspect
from kf2v.moderation import Exhibit, NotAsked, Objection, Tick, Undecided
from kf2v.moderation.panel import Panel
from kf2v.video import Frame
from stage import flat

PICTURE = flat(90)


class Says:
    """A moderator that always says the same, and counts how often it was asked."""

    def __init__(
        self, answer: Objection | Undecided | None, *, name: str = "one", awake: bool = True, elsewhere: bool = False
    ) -> None:
        self.name = name
        self.elsewhere = elsewhere
        self.asked = 0
        self._answer = answer
        self._awake = awake

    def reads(self) -> bool:
        return self._awake

    looks = reads

    def read(self, text: str, exhibit: Exhibit, tick: Tick) -> Objection | None:
        return self._say(tick)

    def look(self, picture: Frame, exhibit: Exhibit, tick: Tick) -> Objection | None:
        return self._say(tick)

    def _say(self, tick: Tick) -> Objection | None:
        tick()
        self.asked += 1
        if isinstance(self._answer, Undecided):
            raise self._answer
        return self._answer


def bad(ground: Any = "inappropriate") -> Objection:
    return Objection(ground=ground, reason="line 3 of words.txt")


def prompt(side: Any = "input") -> Exhibit:
    return Exhibit(side=side, part="prompt", task_id="t-1")


def silent() -> None: ...


Ask = Callable[[Panel, Exhibit], None]
BOTH_WAYS: list[Ask] = [
    lambda panel, exhibit: panel.read("words", exhibit, silent),
    lambda panel, exhibit: panel.look(PICTURE, exhibit, silent),
]


@pytest.mark.parametrize("ask", BOTH_WAYS, ids=["text", "picture"])
@pytest.mark.parametrize(
    ("side", "ground", "kind", "code", "message"),
    [
        (
            "input",
            "inappropriate",
            DataInspectionFailed,
            "DataInspectionFailed",
            "Input data may contain inappropriate content.",
        ),
        (
            "output",
            "inappropriate",
            DataInspectionFailed,
            "DataInspectionFailed",
            "Output data may contain inappropriate content.",
        ),
        (
            "input",
            "ip",
            IPInfringementSuspect,
            "IPInfringementSuspect",
            "Input data is suspected of being involved in IP infringement.",
        ),
        (
            "output",
            "ip",
            DataInspectionFailed,
            "DataInspectionFailed",
            "Output data is suspected of being involved in IP infringement",
        ),
    ],
)
def test_an_objection_becomes_the_error_of_the_api(
    ask: Ask, side: str, ground: str, kind: type[DataInspectionFailed], code: str, message: str
) -> None:
    with pytest.raises(kind) as caught:
        ask(Panel([Says(bad(ground))]), prompt(side))
    assert (caught.value.status, caught.value.code, caught.value.message) == (400, code, message)
    assert type(caught.value) is kind


def test_all_are_asked_and_the_first_objection_counts() -> None:
    first, second, third = Says(None), Says(bad("ip"), name="two"), Says(bad())
    with capture_logs() as told, pytest.raises(IPInfringementSuspect):
        Panel([first, second, third]).read("words", prompt(), silent)
    assert [one.asked for one in (first, second, third)] == [1, 1, 0]
    (line,) = told
    assert (line["moderator"], line["reason"], line["task_id"]) == ("two", "line 3 of words.txt", "t-1")


def test_nobody_objects_to_nothing() -> None:
    asked = Says(bad())
    Panel([asked]).read(" \n", prompt(), silent)
    Panel().read("words", prompt(), silent)
    Panel().look(PICTURE, prompt(), silent)
    assert asked.asked == 0
    assert not Panel().reads("input", ("input",))


def test_who_has_nothing_to_say_is_not_asked() -> None:
    asleep = Says(bad(), awake=False)
    panel = Panel([asleep])
    assert not panel.reads("input")
    assert not panel.looks("output")
    panel.look(PICTURE, prompt(), silent)
    assert asleep.asked == 0


def test_what_nobody_decides_on_passes_with_a_line_in_the_log_and_a_note() -> None:
    panel, notes = Panel([Says(Undecided("it is down"), name="http")]), list[str]()
    with capture_logs() as told:
        panel.look(PICTURE, prompt(), silent, notes.append)
    (line,) = told
    assert (line["log_level"], line["then"], line["reason"]) == ("warning", "pass", "http: it is down")
    assert notes == ["Moderation (http) could not decide on the prompt, so it passed."]


def test_what_nobody_decides_on_fails_where_the_owner_wants_that() -> None:
    panel, notes = Panel([Says(Undecided("it is down"), name="http")], on_failure="fail"), list[str]()
    with pytest.raises(InternalError) as caught:
        panel.look(PICTURE, prompt(), silent, notes.append)
    assert (caught.value.status, caught.value.code) == (500, "InternalError")
    assert "down" not in caught.value.message
    assert notes == ["Moderation (http) could not decide on the prompt, so it did not pass."]


@pytest.mark.parametrize(
    ("on_failure", "then"), [("pass", "so it passed"), ("fail", "so it did not pass")], ids=["pass", "fail"]
)
def test_what_nobody_was_asked_about_is_told_as_what_it_is(on_failure: Any, then: str) -> None:
    panel, notes = Panel([Says(NotAsked("left alone"), name="http")], on_failure=on_failure), list[str]()
    with contextlib.suppress(InternalError):
        panel.look(PICTURE, prompt(), silent, notes.append)
    assert notes == [f"Moderation (http) was silent just before and not asked about the prompt, {then}."]


@pytest.mark.parametrize("on_failure", ["pass", "fail"])
def test_an_objection_weighs_more_than_somebody_who_cannot_decide(on_failure: Any) -> None:
    with pytest.raises(DataInspectionFailed):
        Panel([Says(Undecided("it is down")), Says(bad())], on_failure=on_failure).read("words", prompt(), silent)


def test_while_those_elsewhere_are_busy_the_others_are_asked() -> None:
    here, there = Says(bad()), Says(None, elsewhere=True)
    with pytest.raises(DataInspectionFailed):
        Panel([there, here]).read("words", prompt(), silent, busy="too many")
    assert (here.asked, there.asked) == (1, 0)
    with pytest.raises(InternalError):
        Panel([there], on_failure="fail").read("words", prompt(), silent, busy="too many")


def test_work_that_is_called_off_ends_while_somebody_is_waited_for() -> None:
    def call_off() -> None:
        raise Canceled

    with pytest.raises(Canceled):
        Panel([Says(None)]).look(PICTURE, prompt(), call_off)


@pytest.mark.parametrize(
    ("sides", "wished", "inspected"),
    [
        ({"input", "output"}, (), {"input", "output"}),
        ({"input"}, (), {"input"}),
        ({"input"}, ("output",), {"input", "output"}),
        (set(), (), set()),
        (set(), ("output",), {"output"}),
    ],
)
def test_a_wish_adds_to_what_is_usual_and_takes_nothing_away(sides: Any, wished: Any, inspected: Any) -> None:
    panel = Panel([Says(None)], sides=frozenset(sides))
    assert {side for side in ("input", "output") if panel.reads(side, wished)} == inspected
    assert {side for side in ("input", "output") if panel.looks(side, wished)} == inspected


@pytest.mark.parametrize(("every", "looked_at"), [(1, list(range(10))), (4, [0, 4, 8, 9]), (9, [0, 9]), (149, [0, 9])])
def test_of_a_film_the_first_the_last_and_every_so_many_are_looked_at(every: int, looked_at: list[int]) -> None:
    panel = Panel([Says(None)], every=every)
    assert [number for number in range(10) if panel.samples(number, of=10)] == looked_at

"""What every moderator has to do, whoever decides: the owner's lists, a classifier, an endpoint that flags."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from censor import KEY, Act, Answers, Censor, Hangs, Heard, flags, judging, says
from kf2v.errors import Canceled
from kf2v.moderation import Exhibit, Moderator, NotAsked, Part, Undecided
from kf2v.moderation.classifier import Classifier
from kf2v.moderation.flagging import Flagging
from kf2v.moderation.lists import PICTURES, WORDS, Lists
from kf2v.moderation.lists.pictures import hash_of
from kf2v.moderation.outside import Outside
from stage import texture

GOOD, BAD = texture(1, (480, 832)), texture(2, (480, 832))
PROMPT = Exhibit(side="input", part="prompt", model="wan2.2-kf2v-flash")
FRAME = Exhibit(side="output", part="frame", number=30, task_id="t-1", model="wan2.2-kf2v-flash")


def silent() -> None: ...


def is_bad(heard: Heard) -> bool:
    """What a service that knows gore and ``BAD`` thinks of a question."""
    if not heard.picture:
        return "gore" in heard.text
    shown = Image.open(BytesIO(heard.picture))
    return (hash_of(np.asarray(shown)) ^ hash_of(BAD)).bit_count() <= 10


def classify(heard: Heard) -> Act:
    return says("inappropriate" if is_bad(heard) else "pass")


def flag(heard: Heard) -> Act:
    return flags("violence") if is_bad(heard) else flags()


@dataclass
class Bench:
    """Builds one kind of moderator."""

    kind: str
    folder: Path
    stack: ExitStack = field(default_factory=ExitStack)
    censor: Censor | None = None

    def moderator(
        self, *acts: Act | Callable[[Heard], Act], timeout: float = 20.0, key: str = KEY, rest: float = 60.0
    ) -> Moderator:
        """One that objects to gore and ``BAD``; an outside one that does ``acts`` instead."""
        if self.kind == "lists":
            (self.folder / WORDS).write_text("gore\n")
            (self.folder / PICTURES).write_text(f"{hash_of(BAD):016x}\n")
            return Lists(self.folder)
        usual = classify if self.kind == "http" else flag
        self.censor = self.stack.enter_context(judging(Censor(*(acts or (usual,)))))
        return Outside(self._service(self.censor.url, key), timeout=timeout, pause=0.01, rest=rest)

    def _service(self, url: str, key: str) -> Any:
        if self.kind == "http":
            return Classifier(f"{url}/judge", api_key=key)
        return Flagging(base_url=url, model="omni", api_key=key)

    @property
    def heard(self) -> list[Heard]:
        assert self.censor is not None
        return self.censor.heard


@pytest.fixture(params=["lists", "http", "openai"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    one = Bench(request.param, tmp_path)
    with one.stack:
        yield one


@pytest.fixture(params=["http", "openai"])
def outside(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    one = Bench(request.param, tmp_path)
    with one.stack:
        yield one


def test_a_moderator_has_the_name_of_its_setting(bench: Bench) -> None:
    assert bench.moderator().name == bench.kind


def test_a_moderator_objects_to_what_is_bad_and_to_nothing_else(bench: Bench) -> None:
    moderator = bench.moderator()
    assert moderator.reads()
    assert moderator.looks()
    assert moderator.read("a cat", PROMPT, silent) is None
    assert moderator.look(GOOD, FRAME, silent) is None
    for objection in (moderator.read("a gore film", PROMPT, silent), moderator.look(BAD, FRAME, silent)):
        assert objection is not None
        assert objection.ground == "inappropriate"
        assert objection.reason
        assert "gore film" not in objection.reason


def test_a_moderator_is_asked_by_many_at_once(bench: Bench) -> None:
    moderator = bench.moderator()
    texts = ["a cat", "gore"] * 6
    with ThreadPoolExecutor(6) as pool:
        verdicts = list(pool.map(lambda text: moderator.read(text, PROMPT, silent) is not None, texts))
    assert verdicts == [False, True] * 6


def test_a_service_is_told_what_it_needs_to_know(outside: Bench) -> None:
    moderator = outside.moderator()
    moderator.read("一只猫", PROMPT, silent)
    moderator.look(GOOD, FRAME, silent)
    asked, shown = outside.heard
    assert asked.text == "一只猫"
    picture = Image.open(BytesIO(shown.picture))
    assert (picture.format, max(picture.size)) == ("JPEG", 768)
    if outside.kind == "http":
        assert asked.path == "/v1/judge"
        assert asked.body == {
            "stage": "input",
            "kind": "text",
            "text": "一只猫",
            "part": "prompt",
            "model": "wan2.2-kf2v-flash",
        }
        assert {name: value for name, value in shown.body.items() if name != "image"} == {
            "stage": "output",
            "kind": "image",
            "mime_type": "image/jpeg",
            "part": "frame",
            "frame": 30,
            "task_id": "t-1",
            "model": "wan2.2-kf2v-flash",
        }
    else:
        assert asked.path == "/v1/moderations"
        assert asked.body["model"] == "omni"


def good(bench: Bench) -> Act:
    return says("pass") if bench.kind == "http" else flags()


@pytest.mark.parametrize(
    "trouble",
    [
        Answers(status=500, body=b"{}"),
        Answers(status=503, headers={"Retry-After": "0"}),
        Answers(status=429, body=b"{}"),
        Answers(body=b"<html>"),
        Answers(body=b"[]"),
        Answers(body=b"{}"),
        Answers(body=b'{"verdict": "maybe", "results": []}'),
        Answers(body=b'{"results": [{"flagged": "yes", "categories": {}}]}'),
        Answers(body=b'{"verdict": true, "results": "none"}'),
    ],
    ids=lambda act: f"{act.status} {act.body[:24]!r}",
)
def test_a_service_that_stumbles_is_asked_once_more(outside: Bench, trouble: Act) -> None:
    assert outside.moderator(trouble, good(outside)).read("a cat", PROMPT, silent) is None
    assert len(outside.heard) == 2


@pytest.mark.parametrize(
    "trouble",
    [
        Answers(status=500),
        Answers(body=b"nonsense"),
        Answers(body=b"{}"),
        Answers(body=b"[" * 300_000),
        Answers(body=b'{"verdict": "\xff"}'),
        Answers(body=b"{}", headers={"Content-Encoding": "gzip"}),
    ],
    ids=lambda act: f"{act.status} {act.body[:24]!r} {len(act.headers)}",
)
def test_a_service_that_goes_on_stumbling_is_undecided(outside: Bench, trouble: Act) -> None:
    with pytest.raises(Undecided):
        outside.moderator(trouble).look(GOOD, FRAME, silent)
    assert len(outside.heard) == 2


def test_a_service_that_does_not_know_the_key_is_asked_once_and_the_key_is_not_repeated(outside: Bench) -> None:
    with pytest.raises(Undecided, match="401") as caught:
        outside.moderator(key="sk-mistyped").read("a cat", PROMPT, silent)
    assert len(outside.heard) == 1
    assert "sk-mistyped" not in str(caught.value)


@pytest.mark.parametrize("drops", [False, True])
def test_a_service_that_hangs_is_given_up_in_time(outside: Bench, drops: bool) -> None:
    with pytest.raises(Undecided, match=r"no answer within|in time"):
        outside.moderator(Hangs(drops=drops), timeout=0.5).read("a cat", PROMPT, silent)
    assert len(outside.heard) == 1


def of_task(task_id: str, part: Part = "frame") -> Exhibit:
    return Exhibit(side="output", part=part, number=0, task_id=task_id, model="wan2.2-kf2v-flash")


@pytest.mark.parametrize("drops", [False, True])
def test_a_service_that_hangs_is_waited_for_once_by_a_task_and_by_the_next_one_again(
    outside: Bench, drops: bool
) -> None:
    moderator = outside.moderator(Hangs(drops=drops), timeout=0.5)
    with pytest.raises(Undecided):
        moderator.look(GOOD, of_task("t-1", "first_frame"), silent)
    for _ in range(17):
        with pytest.raises(NotAsked, match="less than 60 s ago"):
            moderator.look(GOOD, of_task("t-1"), silent)
    with pytest.raises(NotAsked):
        moderator.read("a cat", of_task("t-1", "actual_prompt"), silent)
    assert len(outside.heard) == 1
    with pytest.raises(Undecided):
        moderator.look(GOOD, of_task("t-2"), silent)
    assert len(outside.heard) == 2


def test_a_service_that_hangs_is_waited_for_once_by_a_call_and_by_the_next_one_again(outside: Bench) -> None:
    def of_call(request_id: str) -> Exhibit:
        return Exhibit(side="input", part="prompt", request_id=request_id)

    moderator = outside.moderator(Hangs(), good(outside), timeout=3)
    with pytest.raises(Undecided):
        moderator.read("a cat", of_call("r-1"), silent)
    with pytest.raises(NotAsked):
        moderator.read("another cat", of_call("r-1"), silent)
    assert moderator.read("another cat", of_call("r-2"), silent) is None


def test_what_belongs_to_nothing_is_asked_about_each_time(outside: Bench) -> None:
    moderator = outside.moderator(Hangs(), good(outside), timeout=3)
    with pytest.raises(Undecided):
        moderator.read("a cat", PROMPT, silent)
    assert moderator.read("another cat", PROMPT, silent) is None


def test_a_service_that_was_left_alone_is_asked_again_and_trusted_once_it_answers(outside: Bench) -> None:
    moderator = outside.moderator(Hangs(), good(outside), timeout=3, rest=0.0)
    with pytest.raises(Undecided):
        moderator.look(GOOD, of_task("t-1"), silent)
    assert moderator.look(GOOD, of_task("t-1"), silent) is None
    assert moderator.look(GOOD, of_task("t-1"), silent) is None
    assert len(outside.heard) == 3


def test_silence_about_a_preview_is_none_about_the_film(outside: Bench) -> None:
    moderator = outside.moderator(Hangs(), good(outside), timeout=3)
    with pytest.raises(Undecided):
        moderator.look(GOOD, of_task("t-1", "preview"), silent)
    with pytest.raises(NotAsked):
        moderator.look(GOOD, of_task("t-1", "preview"), silent)
    assert moderator.look(GOOD, of_task("t-1"), silent) is None


def test_a_service_that_asks_for_long_patience_in_vain_is_left_alone_as_well(outside: Bench) -> None:
    moderator = outside.moderator(Answers(status=503, headers={"Retry-After": "0.6"}), timeout=5)
    with pytest.raises(Undecided, match="503"):
        moderator.look(GOOD, of_task("t-1"), silent)
    with pytest.raises(NotAsked):
        moderator.look(GOOD, of_task("t-1"), silent)
    assert len(outside.heard) == 2


@pytest.mark.parametrize("trouble", [Answers(status=400), Answers(status=500), Answers(body=b"<html>")])
def test_a_service_that_refuses_one_picture_at_once_is_asked_about_the_next(outside: Bench, trouble: Act) -> None:
    moderator = outside.moderator(trouble, timeout=60)
    for _ in range(2):
        with pytest.raises(Undecided) as caught:
            moderator.look(GOOD, of_task("t-1"), silent)
        assert not isinstance(caught.value, NotAsked)


def test_nobody_there_is_undecided(outside: Bench) -> None:
    moderator = outside.moderator()
    outside.stack.close()
    with pytest.raises(Undecided, match="cannot be reached"):
        moderator.read("a cat", PROMPT, silent)


def test_no_redirect_is_followed_with_the_key(outside: Bench) -> None:
    with judging(Censor(good(outside))) as elsewhere:
        away = Answers(status=307, headers={"Location": f"{elsewhere.url}/judge"})
        with pytest.raises(Undecided, match="307"):
            outside.moderator(away).read("a cat", PROMPT, silent)
        assert elsewhere.heard == []


def test_work_that_is_called_off_does_not_wait_for_a_service(outside: Bench) -> None:
    asked = threading.Event()

    def call_off() -> None:
        if outside.heard:
            asked.set()
            raise Canceled

    with pytest.raises(Canceled):
        outside.moderator(Hangs(), timeout=60).look(GOOD, FRAME, call_off)
    assert asked.is_set()


def test_a_classifier_may_say_that_somebody_else_has_rights_to_it(tmp_path: Path) -> None:
    bench = Bench("http", tmp_path)
    with bench.stack:
        objection = bench.moderator(says("ip", "a mouse " + "m" * 1000)).look(GOOD, FRAME, silent)
    assert objection is not None
    assert objection.ground == "ip"
    assert objection.reason.startswith("a mouse")
    assert len(objection.reason) == 200


def test_what_was_flagged_is_named(tmp_path: Path) -> None:
    bench = Bench("openai", tmp_path)
    with bench.stack:
        objection = bench.moderator(flags("sexual/minors", "violence")).look(GOOD, FRAME, silent)
    assert objection is not None
    assert objection.reason == "flagged: sexual/minors, violence"


@pytest.mark.parametrize("categories", [None, "violence", ["violence"], 3, {"violence": "very"}, {"violence": {}}])
def test_what_is_flagged_is_refused_whatever_the_categories_look_like(tmp_path: Path, categories: Any) -> None:
    bench, result = Bench("openai", tmp_path), {"flagged": True, "categories": categories}
    with bench.stack:
        answer = Answers(body=json.dumps({"results": [{}, result]}).encode())
        objection = bench.moderator(answer).look(GOOD, FRAME, silent)
    assert objection is not None
    assert objection.reason == "flagged: no category named"


@pytest.mark.parametrize("kind", ["http", "openai"])
def test_a_compressed_answer_is_neither_asked_for_nor_unpacked(tmp_path: Path, kind: str) -> None:
    answer = says("pass") if kind == "http" else flags()
    bench = Bench(kind, tmp_path)
    with bench.stack, pytest.raises(Undecided, match="answers, but not with"):
        bench.moderator(Answers(body=gzip.compress(answer.body), headers={"Content-Encoding": "gzip"})).read(
            "a cat", PROMPT, silent
        )


@pytest.mark.parametrize("kind", ["http", "openai"])
@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_without_end_is_not_read_to_its_end(tmp_path: Path, kind: str, status: int) -> None:
    bench = Bench(kind, tmp_path)
    with bench.stack, pytest.raises(Undecided, match=r"longer than|status 400"):
        bench.moderator(Answers(status=status, body=b" " * (5 * 1024 * 1024))).read("a cat", PROMPT, silent)

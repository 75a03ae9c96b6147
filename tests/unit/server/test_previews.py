"""Estimate, validate and rewrite, seen from outside: they say what a task would come to and create nothing."""

import asyncio
import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from PIL import Image

from censor import KEY as CENSOR_KEY
from censor import Answers, Censor, Heard, judging, says
from censor import Hangs as Silent
from gallery import open_gallery
from house import House, Open, picture, submission
from kf2v.admission.keys import Scope
from kf2v.store import Rights
from language_model import KEY, Hangs, LanguageModel, Refuses, Says, listening

ESTIMATE, VALIDATE, REWRITE = "/kf2v/v1/estimate", "/kf2v/v1/validate", "/kf2v/v1/rewrite"


def inline(data: bytes | None = None) -> str:
    return "data:image/png;base64," + base64.b64encode(picture() if data is None else data).decode()


def shot(**changes: Any) -> dict[str, Any]:
    """A body whose frames come along."""
    return submission(input__first_frame_url=inline(), input__last_frame_url=inline(), **changes)


def sized(
    model: str = "wan2.2-kf2v-flash", *, width: int = 750, height: int = 1000, **parameters: Any
) -> dict[str, Any]:
    """A body that tells the size of its first frame instead of showing it."""
    return {"model": model, "input": {"width": width, "height": height}, "parameters": parameters}


def ask(house: House, path: str, body: Any, **request: Any) -> dict[str, Any]:
    answer = house.call("POST", path, json=body, **request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(house: House, path: str, body: Any, status: int = 400, **request: Any) -> dict[str, Any]:
    answer = house.call("POST", path, json=body, **request)
    assert answer.status_code == status, answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    return answer.json()


def mistakes(house: House, body: Any, query: str = "", **request: Any) -> list[dict[str, str]]:
    told = refused(house, f"{VALIDATE}{query}", body, **request)
    assert (told["code"], told["message"]) == (told["mistakes"][0]["code"], told["mistakes"][0]["message"])
    return told["mistakes"]


def nothing_is_left(house: House) -> bool:
    listed = house.call("GET", "/api/v1/tasks").json()
    return listed["total"] == 0 and not list(house.blobs.walk()) and not house.run(house.store.lines())


@pytest.fixture
def visited(open_house: Open) -> Iterator[tuple[House, str]]:
    """A house that may fetch from a host with pictures, and that host."""
    with open_gallery() as gallery:
        yield open_house(fetch_allow_hosts="127.0.0.1"), gallery


@pytest.mark.parametrize(
    ("width", "height", "resolution", "size"),
    [
        (750, 1000, "720P", (816, 1104)),  # the reference's own example
        (1280, 720, "720P", (1280, 720)),
        (832, 480, "480P", (832, 480)),
        (1920, 1080, "1080P", (1920, 1072)),
        (360, 2000, "480P", (256, 1488)),
    ],
)
def test_an_estimate_tells_the_exact_size(
    house: House, width: int, height: int, resolution: str, size: tuple[int, int]
) -> None:
    told = ask(house, ESTIMATE, sized(width=width, height=height, resolution=resolution))
    assert (told["width"], told["height"]) == size
    assert told["seconds"] == 5
    assert nothing_is_left(house)


def test_an_estimate_tells_price_and_source_and_what_was_chosen(house: House) -> None:
    told = ask(house, ESTIMATE, sized("wan2.1-kf2v-plus", seed=7))
    assert (told["model"], told["resolution"], told["engine"]) == ("wan2.1-kf2v-plus", "720P", "still")
    assert (told["cost_cny"], told["cost_usd"]) == ("3.66962", "0.50")
    assert told["price"]["date"] == "2026-05-30"
    assert (told["seed"], told["seed_rule"]) == (7, "given")
    told = ask(house, ESTIMATE, sized())
    assert ("seed" in told, told["seed_rule"]) == (False, "random")
    assert (told["cost_cny"], "cost_usd" in told) == ("1.00", False)


def test_an_estimate_knows_times_only_where_there_is_something_to_go_by(open_house: Open) -> None:
    house = open_house()
    told = ask(house, ESTIMATE, sized(resolution="480P"))
    assert "run_seconds" not in told
    assert "wait_seconds" not in told
    task_id = house.created()
    attempt = house.start(task_id)
    house.clock.advance(12_000)
    assert attempt == 1
    house.lose_worker()
    house.finish(task_id)
    assert ask(house, ESTIMATE, sized(resolution="480P"))["run_seconds"] == 12.0
    assert "run_seconds" not in ask(house, ESTIMATE, sized(resolution="720P"))


def test_an_estimate_measures_the_first_frame_as_a_task_would(house: House) -> None:
    upright = io.BytesIO()
    image = Image.new("RGB", (1000, 750), (90, 120, 30))
    exif = image.getexif()
    exif[0x0112] = 6  # lies on its side
    image.save(upright, "JPEG", exif=exif)
    told = ask(
        house,
        ESTIMATE,
        shot(parameters__resolution="720P") | {"input": {"first_frame_url": inline(upright.getvalue())}},
    )
    assert (told["width"], told["height"]) == (816, 1104)


def test_an_estimate_fetches_a_frame(visited: tuple[House, str]) -> None:
    house, gallery = visited
    body = submission(input__first_frame_url=f"{gallery}/first_frame.png")
    assert (ask(house, ESTIMATE, body)["width"], ask(house, ESTIMATE, body)["height"]) == (832, 480)
    body = submission(input__first_frame_url=f"{gallery}/nothing.png")
    told = refused(house, ESTIMATE, body)
    assert told["code"] == "InvalidURL"
    assert "(first_frame_url)" in told["message"]


@pytest.mark.parametrize("path", [ESTIMATE, REWRITE, f"{VALIDATE}?frames=true"])
@pytest.mark.parametrize("url", ["http://127.0.0.1/a.png", "http://169.254.169.254/latest", "http://[::1]/a.png"])
def test_nothing_is_fetched_from_where_no_task_may_fetch(house: House, path: str, url: str) -> None:
    told = refused(house, path, submission(input__first_frame_url=url, input__last_frame_url=inline()))
    assert told["code"] == "InvalidURL"
    assert "not public" in told["message"]


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        (sized("wan9"), "InvalidParameter", "wan9"),
        (sized(resolution="4K"), "InvalidParameter", "parameters.resolution"),
        (sized("wan2.1-kf2v-plus", resolution="480P"), "InvalidParameter", "parameters.resolution"),
        (sized(seed=-1), "InvalidParameter", "parameters.seed"),
        (sized(width=0), "InvalidParameter", "input.width"),
        (sized(width=359), "InvalidFile.Resolution", "359x1000"),
        (sized(height=2001), "InvalidFile.Resolution", "750x2001"),
        ({"model": "wan2.2-kf2v-flash"}, "InvalidParameter", "first_frame_url"),
        ({"model": "wan2.2-kf2v-flash", "input": {"width": 400}}, "InvalidParameter", "first_frame_url"),
        ({"input": {"width": 400, "height": 400}}, "InvalidParameter", "model"),
        (shot() | {"input": {"first_frame_url": "ftp://x/y"}}, "InvalidParameter", "input.first_frame_url"),
        (shot() | {"input": {"first_frame_url": inline(b"no picture")}}, "InvalidImage.FileFormat", "first_frame_url"),
        ([], "InvalidParameter", "JSON object"),
    ],
)
def test_an_estimate_of_what_cannot_be_made_is_refused_as_a_task_would_be(
    house: House, body: Any, code: str, named: str
) -> None:
    told = refused(house, ESTIMATE, body)
    assert set(told) == {"code", "message", "request_id"}
    assert told["code"] == code
    assert named in told["message"]


def test_a_submission_without_mistakes_is_valid_and_not_made(house: House) -> None:
    told = ask(house, VALIDATE, shot())
    assert (told["valid"], told["model"], told["resolution"]) == (True, "wan2.2-kf2v-flash", "480P")
    assert "first_frame" not in told
    told = ask(house, f"{VALIDATE}?frames=true", shot())
    assert told["first_frame"] == told["last_frame"] == {"width": 400, "height": 400}
    assert nothing_is_left(house)


def test_frames_are_fetched_only_on_request(visited: tuple[House, str]) -> None:
    house, gallery = visited
    body = submission(
        input__first_frame_url=f"{gallery}/first_frame.png", input__last_frame_url=f"{gallery}/nothing.png"
    )
    assert ask(house, VALIDATE, body)["valid"] is True
    assert ask(house, f"{VALIDATE}?frames=false", body)["valid"] is True
    [mistake] = mistakes(house, body, "?frames=true")
    assert (mistake["code"], mistake["field"]) == ("InvalidURL", "input.last_frame_url")
    assert "404" in mistake["message"]


def test_all_mistakes_are_told_at_once(house: House) -> None:
    body = {
        "model": "wan2.1-kf2v-plus",
        "input": {"first_frame_url": "oss://nowhere", "last_frame_url": "ftp://x/y", "prompt": 5},
        "parameters": {"resolution": "480P", "duration": 6, "seed": -1, "watermark": "yes"},
    }
    assert {mistake["field"] for mistake in mistakes(house, body)} == {
        "input.first_frame_url",
        "input.last_frame_url",
        "input.prompt",
        "parameters.resolution",
        "parameters.duration",
        "parameters.seed",
        "parameters.watermark",
    }
    assert nothing_is_left(house)


def test_both_frames_are_judged(house: House) -> None:
    small, noise = inline(picture(size=(359, 400))), inline(b"GIF89a")
    body = submission(input__first_frame_url=small, input__last_frame_url=noise)
    assert ask(house, VALIDATE, body)["valid"] is True
    assert [(mistake["code"], mistake["field"]) for mistake in mistakes(house, body, "?frames=true")] == [
        ("InvalidFile.Resolution", "input.first_frame_url"),
        ("InvalidImage.FileFormat", "input.last_frame_url"),
    ]


def test_an_unknown_model_does_not_hide_other_mistakes(house: House) -> None:
    found = mistakes(house, submission(model="wan9", parameters__seed="x"))
    assert {mistake.get("field") for mistake in found} == {"model", "parameters.seed"}
    found = mistakes(house, submission(model=..., input=...))
    assert {mistake.get("field") for mistake in found} == {"model", "input"}


def test_data_that_is_none_is_a_mistake_without_looking(house: House) -> None:
    body = submission(input__first_frame_url="data:image/png;base64,%%%", input__last_frame_url=inline())
    [mistake] = mistakes(house, body)
    assert mistake["field"] == "input.first_frame_url"


def test_what_is_no_json_is_one_mistake(house: House) -> None:
    answer = house.call("POST", VALIDATE, content=b"{")
    assert answer.status_code == 400
    assert [mistake["code"] for mistake in answer.json()["mistakes"]] == ["InvalidParameter"]


def test_mistakes_are_told_where_creating_would_take_them(open_house: Open) -> None:
    house = open_house(validation="cloud")
    assert [m["field"] for m in mistakes(house, shot(parameters__resolution="4K"))] == ["parameters.resolution"]
    assert refused(house, ESTIMATE, sized(resolution="4K"))["code"] == "InvalidParameter"


def test_an_odd_wish_about_frames_is_refused(house: House) -> None:
    assert "frames" in refused(house, f"{VALIDATE}?frames=maybe", shot())["message"]


def test_the_rules_are_previewed(house: House) -> None:
    told = ask(house, REWRITE, shot(parameters__prompt_extend=False))
    assert told["prompt"] == "the camera rises"
    assert told["actual_prompt"].startswith("the camera rises. ")
    assert (told["rewriter"], told["rewritten"]) == ("rules", True)
    assert nothing_is_left(house)
    assert ask(house, REWRITE, shot(input__prompt=None))["actual_prompt"]


def test_a_language_model_is_previewed_and_shown_both_frames(open_house: Open) -> None:
    answer = "A ball rolls. It turns from red to blue while the camera holds still."
    with listening(LanguageModel(Says(text=answer))) as model:
        house = open_house(
            rewriter="openai", rewrite_base_url=model.base_url, rewrite_model="tiny", rewrite_api_key=KEY
        )
        told = ask(house, REWRITE, shot(input__prompt="A ball rolls."))
        assert (told["actual_prompt"], told["rewriter"]) == (answer, "openai")
        assert [len(heard.pictures) for heard in model.heard] == [2]


def test_frames_are_inspected_where_they_are_looked_at(open_house: Open) -> None:
    def blocks(heard: Heard) -> Answers:
        return says("ip" if heard.body["part"] == "last_frame" else "pass")

    with judging(Censor(blocks)) as censor:
        house = open_house(moderation="http", moderation_url=censor.url, moderation_api_key=CENSOR_KEY)
        assert [mistake["code"] for mistake in mistakes(house, shot(), "?frames=true")] == ["IPInfringementSuspect"]
        assert refused(house, REWRITE, shot())["code"] == "IPInfringementSuspect"
        assert ask(house, VALIDATE, shot())["valid"] is True


@pytest.mark.parametrize("path", [f"{VALIDATE}?frames=true", REWRITE])
def test_a_dry_run_waits_once_for_a_classifier_that_hangs_at_the_prompt_and_once_at_what_it_looks_at(
    open_house: Open, path: str
) -> None:
    with judging(Censor(Silent())) as censor:
        house = open_house(
            moderation="http", moderation_url=censor.url, moderation_api_key=CENSOR_KEY, moderation_timeout=0.5
        )
        ask(house, path, shot(input__prompt="A ball rolls."))
        assert [heard.body["part"] for heard in censor.heard] == ["prompt", "first_frame"]


def test_a_blocked_frame_is_not_shown_to_a_language_model_nor_its_blocked_words_to_the_caller(open_house: Open) -> None:
    def blocks(heard: Heard) -> Answers:
        return says("inappropriate" if "gore" in heard.text or heard.body["part"] == blocked else "pass")

    blocked = "first_frame"
    with judging(Censor(blocks)) as censor, listening(LanguageModel(Says(text="gore everywhere"))) as model:
        house = open_house(
            moderation="http",
            moderation_url=censor.url,
            moderation_api_key=CENSOR_KEY,
            rewriter="openai",
            rewrite_base_url=model.base_url,
            rewrite_model="m",
            rewrite_api_key=KEY,
        )
        assert refused(house, REWRITE, shot())["code"] == "DataInspectionFailed"
        assert model.heard == []
        blocked = "nothing"
        assert refused(house, REWRITE, shot())["code"] == "DataInspectionFailed"
        assert len(model.heard) == 1


@pytest.mark.parametrize("on_failure", ["keep", "fail"])
def test_a_language_model_that_fails_is_told_without_its_address(open_house: Open, on_failure: str) -> None:
    with listening(LanguageModel(Refuses(status=500, message="out of memory"))) as model:
        house = open_house(
            rewriter="openai",
            rewrite_base_url=model.base_url,
            rewrite_model="tiny",
            rewrite_api_key=KEY,
            rewrite_on_failure=on_failure,
        )
        answer = house.call("POST", REWRITE, json=shot(input__prompt="A ball rolls."))
    assert model.base_url not in answer.text
    assert "out of memory" not in answer.text
    if on_failure == "fail":
        assert (answer.status_code, answer.json()["code"]) == (500, "RewriteFailed")
    else:
        told = answer.json()
        assert (told["actual_prompt"], told["rewritten"]) == ("A ball rolls.", False)


def test_whoever_comes_when_all_places_are_taken_is_told_when_to_come_again(open_house: Open) -> None:
    model = LanguageModel(Hangs())
    with listening(model):
        house = open_house(
            rewriter="openai",
            rewrite_base_url=model.base_url,
            rewrite_model="tiny",
            rewrite_api_key=KEY,
            rewrite_timeout=0.5,
        )

        async def crowd() -> list[httpx2.Response]:
            headers = {"Authorization": f"Bearer {house.key}"}
            asked = (house.client.post(REWRITE, json=shot(), headers=headers) for _ in range(6))
            return await asyncio.gather(*asked)

        answers = house.run(crowd())
        model.closing.set()
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429]
    [refused] = [answer for answer in answers if answer.status_code == 429]
    assert refused.json()["code"] == "Throttling.RateQuota"
    assert int(refused.headers["retry-after"]) >= 1
    assert [answer.json()["rewritten"] for answer in answers if answer.status_code == 200] == [False] * 5
    assert len(model.heard) == 5


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        (submission(input__last_frame_url=...), "InvalidParameter", "last_frame_url"),
        (submission(model="wan9"), "InvalidParameter", "wan9"),
        (submission(model=...), "InvalidParameter", "model"),
        (submission(input__first_frame_url=inline(), input__last_frame_url="oss://no"), "InvalidParameter", "oss://no"),
        (
            submission(input__first_frame_url=inline(), input__last_frame_url=inline(b"%PDF-1.7")),
            "InvalidImage.FileFormat",
            "(last_frame_url)",
        ),
    ],
)
def test_a_preview_of_what_cannot_be_made_is_refused(house: House, body: Any, code: str, named: str) -> None:
    told = refused(house, REWRITE, body)
    assert told["code"] == code
    assert named in told["message"]


@pytest.mark.parametrize("path", [ESTIMATE, VALIDATE, REWRITE])
def test_they_need_a_key_that_may_create(house: House, path: str) -> None:
    assert refused(house, path, shot(), 401, key=None)["code"] == "InvalidApiKey"
    house.run(house.front.keys.ensure("sk-reads-only", "mine", Rights(scopes=frozenset({Scope.READ}))))
    assert "create" in refused(house, path, shot(), 403, key="sk-reads-only")["message"]


@pytest.mark.parametrize("path", [ESTIMATE, VALIDATE, REWRITE])
def test_a_body_beyond_the_limit_is_not_read(house: House, path: str) -> None:
    answer = house.call("POST", path, content=b" " * (31 * 1024 * 1024))
    assert (answer.status_code, answer.json()["code"]) == (413, "BadRequest.TooLarge")


def test_another_accounts_upload_is_no_frame(house: House) -> None:
    policy = house.call("GET", "/api/v1/uploads?action=getPolicy&model=wan2.2-kf2v-flash").json()["data"]
    form = {
        "OSSAccessKeyId": policy["oss_access_key_id"],
        "Signature": policy["signature"],
        "policy": policy["policy"],
        "key": f"{policy['upload_dir']}/a.png",
        "success_action_status": "200",
    }
    assert house.call("POST", "/uploads", key=None, data=form, files={"file": ("a.png", picture())}).status_code == 200
    body = submission(input__first_frame_url=f"oss://{form['key']}", input__last_frame_url=inline())
    assert ask(house, f"{VALIDATE}?frames=true", body)["first_frame"] == {"width": 400, "height": 400}
    assert ask(house, ESTIMATE, body)["width"] == 624
    [mistake] = mistakes(house, body, key=house.other_key)
    assert mistake["field"] == "input.first_frame_url"
    assert refused(house, ESTIMATE, body, key=house.other_key)["code"] == "InvalidParameter"

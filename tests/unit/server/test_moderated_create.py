"""Prompts that moderation does not let pass, seen from outside; the last two with a service that takes its time."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from censor import KEY, Answers, Censor, Hangs, judging, says
from house import House, Open, submission
from kf2v.moderation.lists import WORDS

HEADER = "X-DashScope-DataInspection"
INAPPROPRIATE = ("DataInspectionFailed", "Input data may contain inappropriate content.")
RIGHTS = ("IPInfringementSuspect", "Input data is suspected of being involved in IP infringement.")


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """The list of words of the houses that are opened."""
    path = tmp_path / "moderation" / WORDS
    path.parent.mkdir()
    path.write_text("gore\nip: mickey mouse\n斩首\n")
    return path


def told(answer: Any) -> tuple[str, str]:
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"code", "message", "request_id"}
    return answer.json()["code"], answer.json()["message"]


def nothing_was_made(house: House) -> bool:
    listed = house.call("GET", "/api/v1/tasks").json()
    return listed["total"] == 0 and not list(house.blobs.walk())


@pytest.mark.parametrize(
    ("prompt", "refusal"), [("A GORE film", INAPPROPRIATE), ("斩首", INAPPROPRIATE), ("Mickey Mouse waves", RIGHTS)]
)
@pytest.mark.parametrize("validation", ["strict", "cloud"])
def test_a_blocked_prompt_is_refused_and_no_task_is_made(
    open_house: Open, words: Path, prompt: str, refusal: tuple[str, str], validation: str
) -> None:
    house = open_house(validation=validation)
    inline = "data:image/png;base64,iVBORw0KGgo="
    assert told(house.create(submission(input__prompt=prompt, input__first_frame_url=inline))) == refusal
    assert nothing_was_made(house)


@pytest.mark.parametrize("call", ["estimate", "rewrite"])
def test_a_blocked_prompt_is_not_previewed(house: House, words: Path, call: str) -> None:
    body = submission(input__prompt="gore")
    assert told(house.call("POST", f"/kf2v/v1/{call}", json=body)) == INAPPROPRIATE


@pytest.mark.parametrize("validation", ["strict", "cloud"])
def test_a_blocked_prompt_is_one_of_the_mistakes_of_a_submission(
    open_house: Open, words: Path, validation: str
) -> None:
    house = open_house(validation=validation)
    body = submission(input__prompt="gore", parameters__resolution="4K", parameters__seed=-1)
    answer = house.call("POST", "/kf2v/v1/validate", json=body, headers={"X-Kf2v-Callback": "http://10.0.0.1/"})
    assert answer.status_code == 400
    codes = [mistake["code"] for mistake in answer.json()["mistakes"]]
    assert sorted(codes) == ["DataInspectionFailed", *["InvalidParameter"] * 3]
    assert nothing_was_made(house)


def test_other_prompts_pass_and_so_does_what_is_not_wanted_to_be_seen(house: House, words: Path) -> None:
    house.created(submission(input__prompt="the camera rises", input__negative_prompt="gore"))
    house.created(submission(input__prompt=""))
    house.created(submission(input__prompt=None))


def test_an_edited_list_counts_for_the_next_prompt(house: House, words: Path) -> None:
    house.created(submission(input__prompt="a ball rolls"))
    words.write_text("ball\n")
    assert told(house.create(submission(input__prompt="a ball rolls"))) == INAPPROPRIATE
    house.created(submission(input__prompt="gore"))


def test_without_moderation_everything_passes(open_house: Open, words: Path) -> None:
    open_house(moderation="off").created(submission(input__prompt="gore"), headers={HEADER: "enable"})


@pytest.mark.parametrize("inspects", ["both", "input", "output", "request"])
@pytest.mark.parametrize("header", [None, "disable", "enable", '{"input":"cip"}', '{"output":"cip"}'])
def test_a_caller_can_wish_for_inspection_and_never_for_none(
    open_house: Open, words: Path, inspects: str, header: str | None
) -> None:
    house = open_house(moderation_inspects=inspects)
    headers = {} if header is None else {HEADER: header}
    answer = house.create(submission(input__prompt="gore"), headers=headers)
    wished = header in ("enable", '{"input":"cip"}')
    if inspects in ("both", "input") or wished:
        assert told(answer) == INAPPROPRIATE
    else:
        assert answer.status_code == 200


def test_a_wish_travels_with_the_task(house: House) -> None:
    task_id = house.created(headers={HEADER: '{"output":"cip"}'})
    task = house.run(house.store.get(task_id))
    assert task is not None
    assert task.job.inspect == ("output",)


@pytest.mark.parametrize("header", ["yes", "{", '{"input":"please"}'])
@pytest.mark.parametrize("validation", ["strict", "cloud"])
def test_a_wish_that_is_none_is_refused(open_house: Open, header: str, validation: str) -> None:
    house = open_house(validation=validation)
    code, message = told(house.create(headers={HEADER: header}))
    assert code == "InvalidParameter"
    assert HEADER in message
    assert nothing_was_made(house)


def asking(censor: Censor, **changes: Any) -> dict[str, Any]:
    return {"moderation": "http", "moderation_url": censor.url, "moderation_api_key": KEY, **changes}


@pytest.mark.parametrize(("verdict", "refusal"), [("inappropriate", INAPPROPRIATE), ("ip", RIGHTS)])
def test_a_classifier_refuses_prompts(open_house: Open, verdict: str, refusal: tuple[str, str]) -> None:
    with judging(Censor(says(verdict))) as censor:
        house = open_house(**asking(censor))
        assert told(house.create()) == refusal
    (heard,) = censor.heard
    assert (heard.text, heard.body["stage"], heard.body["part"]) == ("the camera rises", "input", "prompt")


def test_a_classifier_that_fails_lets_pass_or_fails_as_the_owner_wants(open_house: Open) -> None:
    with judging(Censor(Answers(status=404))) as censor:
        assert open_house(**asking(censor)).create().status_code == 200
        house = open_house(**asking(censor, moderation_on_failure="fail"))
        answer = house.create()
        assert (answer.status_code, answer.json()["code"]) == (500, "InternalError")
        assert nothing_was_made(house)


def test_polls_are_answered_while_a_classifier_is_waited_for(open_house: Open) -> None:
    with judging(Censor(says("pass"), Hangs())) as censor:
        house = open_house(**asking(censor, moderation_timeout=30))
        task_id = house.created()

        async def polled() -> int:
            slow = asyncio.create_task(_create(house))
            await asyncio.to_thread(_until_it_was_asked_twice, censor)
            answer = await house.client.get(f"/api/v1/tasks/{task_id}", headers=_key(house))
            assert not slow.done()
            slow.cancel()
            return answer.status_code

        assert house.run(polled()) == 200


def test_an_undecided_prompt_is_in_the_log_of_its_task(open_house: Open) -> None:
    with judging(Censor(Answers(status=404))) as censor:
        house = open_house(**asking(censor))
        task_id = house.created()
        again = house.created(headers={"Idempotency-Key": "k"})
        assert house.created(headers={"Idempotency-Key": "k"}) == again
    for one in (task_id, again):
        (line,) = house.call("GET", f"/kf2v/v1/tasks/{one}").json()["task"]["log"]
        assert line["text"] == "Moderation (http) could not decide on the prompt, so it passed."


def test_a_chain_waits_once_for_a_classifier_that_hangs(open_house: Open) -> None:
    with judging(Censor(Hangs())) as censor:
        house = open_house(**asking(censor, moderation_timeout=0.5))
        frames = [f"https://example.com/{name}.png" for name in "abcdefgh"]
        body = {"model": "wan2.2-kf2v-flash", "input": {"frames": frames, "prompt": "on and on"}}
        made = house.call("POST", "/kf2v/v1/chains", json=body).json()["tasks"]
        assert len(made) == 7
        assert len(censor.heard) == 1
        logs = [house.call("GET", f"/kf2v/v1/tasks/{one['task_id']}").json()["task"]["log"] for one in made]
        assert [line["text"] for log in logs for line in log] == [
            "Moderation (http) could not decide on the prompt, so it passed.",
            *["Moderation (http) was silent just before and not asked about the prompt, so it passed."] * 6,
        ]
        house.created()
        assert len(censor.heard) == 2


def test_an_account_with_limits_has_its_prompts_read_side_by_side(open_house: Open) -> None:
    together = threading.Barrier(2, timeout=20)

    def both(heard: Any) -> Answers:
        together.wait()
        return says("pass")

    with judging(Censor(both)) as censor:
        house = open_house(**asking(censor, limits="cloud"))

        async def pair() -> list[int]:
            return await asyncio.gather(_create(house), _create(house))

        assert house.run(pair()) == [200, 200]
        assert house.create().status_code == 429
        assert len(censor.heard) == 2


def test_what_is_refused_by_moderation_counts_for_nothing(open_house: Open, words: Path) -> None:
    house = open_house(limits="cloud")
    for _ in range(5):
        assert told(house.create(submission(input__prompt="gore"), headers={"Idempotency-Key": "k"})) == INAPPROPRIATE
    house.created(headers={"Idempotency-Key": "k"})


def test_prompts_that_find_no_moderator_free_in_time_are_undecided(open_house: Open) -> None:
    with judging(Censor(Hangs())) as censor:
        house = open_house(**asking(censor, moderation_timeout=0.5, moderation_on_failure="fail"))

        async def crowd() -> list[int]:
            return await asyncio.gather(*(_create(house) for _ in range(20)))

        assert set(house.run(crowd())) == {500}
        assert len(censor.heard) < 20


def test_the_owners_words_count_while_a_classifier_keeps_everybody_waiting(open_house: Open, words: Path) -> None:
    with judging(Censor(Hangs())) as censor:
        house = open_house(**asking(censor, moderation="http,lists", moderation_timeout=0.5))

        async def crowd() -> list[int]:
            return await asyncio.gather(*(_create(house, "gore") for _ in range(20)))

        assert set(house.run(crowd())) == {400}


def _until_it_was_asked_twice(censor: Censor) -> None:
    while len(censor.heard) < 2:
        time.sleep(0.01)


def _key(house: House) -> dict[str, str]:
    return {"Authorization": f"Bearer {house.key}"}


async def _create(house: House, prompt: str = "the camera rises") -> int:
    path = "/api/v1/services/aigc/image2video/video-synthesis"
    headers = {"X-DashScope-Async": "enable", **_key(house)}
    return (await house.client.post(path, json=submission(input__prompt=prompt), headers=headers)).status_code

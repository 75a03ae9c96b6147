"""Engines, workers and the state of the house."""

from pathlib import Path
from typing import Any

import pytest

from house import House, Open
from kf2v.admission.keys import OWNER
from kf2v.assembly import engines
from kf2v.clock import SECOND
from kf2v.engines import EngineUnavailable
from kf2v.settings import Settings
from kf2v.wire.ext import system as wire


def asked(house: House, path: str) -> dict[str, Any]:
    house.run(house.front.keys.ensure("sk-of-the-owner", "mine", OWNER))
    answer = house.call("GET", f"/kf2v/v1/{path}", key="sk-of-the-owner")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_engines_say_which_models_they_serve(open_house: Open) -> None:
    house = open_house(region="singapore", fallback_engine="morph")
    first, second = asked(house, "engines")["engines"]
    assert (first["engine"], first["fallback"], first["ready"]) == ("still", False, True)
    assert (second["engine"], second["fallback"]) == ("morph", True)
    assert first["models"]
    assert all(model["ready"] for model in first["models"])


def test_an_engine_that_is_left_alone_says_so_at_once(open_house: Open) -> None:
    house = open_house(fallback_engine="morph", breaker_failures=1, routes={"*": ("still", "morph")})
    assert [engine["breaker"] for engine in asked(house, "engines")["engines"]] == ["closed", "closed"]
    house.front.routing.failed("still", "wan2.2-kf2v-flash")
    assert [engine["breaker"] for engine in asked(house, "engines")["engines"]] == ["open", "closed"]


def test_an_engine_that_cannot_work_says_why_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = EngineUnavailable("There is no GPU.", fix="Put one in.")
    monkeypatch.setitem(engines.READINESS, "still", lambda _: lacking)
    settings = Settings(data_dir=tmp_path, engine="still", fallback_engine="morph", workers=0)
    standings = engines.engine_standings(settings)
    assert [(standing.engine, standing.reason, standing.fix) for standing in standings] == [
        ("still", "There is no GPU.", "Put one in."),
        ("morph", None, None),
    ]
    assert standings[0].models == ()


def test_reasons_are_for_the_owner(open_house: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """They name places and addresses of his."""
    lacking = EngineUnavailable("Nothing is in /srv/weights.", fix="Fetch it.")
    monkeypatch.setitem(engines.READINESS, "still", lambda _: lacking)
    house = open_house()
    told = house.call("GET", "/kf2v/v1/engines").json()["engines"][0]
    assert told["ready"] is False
    assert told.keys() & {"reason", "fix"} == set()
    assert asked(house, "engines")["engines"][0]["reason"] == "Nothing is in /srv/weights."


def test_a_model_that_an_engine_lacks_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = EngineUnavailable("Its weights are not here.", fix="Fetch them.")
    monkeypatch.setitem(engines.SHORTCOMINGS, "still", lambda _: {"wan2.2-kf2v-flash": lacking})
    told = wire.engine(engines.engine_standings(Settings(data_dir=tmp_path, engine="still"))[0])
    assert told["ready"] is True
    assert told["models"][0] == {  # type: ignore[index]
        "model": "wan2.2-kf2v-flash",
        "ready": False,
        "reason": "Its weights are not here.",
        "fix": "Fetch them.",
    }


def test_the_workers_say_what_they_are_at(house: House) -> None:
    assert asked(house, "workers")["workers"] == []
    task_id = house.created()
    attempt = house.start(task_id)
    house.clock.advance(SECOND)
    house.run(house.front.desk.renew(task_id, attempt, phase="render", progress=0.5))
    [worker] = asked(house, "workers")["workers"]
    assert (worker["worker"], worker["state"]) == ("worker-1", "working")
    assert worker["since"] < worker["last_heard"]
    assert (worker["task"]["task_id"], worker["task"]["phase"], worker["task"]["percent"]) == (task_id, "render", 50)
    house.lose_worker()
    assert asked(house, "workers")["workers"] == []


def test_a_worker_is_said_to_stop_until_it_lets_go_of_a_canceled_task(house: House) -> None:
    task_id = house.created()
    house.start(task_id)
    house.run(house.front.desk.stop(task_id))
    [worker] = asked(house, "workers")["workers"]
    assert (worker["state"], "task" in worker) == ("stopping", False)
    house.run(house.front.desk.claim("worker-1", engines=frozenset()))
    [worker] = asked(house, "workers")["workers"]
    assert (worker["state"], "task" in worker) == ("idle", False)


def test_the_house_says_how_it_is(house: House) -> None:
    house.created()
    house.start(house.created())
    house.clock.advance(90 * SECOND)
    told = asked(house, "system")
    assert (told["uptime_seconds"], told["ready"], told["ailments"], told["draining"]) == (90, True, {}, False)
    assert (told["tasks"]["PENDING"], told["tasks"]["RUNNING"], told["tasks"]["FAILED"]) == (0, 2, 0)
    assert told["queues"] == [
        {"account": "mine", "model": "wan2.2-kf2v-flash", "engine": "still", "waiting": 0, "running": 2}
    ]
    house.lose_worker()
    told = asked(house, "system")
    assert (told["tasks"]["RUNNING"], "REQUEUED" in told["tasks"]) == (2, False), "clients know five states"
    assert 0 < told["disk"]["free_bytes"] <= told["disk"]["total_bytes"]
    assert told["settings"]["engine"] == "still"


def test_no_secret_is_told(open_house: Open) -> None:
    house = open_house(
        api_key="sk-secret-one",
        rewrite_api_key="sk-secret-two",
        rewrite_base_url="http://me:sk-secret-four@127.0.0.1/v1",
        rewrite_extra={"api_key": "sk-secret-three"},
    )
    told = asked(house, "system")
    assert "sk-secret" not in str(told["settings"])
    assert told["settings"]["rewrite_base_url"] == "http://***@127.0.0.1/v1"
    assert told["settings"]["rewrite_extra"] == ["api_key"]
    assert told["settings"]["api_key"]

"""``/kf2v/v1/tasks``: what there is to know of a task, and what its owner may do with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from house import House, submission
from kf2v.admission.keys import Scope
from kf2v.clock import HOUR, MINUTE
from kf2v.store import Rights
from kf2v.tasks import State
from kf2v.video import Size, mp4
from scenery import clip_of, landscape

TASKS = "/kf2v/v1/tasks"


def show(house: House, task_id: str, **request: Any) -> dict[str, Any]:
    answer = house.call("GET", f"{TASKS}/{task_id}", **request)
    assert answer.status_code == 200, answer.text
    return answer.json()["task"]


def refused(answer: Any, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert set(answer.json()) == {"code", "message", "request_id"}
    return answer.json()["message"]


def beat(house: House, task_id: str, attempt: int, *, phase: str, progress: float, notes: tuple[str, ...] = ()) -> None:
    assert house.run(house.front.desk.renew(task_id, attempt, phase=phase, progress=progress, notes=notes))


def film_of(tmp_path: Path, *, count: int = 150) -> bytes:
    size, path = Size(width=160, height=96), tmp_path / "film.mp4"
    mp4.write(path, clip_of([landscape(size, shift=n) for n in range(count)], size=size, count=count))
    return path.read_bytes()


def test_a_task_that_waits_says_how_many_are_before_it(house: House) -> None:
    first, second = house.created(), house.created()
    assert (show(house, first)["position"], show(house, second)["position"]) == (0, 1)
    shown = show(house, second)
    assert (shown["task_status"], shown["phase"], shown["percent"]) == ("PENDING", "queued", 0)
    assert not {"worker", "expire_time", "size", "video_url", "scheduled_time"} & set(shown)


def test_a_task_that_runs_says_how_far_it_is_and_who_is_at_it(house: House) -> None:
    task_id = house.created()
    attempt = house.start(task_id)
    assert show(house, task_id)["phase"] == "starting"
    beat(house, task_id, attempt, phase="render", progress=0.618, notes=("The prompt was kept as it is.",))
    shown = show(house, task_id)
    assert (shown["task_status"], shown["phase"], shown["percent"]) == ("RUNNING", "render", 61)
    assert (shown["worker"], shown["attempt"]) == ("worker-1", 1)
    assert [line["text"] for line in shown["log"]] == [
        "Attempt 1 began at worker worker-1.",
        "The prompt was kept as it is.",
    ]
    assert "position" not in shown


def test_a_finished_task_says_all_that_the_vendors_api_says_and_more(house: House) -> None:
    task_id = house.created(submission(parameters__seed=5, input__negative_prompt="dogs"))
    house.finish(task_id, actual_prompt="the camera rises, slowly")
    shown, vendors = show(house, task_id), house.query(task_id)
    assert vendors["output"].items() <= shown.items()
    assert shown["usage"] == vendors["usage"]
    assert (shown["percent"], shown["seed"], shown["negative_prompt"]) == (100, 5, "dogs")
    assert shown["size"] == {"width": 1280, "height": 720, "bytes": 17}
    assert (shown["model"], shown["engine"], shown["resolution"]) == ("wan2.2-kf2v-flash", "still", "480P")
    assert "expire_time" in shown


def test_a_task_that_lost_its_worker_waits_in_the_words_of_a_client(house: House) -> None:
    task_id = house.created()
    house.start(task_id)
    house.lose_worker()
    shown = show(house, task_id)
    assert (shown["task_status"], shown["phase"], shown["position"]) == ("RUNNING", "queued", 0)
    assert "worker" not in shown


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("POST", "/keep"),
        ("GET", "/previews/0.jpg"),
        ("GET", "/frames/0.png"),
    ],
)
def test_what_is_unknown_expired_or_somebody_elses_is_404(house: House, method: str, path: str) -> None:
    task_id = house.created()
    house.finish(task_id)
    for asked, key in (("nobody's", "mine"), (task_id, house.other_key)):
        refused(house.call(method, f"{TASKS}/{asked}{path}", key=key), 404, "NotFound")
    house.clock.advance(24 * HOUR)
    refused(house.call(method, f"{TASKS}/{task_id}{path}"), 404, "NotFound")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", TASKS, Scope.READ),
        ("GET", f"{TASKS}/x", Scope.READ),
        ("POST", f"{TASKS}/x/cancel", Scope.CANCEL),
        ("POST", f"{TASKS}/x/keep", Scope.CANCEL),
        ("DELETE", f"{TASKS}/x", Scope.CANCEL),
        ("GET", f"{TASKS}/x/frames/1.png", Scope.READ),
        ("GET", f"{TASKS}/x/previews/1.jpg", Scope.READ),
        ("GET", "/kf2v/v1/events", Scope.READ),
        ("GET", "/kf2v/v1/engines", Scope.READ),
        ("GET", "/kf2v/v1/workers", Scope.ADMIN),
        ("GET", "/kf2v/v1/system", Scope.ADMIN),
    ],
)
def test_a_key_that_is_not_for_this_is_told_what_would_do(house: House, method: str, path: str, scope: Scope) -> None:
    others = frozenset(map(str, set(Scope) - {scope}))
    house.run(house.front.keys.ensure("sk-wrong-scopes", "mine", Rights(scopes=others)))
    message = refused(house.call(method, path, key="sk-wrong-scopes"), 403, "AccessDenied")
    assert f"'{scope}'" in message
    refused(house.call(method, path, key=None), 401, "InvalidApiKey")


def test_the_list_is_newest_first_and_in_pages(house: House) -> None:
    tasks = []
    for _ in range(5):
        tasks.append(house.created())
        house.clock.advance(1)
    house.call("GET", TASKS, key=house.other_key)
    answer = house.call("GET", f"{TASKS}?page_size=2&page_no=2").json()
    assert [task["task_id"] for task in answer["tasks"]] == [tasks[2], tasks[1]]
    assert (answer["total"], answer["total_page"]) == (5, 3)
    assert [task["position"] for task in answer["tasks"]] == [2, 1]
    assert house.call("GET", TASKS, key=house.other_key).json()["tasks"] == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", 3),
        ("text=LIGHTHOUSE", 1),
        ("text=%25", 0),
        ("text=%E6%9C%88", 1),
        ("model=wan2.1-kf2v-plus", 1),
        ("engine=still", 3),
        ("engine=morph", 0),
        ("status=PENDING", 2),
        ("status=CANCELED", 1),
        ("api_key_id=1", 0),
    ],
)
def test_the_list_can_be_narrowed(house: House, query: str, found: int) -> None:
    house.created(submission(input__prompt="a Lighthouse at night"))
    house.created(submission(input__prompt="月亮", model="wan2.1-kf2v-plus", parameters__resolution="720P"))
    house.call("POST", f"{TASKS}/{house.created()}/cancel")
    assert len(house.call("GET", f"{TASKS}?{query}").json()["tasks"]) == found


@pytest.mark.parametrize("size", ["0", "101"])
def test_a_size_that_no_page_has_is_refused_with_those_it_may_have(house: House, size: str) -> None:
    answer = house.call("GET", f"{TASKS}?page_size={size}")
    assert (answer.status_code, "between 1 and 100:" in answer.json()["message"]) == (400, True)


@pytest.mark.parametrize("query", ["status=DONE", "page_size=101", "page_no=0", "page_size=many"])
def test_a_query_that_makes_no_sense_is_refused(house: House, query: str) -> None:
    refused(house.call("GET", f"{TASKS}?{query}"), 400, "InvalidParameter")


def test_cancel_ends_what_waits_what_runs_and_what_waits_again(house: House) -> None:
    runs, again = house.created(), house.created()
    house.start(runs)
    house.start(again)
    house.lose_worker()
    waits = house.created()
    for task_id in (waits, runs, again):
        answer = house.call("POST", f"{TASKS}/{task_id}/cancel")
        assert (answer.status_code, answer.json()["task"]["task_status"]) == (200, "CANCELED"), answer.text
        assert house.query(task_id)["output"]["task_status"] == "CANCELED"
        message = refused(house.call("POST", f"{TASKS}/{task_id}/cancel"), 400, "UnsupportedOperation")
        assert "CANCELED" in message


def test_the_vendors_cancel_stays_for_pending_tasks(house: House) -> None:
    task_id = house.created()
    house.start(task_id)
    refused(house.call("POST", f"/api/v1/tasks/{task_id}/cancel"), 400, "UnsupportedOperation")
    assert house.query(task_id)["output"]["task_status"] == "RUNNING"


@pytest.mark.parametrize("tasks", [TASKS, "/api/v1/tasks"])
def test_the_log_of_a_canceled_task_says_so_whichever_way_it_was(house: House, tasks: str) -> None:
    task_id = house.created()
    assert house.call("POST", f"{tasks}/{task_id}/cancel").status_code == 200
    assert [line["text"] for line in show(house, task_id)["log"]] == ["Canceled."]


def test_a_canceled_task_is_not_charged_and_never_succeeds(house: House) -> None:
    task_id = house.created()
    house.start(task_id)
    house.call("POST", f"{TASKS}/{task_id}/cancel")
    row = house.run(house.store.get(task_id))
    assert row is not None
    assert (row.state, row.outcome) == (State.CANCELED, None)
    assert house.run(house.store.runs("still", "480P")) == ()


def test_a_kept_task_outlives_its_day_with_its_video_and_its_link_is_renewed(house: House) -> None:
    task_id = house.created()
    house.finish(task_id)
    assert house.call("POST", f"{TASKS}/{task_id}/keep", json={"kept": True}).json()["task"]["kept"] is True
    assert "expire_time" not in show(house, task_id)
    for _ in range(5):
        house.clock.advance(20 * HOUR)
        house.run(house.front.sweeper.sweep())
        house.run(house.front.sweeper.sweep_orphans())
        link = house.query(task_id)["output"]["video_url"]
        assert house.call("GET", link, key=None).content == b"not really a film"
    assert house.call("GET", TASKS).json()["total"] == 1
    house.call("POST", f"{TASKS}/{task_id}/keep", json={"kept": False})
    assert house.query(task_id)["output"]["task_status"] == "UNKNOWN"
    assert house.call("GET", link, key=None).status_code == 403
    house.run(house.front.sweeper.sweep())
    assert list(house.blobs.walk("videos/")) == []


def test_the_link_of_a_kept_task_is_the_same_for_every_poll_of_an_hour(house: House) -> None:
    task_id = house.created()
    house.finish(task_id)
    house.call("POST", f"{TASKS}/{task_id}/keep")
    house.clock.advance(HOUR - house.clock.now() % HOUR)
    link = house.query(task_id)["output"]["video_url"]
    house.clock.advance(59 * MINUTE)
    assert house.query(task_id)["output"]["video_url"] == link
    house.clock.advance(MINUTE)
    assert house.query(task_id)["output"]["video_url"] != link
    house.clock.advance(23 * HOUR)
    assert house.call("GET", link, key=None).status_code == 200


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"kept": "yes"}', b'{"kept": true, "for": 3}', b"\xff", b"nonsense"])
def test_a_keep_that_does_not_say_what_is_refused(house: House, body: bytes) -> None:
    task_id = house.created()
    refused(house.call("POST", f"{TASKS}/{task_id}/keep", content=body), 400, "InvalidParameter")
    refused(house.call("POST", f"{TASKS}/{task_id}/keep", content=b" " * 5_000), 413, "BadRequest.TooLarge")
    assert show(house, task_id)["kept"] is False


def test_a_deleted_task_is_gone_at_once_with_all_its_files(house: House) -> None:
    task_id, other = house.created(), house.created()
    for kind in ("inputs", "previews"):
        house.blobs.put(f"{kind}/{task_id}/1-0.jpg", b"x")
    house.blobs.put(f"inputs/{other}/first", b"x")
    house.finish(task_id)
    link = house.query(task_id)["output"]["video_url"]
    house.call("POST", f"{TASKS}/{task_id}/keep")
    assert house.call("DELETE", f"{TASKS}/{task_id}").status_code == 200
    assert [blob.key for blob in house.blobs.walk()] == [f"inputs/{other}/first"]
    assert house.query(task_id)["output"]["task_status"] == "UNKNOWN"
    assert house.call("GET", link, key=None).status_code == 403
    refused(house.call("DELETE", f"{TASKS}/{task_id}"), 404, "NotFound")


def test_a_task_that_has_not_ended_cannot_be_deleted(house: House) -> None:
    task_id = house.created()
    assert "PENDING" in refused(house.call("DELETE", f"{TASKS}/{task_id}"), 400, "UnsupportedOperation")
    house.start(task_id)
    assert "RUNNING" in refused(house.call("DELETE", f"{TASKS}/{task_id}"), 400, "UnsupportedOperation")
    house.call("POST", f"{TASKS}/{task_id}/cancel")
    assert house.call("DELETE", f"{TASKS}/{task_id}").status_code == 200


def test_previews_are_those_of_the_newest_attempt(house: House) -> None:
    task_id = house.created()
    house.start(task_id)
    for name in ("1-0", "1-1", "1-2"):
        house.blobs.put(f"previews/{task_id}/{name}.jpg", name.encode())
    assert show(house, task_id)["previews"] == [f"{TASKS}/{task_id}/previews/{n}.jpg" for n in range(3)]
    house.lose_worker()
    house.start(task_id)
    for name in ("2-0", *(f"2-{n}" for n in range(1, 11))):
        house.blobs.put(f"previews/{task_id}/{name}.jpg", name.encode())
    paths = show(house, task_id)["previews"]
    assert [house.call("GET", path).content for path in paths] == [f"2-{n}".encode() for n in range(11)]
    answer = house.call("GET", paths[0])
    assert answer.headers["content-type"] == "image/jpeg"
    known = {"If-None-Match": answer.headers["etag"]}
    assert house.call("GET", paths[0], headers=known).status_code == 304
    refused(house.call("GET", f"{TASKS}/{task_id}/previews/11.jpg"), 404, "NotFound")
    refused(house.call("GET", f"{TASKS}/{task_id}/previews/x.jpg"), 404, "NotFound")


def test_a_frame_is_the_one_that_a_player_shows(house: House, tmp_path: Path) -> None:
    task_id, film = house.created(), film_of(tmp_path)
    house.finish(task_id, data=film)
    frames = list(mp4.read_frames(tmp_path / "film.mp4"))
    for name, number in (("0", 0), ("first", 0), ("74", 74), ("149", 149), ("last", 149)):
        answer = house.call("GET", f"{TASKS}/{task_id}/frames/{name}.png")
        assert answer.headers["content-type"] == "image/png"
        (tmp_path / "frame.png").write_bytes(answer.content)
        with Image.open(tmp_path / "frame.png") as picture:
            assert np.array_equal(np.asarray(picture), frames[number])
    known = {"If-None-Match": answer.headers["etag"]}
    assert house.call("GET", f"{TASKS}/{task_id}/frames/last.png", headers=known).status_code == 304


@pytest.mark.parametrize("name", ["-1", "one", "1.0", "9" * 50, "²"])
def test_a_frame_that_no_video_has_is_404(house: House, name: str) -> None:
    task_id = house.created()
    house.finish(task_id)
    assert "a number from 0" in refused(house.call("GET", f"{TASKS}/{task_id}/frames/{name}.png"), 404, "NotFound")


@pytest.mark.parametrize("name", ["150", "%31%32%33%34", "9" * 9])
def test_a_frame_behind_the_last_one_is_404(house: House, tmp_path: Path, name: str) -> None:
    task_id = house.created()
    house.finish(task_id, data=film_of(tmp_path))
    assert "no frame" in refused(house.call("GET", f"{TASKS}/{task_id}/frames/{name}.png"), 404, "NotFound")


def test_the_last_frame_of_a_video_from_elsewhere_is_its_last_one(house: House, tmp_path: Path) -> None:
    task_id = house.created()
    house.finish(task_id, data=film_of(tmp_path, count=81))
    *_, last = mp4.read_frames(tmp_path / "film.mp4")
    (tmp_path / "frame.png").write_bytes(house.call("GET", f"{TASKS}/{task_id}/frames/last.png").content)
    with Image.open(tmp_path / "frame.png") as picture:
        assert np.array_equal(np.asarray(picture), last)


def test_a_frame_of_a_video_that_is_not_there_is_404(house: House) -> None:
    waiting = house.created()
    assert "PENDING" in refused(house.call("GET", f"{TASKS}/{waiting}/frames/1.png"), 404, "NotFound")
    house.finish(waiting)
    for blob in list(house.blobs.walk("videos/")):
        house.blobs.delete(blob.key)
    refused(house.call("GET", f"{TASKS}/{waiting}/frames/1.png"), 404, "NotFound")

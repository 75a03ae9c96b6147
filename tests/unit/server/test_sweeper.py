"""What is past its time is gone, and nothing else."""

import os
from pathlib import Path

import pytest

from house import House, picture
from kf2v.clock import HOUR, SECOND
from kf2v.server.sweeper import Sweeper
from kf2v.store import Upload
from kf2v.tasks.retention import Retention


@pytest.fixture
def sweeper(house: House) -> Sweeper:
    return Sweeper(store=house.store, blobs=house.blobs, clock=house.clock, retention=Retention())


def keys(house: House) -> set[str]:
    return {blob.key for blob in house.blobs.walk()}


def test_a_task_goes_with_its_video_and_its_frames(house: House, sweeper: Sweeper) -> None:
    task_id = house.created()
    house.blobs.put(f"inputs/{task_id}/first", picture())
    house.blobs.put(f"inputs/{task_id}/last", picture())
    house.finish(task_id)
    house.clock.advance(24 * HOUR - 1)
    assert house.run(sweeper.sweep()) == 0
    assert len(keys(house)) == 3
    house.clock.advance(1)
    assert house.run(sweeper.sweep()) == 1
    assert keys(house) == set()
    assert house.run(house.store.get(task_id)) is None


def test_what_has_not_ended_is_never_swept(house: House, sweeper: Sweeper) -> None:
    waiting, working = house.created(), house.created()
    house.start(waiting)
    house.clock.advance(1000 * HOUR)
    assert house.run(sweeper.sweep()) == 0
    assert house.query(waiting)["output"]["task_status"] == "RUNNING"
    assert house.query(working)["output"]["task_status"] == "PENDING"


def test_an_upload_goes_after_48_hours(house: House, sweeper: Sweeper) -> None:
    house.blobs.put("uploads/x", picture())
    created = house.clock.now()
    upload = Upload(key="k", blob="uploads/x", account="mine", model="m", size=1, created_at=created)
    assert house.run(house.store.put_upload(upload))
    house.clock.advance(48 * HOUR - SECOND)
    assert house.run(sweeper.sweep()) == 0
    house.clock.advance(SECOND)
    assert house.run(sweeper.sweep()) == 1
    assert keys(house) == set()


def test_more_than_one_batch_is_swept_at_once(house: House, sweeper: Sweeper) -> None:
    tasks = [house.created() for _ in range(450)]
    for task_id in tasks:
        house.call("POST", f"/api/v1/tasks/{task_id}/cancel")
    house.clock.advance(24 * HOUR)
    assert house.run(sweeper.sweep()) == 450


def test_orphans_go_when_they_are_old_and_results_stay(house: House, sweeper: Sweeper) -> None:
    task_id = house.created()
    house.finish(task_id)
    result = next(iter(keys(house)))
    house.blobs.put(f"videos/{task_id}/0-dead.mp4", b"an attempt that lost its lease")
    house.blobs.put("videos/nobody/1-x.mp4", b"no such task")
    house.blobs.put("inputs/nobody/first", b"no such task")
    house.blobs.put(f"previews/{task_id}/1-0.jpg", b"of a task that has its video")
    assert house.run(sweeper.sweep_orphans()) == 0, "they may belong to a write that is under way"
    newest = max(blob.modified_at for blob in house.blobs.walk())
    house.clock.advance(max(0, newest - house.clock.now()) + HOUR)
    assert house.run(sweeper.sweep_orphans()) == 4
    assert keys(house) == {result}


def test_an_upload_that_never_got_its_row_goes_too(house: House, sweeper: Sweeper) -> None:
    house.blobs.put("uploads/cut-short", picture())
    written = next(iter(house.blobs.walk())).modified_at
    house.clock.advance(written - house.clock.now() + 49 * HOUR - 1)
    assert house.run(sweeper.sweep_orphans()) == 0, "its row may be there"
    house.clock.advance(1)
    assert house.run(sweeper.sweep_orphans()) == 1
    assert keys(house) == set()


def test_what_is_remembered_of_a_far_task_goes_when_its_task_has_ended(house: House, sweeper: Sweeper) -> None:
    ended, working = house.created(), house.created()
    for task_id in (ended, working):
        house.blobs.put(f"remote/{task_id}/order", b"{}")
    house.finish(ended)
    house.start(working)
    newest = max(blob.modified_at for blob in house.blobs.walk())
    house.clock.advance(max(0, newest - house.clock.now()) + HOUR)
    house.run(sweeper.sweep_orphans())
    assert f"remote/{working}/order" in keys(house)
    assert f"remote/{ended}/order" not in keys(house)


def test_what_a_killed_worker_left_unfinished_goes_and_what_is_being_written_stays(
    house: House, tmp_path: Path
) -> None:
    for name, age in (("old.mp4", 7 * HOUR), ("new.mp4", HOUR)):
        (tmp_path / name).write_bytes(b"half a film")
        seconds = (house.clock.now() - age) / 1000
        os.utime(tmp_path / name, (seconds, seconds))
    sweeper = Sweeper(store=house.store, blobs=house.blobs, clock=house.clock, retention=Retention(), scratch=tmp_path)
    assert house.run(sweeper.sweep_orphans()) == 1
    assert [path.name for path in tmp_path.glob("*.mp4")] == ["new.mp4"]

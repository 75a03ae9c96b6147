"""What is booked by real servers: once for every video, for nothing else, and for good."""

import csv
import io
import json
import signal
from pathlib import Path
from typing import Any

from clientele import order, ordered
from deployment import KEY, Deployment, deployed, needs_proc, until

from service import Service


def usage(service: Service, query: str = "") -> Any:
    reply = service.get(f"/kf2v/v1/usage?{query}")
    assert reply.status == 200, reply.body
    return reply.json


def videos(service: Service) -> int:
    return usage(service)["totals"]["videos"]


def test_a_video_is_billed_and_what_failed_or_was_called_off_is_not(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=1) as deployment:
        service = deployment.start()
        done = service.finish(ordered(service))
        assert done["usage"] == {"video_duration": 5, "video_count": 1, "SR": 480}
        broken = order()
        broken["input"]["last_frame_url"] = "data:image/png;base64,bm8gcGljdHVyZQ=="
        failed = service.finish(service.create(broken).json["output"]["task_id"])
        assert failed["output"]["task_status"] == "FAILED"
        assert "usage" not in failed
        older = order()
        older |= {"model": "wan2.1-kf2v-plus", "parameters": {"resolution": "720P", "prompt_extend": False}}
        done = service.finish(service.create(older).json["output"]["task_id"])
        assert done["usage"] == {"video_duration": 5, "video_count": 1, "video_ratio": "standard"}
        told = usage(service, "group_by=model")
        assert [(row["model"], row["videos"], row["cost_cny"]) for row in told["rows"]] == [
            ("wan2.1-kf2v-plus", 1, "3.66962"),
            ("wan2.2-kf2v-flash", 1, "0.50"),
        ]
        assert (told["totals"]["cost_cny"], told["totals"]["cost_usd"]) == ("4.16962", "0.50")


def test_a_task_that_was_called_off_costs_nothing(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=0) as deployment:
        service = deployment.start()
        task_id = ordered(service)
        assert service.request("POST", f"/api/v1/tasks/{task_id}/cancel").status == 200
        assert videos(service) == 0


@needs_proc
def test_workers_and_servers_that_die_change_nothing_about_the_bill(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=1) as deployment:
        service = deployment.start()
        service.finish(ordered(service))
        booked = usage(service, "group_by=day,key,model,resolution,engine,region")["rows"]
        deployment.kill()
        service = deployment.start()
        assert usage(service, "group_by=day,key,model,resolution,engine,region")["rows"] == booked
        tasks = [ordered(service) for _ in range(4)]
        until("one is at work", lambda: any(state(service, task_id) != "PENDING" for task_id in tasks))
        for worker in deployment.workers():
            worker.send(signal.SIGKILL)
        until("some are done", lambda: any(state(service, task_id) == "SUCCEEDED" for task_id in tasks))
        deployment.kill()
        service = deployment.start()
        for task_id in tasks:
            assert service.finish(task_id)["output"]["task_status"] == "SUCCEEDED"
        assert videos(service) == 5


def state(service: Service, task_id: str) -> str:
    return service.task(task_id)["output"]["task_status"]


def test_the_bill_outlives_its_tasks(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=1, retention_hours="0.0005") as deployment:
        service = deployment.start()
        task_id = ordered(service)
        until("it is booked", lambda: videos(service) == 1)
        until("it is forgotten", lambda: state(service, task_id) == "UNKNOWN")
        assert deployment.end() == 0
        service = deployment.start()
        assert state(service, task_id) == "UNKNOWN"
        assert videos(service) == 1


def test_the_command_line_shows_the_same(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=1) as deployment:
        service = deployment.start()
        before = commanded(deployment, "estimate", "--width", "750", "--height", "1000")
        assert before.splitlines()[0] == "video  816x1104, 5 s, wan2.2-kf2v-flash at 720P"
        service.finish(ordered(service))
        assert commanded(deployment, "usage", "--by", "model").splitlines()[-1].split() == [
            "total",
            "1",
            "5",
            "0.50",
            "–",
        ]
        assert json.loads(commanded(deployment, "usage", "--json", "--all-accounts"))["totals"]["videos"] == 1
        heads, row = csv.reader(
            io.StringIO(commanded(deployment, "usage", "--csv", "--by", "account").removeprefix("\ufeff"))
        )
        assert dict(zip(heads, row, strict=True))["account"] == "default"
        told = json.loads(
            commanded(deployment, "estimate", "--width", "400", "--height", "400", "-r", "480P", "--json")
        )
        assert told["wait_seconds"] == 0
        assert told["run_seconds"] > 0


def commanded(deployment: Deployment, *words: str) -> str:
    ran = deployment.command(
        *words, "--base-url", f"{deployment.url}/api/v1", "--api-key-file", str(key_file(deployment))
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def key_file(deployment: Deployment) -> Path:
    file = deployment.home / "key"
    file.write_text(KEY)
    return file


def test_frames_are_previewed_by_a_server_that_loads_what_it_takes_only_then(tmp_path: Path) -> None:
    with deployed(tmp_path, workers=0) as deployment:
        service = deployment.start()
        maps = Path(f"/proc/{deployment.process.pid}/maps")
        if maps.exists():
            assert "cv2" not in maps.read_text()
        for path in ("estimate", "validate?frames=true", "rewrite"):
            reply = service.create(order(), path=f"/kf2v/v1/{path}")
            assert reply.status == 200, reply.body
        assert reply.json["actual_prompt"].startswith("a ball rolls. ")
        assert service.get("/api/v1/tasks").json["total"] == 0


def test_a_server_leaves_while_a_preview_waits_for_a_host_that_says_nothing(tmp_path: Path) -> None:
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/first.png"
        settings = {"fetch_allow_hosts": "127.0.0.1", "fetch_timeout": "600", "drain_seconds": "0.5"}
        with deployed(tmp_path, workers=0, **settings) as deployment:
            service = deployment.start()
            body = order()
            body["input"]["first_frame_url"] = url
            answers: list[str] = []

            def wait() -> None:
                try:
                    answers.append(str(service.create(body, path="/kf2v/v1/estimate").status))
                except OSError:
                    answers.append("cut off")

            waiting = threading.Thread(target=wait)
            waiting.start()
            connection, _ = silent.accept()
            with connection:
                assert deployment.end() == 0
            waiting.join()
    assert answers == ["cut off"]

"""Films of several videos, and videos without an end: made by ``morph``, looked at frame by frame."""

import base64
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kf2v.video import Size
from scenery import landscape
from service import Service, environment, serving

#: levels of 255 by which a frame may be off, on average: a video is not a picture
CLOSE = 6.0
PARAMETERS = {"resolution": "480P", "prompt_extend": False}


@pytest.fixture(scope="module")
def morphing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("morphing"), workers=1, engine="morph") as service:
        yield service


def picture(shift: float) -> str:
    file = io.BytesIO()
    Image.fromarray(landscape(Size(width=640, height=360), shift=shift)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def frame(service: Service, task_id: str, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    reply = service.get(f"/kf2v/v1/tasks/{task_id}/frames/{name}.png")
    assert reply.status == 200, reply.body
    return np.asarray(Image.open(io.BytesIO(reply.body)).convert("RGB"), dtype=np.float64)


def apart(one: np.ndarray[Any, np.dtype[np.float64]], other: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    return float(np.abs(one - other).mean())


def test_a_video_that_ends_where_it_begins_is_a_loop(morphing: Service) -> None:
    same = picture(0)
    body = {"model": "wan2.2-kf2v-flash", "input": {"first_frame_url": same, "last_frame_url": same, "prompt": ""}}
    task_id = morphing.create(body | {"parameters": PARAMETERS}).json["output"]["task_id"]
    assert morphing.finish(task_id)["output"]["task_status"] == "SUCCEEDED"
    assert apart(frame(morphing, task_id, "first"), frame(morphing, task_id, "last")) < CLOSE


def test_each_video_of_a_chain_begins_where_the_one_before_ends(morphing: Service) -> None:
    frames = [picture(shift) for shift in (0, 20, 60)]
    body = {"model": "wan2.2-kf2v-flash", "input": {"frames": frames}, "parameters": PARAMETERS}
    reply = morphing.request("POST", "/kf2v/v1/chains", body=json.dumps(body).encode())
    assert reply.status == 200, reply.body
    first, second = (task["task_id"] for task in reply.json["tasks"])
    for task_id in (first, second):
        assert morphing.finish(task_id)["output"]["task_status"] == "SUCCEEDED"
    assert apart(frame(morphing, first, "last"), frame(morphing, second, "first")) < CLOSE
    assert apart(frame(morphing, first, "first"), frame(morphing, second, "last")) > 2 * CLOSE


def test_a_chain_from_the_command_line_goes_on_where_a_limit_stopped_it(tmp_path: Path) -> None:
    for shift in range(3):
        (tmp_path / f"{shift}.png").write_bytes(base64.b64decode(picture(20 * shift).partition(",")[2]))
    limits = json.dumps({"*": {"per_second": 1}})
    with serving(tmp_path / "server", workers=1, engine="still", account_limits=limits) as limited:
        words = ("chain", "0.png", "1.png", "2.png", "--loop", "-r", "480P", "--json")
        owner = environment(tmp_path, KF2V_URL=limited.url, KF2V_DATA_DIR=str(limited.data_dir))
        ran = subprocess.run(
            [sys.executable, "-m", "kf2v", *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=owner | {"DASHSCOPE_API_KEY": limited.api_key},
            check=False,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stderr
        assert "is refused for now, Throttling.RateQuota" in ran.stderr
        parts = [part["output"] for part in json.loads(ran.stdout)["tasks"]]
        assert len({part["task_id"] for part in parts}) == limited.get("/kf2v/v1/tasks").json["total"] == 3
    for number, part in enumerate(parts, start=1):
        assert part["video_path"] == f"{number:02}-{part['task_id']}.mp4"
        assert (tmp_path / part["video_path"]).is_file()

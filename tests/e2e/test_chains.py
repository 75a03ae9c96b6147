"""Films of several videos, and videos without an end: made by ``morph``, looked at frame by frame."""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kf2v.video import Size
from scenery import landscape
from service import Service, serving

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

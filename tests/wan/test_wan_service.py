"""The whole service with the wan engine on tiny checkpoints: what a caller's SDK gets, and what an owner is told.

Only the films' sizes are not real: a CPU would take hours for 480P.
"""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gallery import COLD, WARM, picture
from kf2v.video.mp4 import facts, read_frames
from service import Service, environment, serving

SMALL = Path(__file__).parent / "small"


def weights(**directories: Path) -> str:
    names = {"flash": "wan2.2-kf2v-flash", "plus": "wan2.1-kf2v-plus"}
    return json.dumps(
        {names[short]: {"base": str(path), "distilled": short == "flash"} for short, path in directories.items()}
    )


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, flf2v_dir: Path, a14b_dir: Path) -> Iterator[Service]:
    """A server whose one worker has both models on the CPU, and nothing to stand in."""
    with serving(
        tmp_path_factory.mktemp("studio"),
        workers=1,
        pythonpath=SMALL,
        engine="wan",
        fallback_engine="",
        wan_device="cpu",
        wan_weights=weights(flash=a14b_dir, plus=flf2v_dir),
    ) as running:
        yield running


def data_uri(file: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(file).decode()}"


def order(model: str, **parameters: Any) -> dict[str, Any]:
    return {
        "model": model,
        "input": {
            "prompt": "A ride along the coast",
            "negative_prompt": "blur",
            "first_frame_url": data_uri(picture(WARM)),
            "last_frame_url": data_uri(picture(COLD, width=500, height=700)),
        },
        "parameters": {"seed": 5, "prompt_extend": False, **parameters},
    }


@pytest.mark.parametrize(
    ("model", "resolution"), [("wan2.2-kf2v-flash", "480P"), ("wan2.1-kf2v-plus", "720P")], ids=["flash", "plus"]
)
def test_an_order_becomes_a_film_between_its_own_frames(
    studio: Service, tmp_path: Path, model: str, resolution: str
) -> None:
    created = studio.create(order(model, resolution=resolution))
    assert created.status == 200, created.body
    task = studio.finish(created.json["output"]["task_id"], within=150)
    assert task["output"]["task_status"] == "SUCCEEDED", f"{task}\n{studio.log_tail()}"
    film = tmp_path / "film.mp4"
    film.write_bytes(studio.get(task["output"]["video_url"], key=None).body)
    shown = facts(film)
    assert (shown.frames, shown.fps, shown.duration) == (150, 30.0, 5.0)
    frames = list(read_frames(film))
    for frame, colour in ((frames[0], WARM), (frames[-1], COLD)):
        corner = frame[2:10, 2:10].reshape(-1, 3).mean(axis=0)
        assert abs(corner - colour).max() < 8, (corner, colour)


def test_the_official_sdk_gets_its_film(studio: Service, tmp_path: Path) -> None:
    program = """
import json, sys
from dashscope import VideoSynthesis
answer = VideoSynthesis.call(
    model="wan2.2-kf2v-flash", prompt="a ride", first_frame_url=sys.argv[1], last_frame_url=sys.argv[2],
    resolution="480P", prompt_extend=False,
)
print(json.dumps({"status": answer.output.task_status, "url": answer.output.video_url, "usage": answer.usage}))
"""
    (tmp_path / "program.py").write_text(program)
    frames = []
    for name, colour in (("first.png", WARM), ("last.png", COLD)):
        (tmp_path / name).write_bytes(picture(colour))
        frames.append(f"file://{tmp_path / name}")
    done = subprocess.run(
        [sys.executable, "program.py", *frames],
        env=environment(tmp_path, DASHSCOPE_HTTP_BASE_URL=studio.base_url, DASHSCOPE_API_KEY=studio.api_key),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{studio.log_tail()}"
    told = json.loads(done.stdout)
    assert told["status"] == "SUCCEEDED"
    assert told["usage"]["video_count"] == 1
    assert studio.get(told["url"], key=None).status == 200


def test_a_server_that_leaves_does_not_wait_for_forty_steps(tmp_path: Path, a14b_dir: Path) -> None:
    told = json.dumps({"wan2.2-kf2v-flash": str(a14b_dir)})
    settings = {"engine": "wan", "fallback_engine": "", "wan_device": "cpu", "wan_weights": told, "drain_seconds": "0"}
    with serving(tmp_path, workers=1, pythonpath=SMALL, **settings) as running:
        created = running.create(order("wan2.2-kf2v-flash", resolution="720P"))
        previews = running.data_dir / "blobs" / "previews" / created.json["output"]["task_id"]
        deadline = time.monotonic() + 120
        while not previews.is_dir() or not list(previews.iterdir()):
            assert time.monotonic() < deadline, f"no step was seen\n{running.log_tail()}"
            time.sleep(0.02)
    assert any('"work called off"' in line for line in running.log), running.log_tail()


def test_where_weights_are_missing_another_engine_stands_in_and_says_so(tmp_path: Path) -> None:
    with serving(
        tmp_path,
        workers=1,
        pythonpath=SMALL,
        engine="wan",
        fallback_engine="still",
        wan_device="cpu",
        wan_weights=weights(flash=tmp_path / "nowhere", plus=tmp_path / "nowhere"),
    ) as running:
        created = running.create(order("wan2.2-kf2v-flash", resolution="480P"))
        task = running.finish(created.json["output"]["task_id"])
        assert task["output"]["task_status"] == "SUCCEEDED"
        assert any("wan cannot work here, still stands in" in line for line in running.log)


def test_a_run_prints_the_profile_that_was_chosen(tmp_path: Path, a14b_dir: Path) -> None:
    for name, colour in (("first.png", WARM), ("last.png", COLD)):
        (tmp_path / name).write_bytes(picture(colour))
    settings = {
        "KF2V_ENGINE": "wan",
        "KF2V_FALLBACK_ENGINE": "",
        "KF2V_WAN_DEVICE": "cpu",
        "KF2V_WAN_WEIGHTS": weights(flash=a14b_dir),
        "PYTHONPATH": str(SMALL),
    }
    done = subprocess.run(
        [Path(sys.executable).parent / "kf2v", "run", "first.png", "last.png", "-o", "film.mp4", "-r", "480P"],
        env=environment(tmp_path, **settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "film.mp4\n"), done.stderr
    assert "fast for wan2.2-a14b on the CPU" in done.stderr
    assert facts(tmp_path / "film.mp4").frames == 150

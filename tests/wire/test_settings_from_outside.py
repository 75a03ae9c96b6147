"""What an owner sets reaches the server and its workers, and clients see it."""

import base64
from collections.abc import Iterator

import pytest

from gallery import COLD, WARM, picture
from service import Service, serving

MODEL = "wan2.2-kf2v-flash"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server in Singapore, strict about hosts, lenient at submission, behind a proxy."""
    settings = {
        "validation": "cloud",
        "region": "singapore",
        "public_url": "https://videos.example.com/kf2v/",
        "fetch_allow_hosts": "",
    }
    with serving(tmp_path_factory.mktemp("set"), workers=1, **settings) as running:
        yield running


def data_uri(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def test_links_and_uploads_name_the_public_url(service: Service) -> None:
    granted = service.get(f"/api/v1/uploads?action=getPolicy&model={MODEL}").json["data"]
    assert granted["upload_host"].startswith("https://videos.example.com/kf2v/")
    frames = {"first_frame_url": data_uri(picture(WARM)), "last_frame_url": data_uri(picture(COLD))}
    body = {"model": MODEL, "input": frames, "parameters": {"resolution": "480P"}}
    ended = service.finish(service.create(body).json["output"]["task_id"])
    link = ended["output"]["video_url"]
    assert link.startswith("https://videos.example.com/kf2v/results/")
    assert service.get(link.removeprefix("https://videos.example.com/kf2v"), key=None).status == 200


def test_a_host_that_was_not_allowed_is_not_asked(service: Service, gallery: str) -> None:
    frames = {"first_frame_url": f"{gallery}/first_frame.png", "last_frame_url": f"{gallery}/last_frame.png"}
    ended = service.finish(service.create({"model": MODEL, "input": frames}).json["output"]["task_id"])
    assert ended["output"]["task_status"] == "FAILED"
    assert ended["output"]["code"] == "InvalidURL"
    assert "127.0.0.1" in ended["output"]["message"]


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"seed": -1}, "seed"), ({"duration": 10}, "duration"), ({"resolution": "4K"}, "resolution")],
)
def test_the_clouds_validation_accepts_first_and_fails_the_task_then(
    service: Service, gallery: str, changed: dict[str, object], named: str
) -> None:
    frames = {"first_frame_url": f"{gallery}/first_frame.png", "last_frame_url": f"{gallery}/last_frame.png"}
    created = service.create({"model": MODEL, "input": frames, "parameters": changed})
    assert created.status == 200
    ended = service.finish(created.json["output"]["task_id"])
    assert (ended["output"]["task_status"], ended["output"]["code"]) == ("FAILED", "InvalidParameter")
    assert named in ended["output"]["message"]


def test_a_region_serves_its_own_names_only(service: Service) -> None:
    listed = service.get("/api/v1/models").json["output"]["models"]
    assert {model["model"] for model in listed} == {MODEL, "wan2.1-kf2v-plus"}
    refused = service.create({"model": "wanx2.1-kf2v-plus", "input": {}})
    assert (refused.status, refused.json["code"]) == (400, "InvalidParameter")
    frames = {"first_frame_url": "https://example.com/a.png", "last_frame_url": "https://example.com/b.png"}
    task_id = service.create({"model": "wan2.1-kf2v-plus", "input": frames}).json["output"]["task_id"]
    (row,) = service.get(f"/api/v1/tasks?task_id={task_id}").json["data"]
    assert row["region"] == "ap-southeast-1"

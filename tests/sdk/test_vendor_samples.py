"""The documents' own sample programs; only the base URL and the pictures' host are ours."""

import json
from pathlib import Path
from typing import Any

import pytest

from formats import is_link, is_time, is_uuid
from sdk import Sdk
from service import Service

pytestmark = pytest.mark.sdk

GOLDEN = Path(__file__).parents[1] / "wire" / "golden"
HERE = Path(__file__).parent / "samples"
#: each program with the SDK version its document asks for at least, and the newest
SAMPLES = [
    (GOLDEN / "reference_call.py.txt", "1.23.8"),
    (GOLDEN / "reference_call.py.txt", "2.0.2"),
    (GOLDEN / "reference_async_call.py.txt", "1.23.8"),
    (GOLDEN / "reference_async_call.py.txt", "2.0.2"),
    (HERE / "guide_call.py.txt", "1.25.8"),
    (HERE / "guide_call.py.txt", "2.0.2"),
    (HERE / "guide_async_call.py.txt", "1.25.8"),
    (HERE / "guide_async_call.py.txt", "2.0.2"),
]


def answers(printed: str) -> list[Any]:
    """Every JSON object among the lines that a sample printed."""
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    ("sample", "version"), SAMPLES, ids=[f"{path.name.partition('.')[0]}-{version}" for path, version in SAMPLES]
)
def test_a_sample_program_prints_what_its_document_shows(
    sample: Path, version: str, sdks: dict[str, Sdk], service: Service, gallery: str, tmp_path: Path
) -> None:
    program = sample.read_text(encoding="utf-8")
    assert "https://dashscope-intl.aliyuncs.com/api/v1'" in program
    for theirs, ours in (
        ("https://dashscope-intl.aliyuncs.com/api/v1'", f"{service.base_url}'"),
        ("https://wanx.alicdn.com", gallery),
        ("https://help-static-aliyun-doc.aliyuncs.com", gallery),
    ):
        program = program.replace(theirs, ours)
    place = tmp_path / "sample.py"
    place.write_text(program, encoding="utf-8")
    printed = sdks[version].run(place, service=service)

    answers = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    if "async" in sample.name:
        assert_shown(answers[0], "python-async-call")
        assert answers[0]["output"]["task_status"] == "PENDING"
    assert_shown(answers[-1], "python-wait" if "async" in sample.name else "python-call")

    link = printed.split()[-1]
    assert link == answers[-1]["output"]["video_url"]
    assert is_link(link)
    video = service.get(link, key=None)
    assert (video.status, video.headers["content-type"], video.body[4:8]) == (200, "video/mp4", b"ftyp")


def assert_shown(answer: Any, name: str) -> None:
    """``answer`` has what the document's printed example has; the SDK versions differ in what they add."""
    shown = json.loads((GOLDEN / f"{name}.response.json").read_text())
    for member in ("status_code", "code", "message"):
        assert answer[member] == shown[member], member
    assert is_uuid(answer["request_id"])
    assert set(answer["output"]) >= set(shown["output"])
    assert answer["output"]["task_status"] == shown["output"]["task_status"], answer
    assert all(is_time(answer["output"][member]) for member in shown["output"] if member.endswith("_time"))
    if shown["usage"] is None:
        assert answer["usage"] is None
    else:  # the examples are of the 2.1 family, the programs ask for 2.2, which is counted by SR
        assert {**shown["usage"], "SR": 720}.items() >= {**answer["usage"]}.items() - {("video_ratio", "")}
        assert answer["usage"]["SR"] == 720

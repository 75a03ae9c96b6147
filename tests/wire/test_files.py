"""Frames in by the upload that the SDKs use, videos out by signed links."""

import json
import re
import time
from collections.abc import Mapping
from typing import Any

import pytest

from gallery import COLD, WARM, picture
from service import Reply, Service

MODEL = "wan2.2-kf2v-flash"


def policy(service: Service, model: str = MODEL) -> Any:
    return service.get(f"/api/v1/uploads?action=getPolicy&model={model}").json["data"]


def form(granted: Any, name: str, **changed: str) -> dict[str, str]:
    """The fields that the SDKs send, in their order."""
    fields = {
        "OSSAccessKeyId": granted["oss_access_key_id"],
        "Signature": granted["signature"],
        "policy": granted["policy"],
        "key": f"{granted['upload_dir']}/{name}",
        "x-oss-object-acl": granted["x_oss_object_acl"],
        "x-oss-forbid-overwrite": granted["x_oss_forbid_overwrite"],
        "success_action_status": "200",
        "x-oss-content-type": "image/png",
    }
    return fields | changed


def post(service: Service, granted: Any, fields: Mapping[str, str], content: bytes | None) -> Reply:
    """Post a form; ``content`` None leaves the file out."""
    edge, disposition = "edge-of-a-part", "Content-Disposition: form-data"
    parts = [f'--{edge}\r\n{disposition}; name="{key}"\r\n\r\n{value}' for key, value in fields.items()]
    body = "\r\n".join(parts).encode()
    if content is not None:
        name = fields.get("key", "x.png").rpartition("/")[2]
        body += f'\r\n--{edge}\r\n{disposition}; name="file"; filename="{name}"\r\n\r\n'.encode() + content
    body += f"\r\n--{edge}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={edge}"}
    return service.request("POST", granted["upload_host"], body=body, headers=headers, key=None)


def assert_refused(reply: Reply, status: int, code: str) -> None:
    assert (reply.status, reply.json["code"]) == (status, code), reply.body
    assert set(reply.json) == {"code", "message", "request_id"}
    assert reply.headers["x-request-id"] == reply.json["request_id"]


def order(service: Service, first: str, last: str, model: str = MODEL) -> Reply:
    frames = {"first_frame_url": first, "last_frame_url": last}
    return service.create({"model": model, "input": frames, "parameters": {"seed": 1}})


def test_a_policy_has_strings_where_the_sdks_copy_them_into_a_form(idle_service: Service) -> None:
    granted = policy(idle_service)
    copied = (
        *("oss_access_key_id", "signature", "policy", "upload_dir", "upload_host"),
        *("x_oss_object_acl", "x_oss_forbid_overwrite"),
    )
    assert all(isinstance(granted[name], str) and granted[name] for name in copied)
    assert granted["upload_host"].startswith(idle_service.url)
    assert granted["upload_dir"].strip("/") == granted["upload_dir"]
    assert granted["expire_in_seconds"] == 300


def test_every_policy_has_a_directory_of_its_own(idle_service: Service) -> None:
    reply = idle_service.get(f"/api/v1/uploads?action=getPolicy&model={MODEL}")
    assert reply.json["data"]["upload_dir"] != policy(idle_service)["upload_dir"]
    assert reply.json["data"]["upload_dir"].endswith(reply.json["request_id"])


def test_one_policy_takes_several_files_but_no_name_twice(idle_service: Service) -> None:
    granted = policy(idle_service)
    for name in ("first.png", "last.png", "首 帧.png", "尾 帧+%.png", "a+b.png", "a%2Bb.png"):
        reply = post(idle_service, granted, form(granted, name), picture(WARM))
        assert (reply.status, reply.body) == (200, b""), name
    assert_refused(post(idle_service, granted, form(granted, "首 帧.png"), picture(COLD)), 409, "FileAlreadyExists")


def test_an_upload_outside_its_policy_is_refused(idle_service: Service) -> None:
    granted = policy(idle_service)
    forged = {"Signature": granted["signature"][:-4] + "AAAA"}
    elsewhere = {"key": f"{policy(idle_service)['upload_dir']}/x.png"}
    above = {"key": "x.png"}
    for changed in (forged, elsewhere, above):
        assert_refused(post(idle_service, granted, form(granted, "x.png", **changed), b"x"), 403, "AccessDenied")
    altered = granted["policy"][:40] + ("A" if granted["policy"][40] != "A" else "B") + granted["policy"][41:]
    assert_refused(post(idle_service, granted, form(granted, "x.png", policy=altered), b"x"), 403, "AccessDenied")


def test_a_form_without_what_it_needs_is_refused(idle_service: Service) -> None:
    granted = policy(idle_service)
    for missing in ("Signature", "policy", "key"):
        fields = form(granted, "x.png")
        del fields[missing]
        assert_refused(post(idle_service, granted, fields, b"x"), 400, "InvalidParameter")
    assert_refused(post(idle_service, granted, form(granted, "x.png"), None), 400, "InvalidParameter")
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "multipart/form-data"}):
        reply = idle_service.request("POST", granted["upload_host"], body=b"--x", headers=headers, key=None)
        assert_refused(reply, 400, "InvalidParameter")


def test_a_file_beyond_the_limit_is_413_and_the_client_hears_it(idle_service: Service) -> None:
    granted = policy(idle_service)
    for size in (10 * 1024 * 1024 + 1, 12 * 1024 * 1024):
        reply = post(idle_service, granted, form(granted, f"{size}.png"), b"\0" * size)
        assert_refused(reply, 413, "BadRequest.TooLarge")


def test_an_upload_is_for_the_model_it_was_made_for(idle_service: Service) -> None:
    granted = policy(idle_service)
    fields = form(granted, "x.png")
    assert post(idle_service, granted, fields, picture(WARM)).status == 200
    url = "oss://" + fields["key"]
    assert order(idle_service, url, url).status == 200
    assert_refused(order(idle_service, url, url, model="wan2.1-kf2v-plus"), 400, "InvalidParameter")
    assert_refused(order(idle_service, url, url + "x"), 400, "InvalidParameter")


@pytest.mark.parametrize("query", ["", "?action=getPolicy", "?action=getPolicy&model=nonsense", f"?model={MODEL}"])
def test_a_policy_needs_an_action_and_a_known_model(idle_service: Service, query: str) -> None:
    assert_refused(idle_service.get(f"/api/v1/uploads{query}"), 400, "InvalidParameter")


@pytest.fixture(scope="module")
def video_url(service: Service, gallery: str) -> str:
    """The link of a finished video."""
    body = {
        "model": MODEL,
        "input": {"first_frame_url": f"{gallery}/first_frame.png", "last_frame_url": f"{gallery}/last_frame.png"},
        "parameters": {"resolution": "480P", "seed": 1},
    }
    ended = service.finish(service.create(json.dumps(body)).json["output"]["task_id"])
    assert ended["output"]["task_status"] == "SUCCEEDED", ended
    return ended["output"]["video_url"]


def test_a_link_gives_the_whole_video_without_a_key(service: Service, video_url: str) -> None:
    reply = service.get(video_url, key=None)
    assert (reply.status, reply.headers["content-type"]) == (200, "video/mp4")
    assert len(reply.body) == int(reply.headers["content-length"])
    assert reply.body[4:8] == b"ftyp"
    assert reply.headers["etag"]
    assert reply.headers["accept-ranges"] == "bytes"


def test_head_says_what_get_would_without_sending_it(service: Service, video_url: str) -> None:
    whole, head = service.get(video_url, key=None), service.request("HEAD", video_url, key=None)
    assert (head.status, head.body) == (200, b"")
    for name in ("content-length", "content-type", "etag", "accept-ranges"):
        assert head.headers[name] == whole.headers[name], name


def test_ranges_give_parts(service: Service, video_url: str) -> None:
    whole = service.get(video_url, key=None).body
    for asked, part in (
        ("bytes=0-99", whole[:100]),
        ("bytes=100-", whole[100:]),
        ("bytes=-7", whole[-7:]),
        (f"bytes=10-{len(whole) + 1000}", whole[10:]),
        (f"bytes=0-99,{len(whole)}-", whole[:100]),
    ):
        reply = service.get(video_url, headers={"Range": asked}, key=None)
        assert reply.status == 206, asked
        assert reply.body == part, asked
        assert re.fullmatch(rf"bytes \d+-\d+/{len(whole)}", reply.headers["content-range"])


def test_a_range_beyond_the_end_is_416_in_the_one_shape(service: Service, video_url: str) -> None:
    reply = service.get(video_url, headers={"Range": "bytes=999999999-"}, key=None)
    assert reply.status == 416
    assert set(reply.json) == {"code", "message", "request_id"}
    assert reply.headers["x-request-id"] == reply.json["request_id"]


@pytest.mark.parametrize("asked", ["bytes=", "bytes=5-1", "pages=1-2", "bytes=a-b", "nonsense"])
def test_a_range_that_makes_no_sense_is_ignored_or_refused_in_the_one_shape(
    service: Service, video_url: str, asked: str
) -> None:
    reply = service.get(video_url, headers={"Range": asked}, key=None)
    if reply.status != 200:
        assert reply.status in {400, 416}
        assert set(reply.json) == {"code", "message", "request_id"}


def test_a_client_that_has_the_video_is_not_sent_it_again(service: Service, video_url: str) -> None:
    etag = service.get(video_url, key=None).headers["etag"]
    reply = service.get(video_url, headers={"If-None-Match": etag}, key=None)
    assert (reply.status, reply.body) == (304, b"")


def test_a_link_is_refused_once_anything_in_it_is_changed(service: Service, video_url: str) -> None:
    past = re.sub(r"Expires=\d+", f"Expires={int(time.time()) - 10}", video_url)
    later = re.sub(r"Expires=(\d+)", lambda found: f"Expires={int(found[1]) + 3600}", video_url)
    forged = video_url[:-4] + ("AAAA" if video_url[-4:] != "AAAA" else "BBBB")
    for link in (past, later, forged, video_url.partition("?")[0], video_url.replace("Expires=", "Expires=x")):
        assert_refused(service.get(link, key=None), 403, "AccessDenied")
    head = service.request("HEAD", forged, key=None)
    assert (head.status, head.body) == (403, b"")


def test_polls_give_one_and_the_same_link(service: Service, video_url: str) -> None:
    task_id = video_url.partition("/results/")[2].partition(".mp4")[0]
    links = {service.task(task_id)["output"]["video_url"] for _ in range(3)}
    assert links == {video_url}

"""The SDKs' file:// flow: a policy, a form, an oss:// key."""

import errno
from typing import Any

import pytest

from house import House, picture, submission
from kf2v.clock import HOUR, SECOND

POLICY = "/api/v1/uploads?action=getPolicy&model=wan2.2-kf2v-flash"


def policy(house: House, **request: Any) -> dict[str, Any]:
    answer = house.call("GET", POLICY, **request)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def form_of(grant: dict[str, Any], name: str = "first.png") -> dict[str, str]:
    return {
        "OSSAccessKeyId": grant["oss_access_key_id"],
        "Signature": grant["signature"],
        "policy": grant["policy"],
        "key": f"{grant['upload_dir']}/{name}",
        "x-oss-object-acl": grant["x_oss_object_acl"],
        "x-oss-forbid-overwrite": grant["x_oss_forbid_overwrite"],
        "success_action_status": "200",
        "x-oss-content-type": "image/png",
    }


def post(house: House, form: dict[str, str], data: bytes = b"bytes") -> Any:
    name = form["key"].rpartition("/")[2] if "key" in form else "first.png"
    return house.call("POST", "/uploads", key=None, data=form, files={"file": (name, data)})


def uploaded(house: House, name: str = "first.png", data: bytes | None = None, **request: Any) -> str:
    form = form_of(policy(house, **request), name)
    answer = post(house, form, picture() if data is None else data)
    assert answer.status_code == 200, answer.text
    return f"oss://{form['key']}"


def test_a_policy_has_what_the_sdks_need_as_strings(house: House) -> None:
    answer = house.call("GET", POLICY).json()
    assert "output" not in answer
    grant = answer["data"]
    for name in ("oss_access_key_id", "signature", "policy", "upload_dir", "upload_host"):
        assert isinstance(grant[name], str)
        assert grant[name]
    assert grant["x_oss_object_acl"] == "private"
    assert grant["x_oss_forbid_overwrite"] == "true"
    assert grant["expire_in_seconds"] == 300
    assert grant["upload_host"] == "http://kf2v.test/uploads"
    assert not grant["upload_dir"].startswith("/")
    assert not grant["upload_dir"].endswith("/")


def test_each_policy_has_a_directory_of_its_own(house: House) -> None:
    assert policy(house)["upload_dir"] != policy(house)["upload_dir"]


def test_an_uploaded_file_becomes_a_frame(house: House) -> None:
    data = picture()
    key = uploaded(house, data=data)
    task = house.run(house.store.get(house.created(submission(input__first_frame_url=key))))
    assert task is not None
    assert house.blobs.read(task.job.first.place) == data


@pytest.mark.parametrize("name", ["首帧 图.png", "尾 帧+%.png", "a/b.png", "plain", "x" * 200 + ".png"])
def test_keys_are_opaque_and_raw(house: House, name: str) -> None:
    key = uploaded(house, name)
    assert house.create(submission(input__last_frame_url=key)).status_code == 200


def test_one_policy_serves_several_files(house: House) -> None:
    grant = policy(house)
    assert [post(house, form_of(grant, name)).status_code for name in ("a.png", "b.png")] == [200, 200]


def test_a_taken_key_is_409_and_keeps_the_first_file(house: House) -> None:
    grant = policy(house)
    form = form_of(grant)
    assert post(house, form, picture(size=(400, 400))).status_code == 200
    again = post(house, form, picture(size=(500, 500)))
    assert again.status_code == 409
    assert again.json()["code"] == "FileAlreadyExists"
    task_id = house.created(submission(input__first_frame_url=f"oss://{form['key']}"))
    task = house.run(house.store.get(task_id))
    assert task is not None
    assert house.blobs.read(task.job.first.place) == picture(size=(400, 400))


def test_a_policy_ends_after_300_seconds(house: House) -> None:
    form = form_of(policy(house))
    house.clock.advance(300 * SECOND - 1)
    assert post(house, dict(form, key=form["key"] + "1")).status_code == 200
    house.clock.advance(1)
    late = post(house, form)
    assert late.status_code == 403
    assert late.json()["message"] == "Invalid according to Policy: Policy expired."


@pytest.mark.parametrize("change", ["signature", "policy", "elsewhere", "the directory itself", "no key", "no file"])
def test_a_form_its_policy_does_not_cover_is_refused(house: House, change: str) -> None:
    form = form_of(policy(house))
    if change == "signature":
        form["Signature"] = "A" + form["Signature"][1:]
        form["Signature"] = "B" + form["Signature"][1:] if form == form_of(policy(house)) else form["Signature"]
    if change == "policy":
        form["policy"] = "e30="
    if change == "elsewhere":
        form["key"] = "dashscope-instant/somebody/else.png"
    if change == "the directory itself":
        form["key"] = form["key"].rpartition("/")[0] + "/"
    if change == "no key":
        del form["key"]
    if change == "no file":
        answer = house.call("POST", "/uploads", key=None, data=form, files={"other": ("a", b"a")})
    else:
        answer = post(house, form)
    assert answer.status_code in (400, 403)
    assert set(answer.json()) == {"code", "message", "request_id"}


def test_a_file_over_ten_megabytes_is_413(house: House) -> None:
    answer = post(house, form_of(policy(house)), b"x" * (10 * 1024 * 1024 + 1))
    assert answer.status_code == 413
    assert answer.json()["code"] == "BadRequest.TooLarge"


@pytest.mark.parametrize("body", [b"", b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\nz\r\n--x--\r\n"])
def test_a_broken_form_is_400(house: House, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = house.call("POST", "/uploads", key=None, content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["code"] == "InvalidParameter"


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", ""])
def test_what_is_no_form_is_400(house: House, kind: str) -> None:
    answer = house.call("POST", "/uploads", key=None, content=b"{}", headers={"Content-Type": kind})
    assert answer.status_code == 400


@pytest.mark.parametrize("whose", ["foreign account", "other model", "expired"])
def test_an_upload_is_for_its_account_and_model_and_time(house: House, whose: str) -> None:
    key = uploaded(house)
    body = submission(input__first_frame_url=key)
    request: dict[str, Any] = {}
    if whose == "foreign account":
        request["key"] = house.other_key
    if whose == "other model":
        body = submission(input__first_frame_url=key, model="wan2.1-kf2v-plus", parameters={})
    if whose == "expired":
        house.clock.advance(48 * HOUR)
    headers = {"X-DashScope-Async": "enable", "X-DashScope-OssResourceResolve": "enable"}
    path = "/api/v1/services/aigc/image2video/video-synthesis"
    answer = house.call("POST", path, json=body, headers=headers, **request)
    assert answer.status_code == 400
    assert answer.json()["code"] == "InvalidParameter"
    assert key[:40] in answer.json()["message"]


def test_both_names_of_the_21_model_share_uploads(house: House) -> None:
    grant = house.call("GET", POLICY.replace("wan2.2-kf2v-flash", "wanx2.1-kf2v-plus")).json()["data"]
    form = form_of(grant)
    assert post(house, form, picture()).status_code == 200
    body = submission(input__first_frame_url=f"oss://{form['key']}", model="wan2.1-kf2v-plus", parameters={})
    assert house.create(body).status_code == 200


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/v1/uploads", "action"),
        ("/api/v1/uploads?action=steal&model=wan2.2-kf2v-flash", "steal"),
        ("/api/v1/uploads?action=getPolicy", "model"),
        ("/api/v1/uploads?action=getPolicy&model=wan9", "wan9"),
    ],
)
def test_a_policy_for_nothing_is_refused(house: House, path: str, words: str) -> None:
    answer = house.call("GET", path)
    assert answer.status_code == 400
    assert words in answer.json()["message"]


def test_a_policy_asks_for_a_key(house: House) -> None:
    assert house.call("GET", POLICY, key=None).status_code == 401


def test_a_file_that_cannot_be_written_is_refused_until_later(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(key: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, f"No space left on device for {len(data)} bytes of {key}")

    monkeypatch.setattr(house.blobs, "put", full)
    answer = post(house, form_of(policy(house)), picture())
    assert (answer.status_code, answer.json()["code"]) == (503, "ModelUnavailable")
    assert int(answer.headers["retry-after"]) > 0

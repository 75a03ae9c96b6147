"""The client asks as the vendor's SDKs ask, and says what went wrong in the endpoint's words."""

import contextlib
import io
import itertools
import socket
import time
from collections.abc import Iterator
from threading import Thread

import httpx2
import pytest

from endpoint import KEY, VIDEO, Answer, Endpoint
from kf2v.net.dashscope import LONGEST, DashScope, Request, is_loopback
from kf2v.net.remote_error import Garbled, Refused, RemoteError, TimedOut, Unreachable

WHOLE = b'{"output": {"task_id": "task-1", "task_status": "PENDING"}}'
ORDER = Request(
    model="wan2.2-kf2v-flash",
    first_frame_url="https://host.example/first.png",
    last_frame_url="https://host.example/last.png",
)


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[DashScope]:
    with DashScope(endpoint.base_url, KEY) as client:
        yield client


@pytest.fixture
def nobody() -> str:
    """A base URL where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/api/v1"


def no_wait(seconds: float) -> None:
    assert seconds >= 0


def test_a_create_is_asynchronous_and_says_only_what_was_given(client: DashScope, endpoint: Endpoint) -> None:
    standing = client.create(ORDER)
    [asked] = endpoint.of("POST", "/image2video/video-synthesis")
    assert (standing.task_id, standing.status, standing.request_id) == ("task-1", "PENDING", "r-create")
    assert asked.headers["x-dashscope-async"] == "enable"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert "x-dashscope-ossresourceresolve" not in asked.headers
    assert asked.json() == {
        "model": "wan2.2-kf2v-flash",
        "input": {
            "first_frame_url": "https://host.example/first.png",
            "last_frame_url": "https://host.example/last.png",
        },
        "parameters": {},
    }


def test_a_create_carries_every_choice(client: DashScope, endpoint: Endpoint) -> None:
    client.create(
        Request(
            model="m-kf2v",
            first_frame_url="https://a.example/1.png",
            last_frame_url="oss://dir/2.png",
            prompt="一只猫",
            negative_prompt="blur",
            resolution="480P",
            seed=0,
            prompt_extend=False,
            watermark=False,
        )
    )
    [asked] = endpoint.of("POST", "/image2video/video-synthesis")
    assert asked.headers["x-dashscope-ossresourceresolve"] == "enable"
    assert asked.json()["input"]["prompt"] == "一只猫"
    assert asked.json()["input"]["negative_prompt"] == "blur"
    assert asked.json()["parameters"] == {
        "resolution": "480P",
        "seed": 0,
        "prompt_extend": False,
        "watermark": False,
    }


def test_a_slash_after_the_base_url_changes_nothing(endpoint: Endpoint) -> None:
    with DashScope(endpoint.base_url + "/", KEY) as client:
        client.get("task-1")
    assert endpoint.asked[-1].path == "/api/v1/tasks/task-1"


def test_a_wrong_key_is_refused_in_the_endpoints_words(endpoint: Endpoint) -> None:
    with DashScope(endpoint.base_url, "sk-wrong") as client, pytest.raises(Refused) as caught:
        client.get("task-1")
    error = caught.value
    assert (error.status, error.code, error.message) == (401, "InvalidApiKey", "Invalid API-key provided.")
    assert error.request_id == "r-401"


def test_an_error_without_a_json_body_still_has_a_code(client: DashScope, endpoint: Endpoint) -> None:
    endpoint.instead["GET", "/api/v1/tasks/task-1"] = [Answer(502, b"<html>Bad Gateway</html>", "text/html")]
    with pytest.raises(Refused) as caught:
        client.get("task-1")
    assert (caught.value.status, caught.value.code) == (502, "HTTP502")
    assert "127.0.0.1" in caught.value.message


@pytest.mark.parametrize("body", [b'{"code": "E", "message": "\xff"}', b'{"code":' * 100_000], ids=["bytes", "deep"])
def test_an_error_that_is_no_json_still_has_a_code(client: DashScope, endpoint: Endpoint, body: bytes) -> None:
    endpoint.instead["GET", "/api/v1/tasks/task-1"] = [Answer(400, body)]
    with pytest.raises(Refused) as caught:
        client.get("task-1")
    assert caught.value.code == "HTTP400"


def test_an_answer_that_comes_by_drops_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                for _ in range(1000):
                    connection.sendall(b" ")
                    time.sleep(0.02)

        dripping = Thread(target=drip)
        dripping.start()
        base_url = f"http://127.0.0.1:{server.getsockname()[1]}/api/v1"
        with DashScope(base_url, KEY, timeout=0.5) as client, pytest.raises(TimedOut) as caught:
            client.get("task-1")
        dripping.join()
    assert caught.value.doubtful


@pytest.mark.parametrize(
    "body",
    [
        *(b"hello", b"[]", b"{}", b'{"output": {"task_id": "x"}}', b'{"output": []}', b""),
        *(b'{"output": "\xff\xfe"}', b'{"output":' * 100_000, WHOLE + b" " * LONGEST),
    ],
    ids=lambda body: repr(body[:30]),
)
def test_an_answer_of_another_kind_of_server_is_recognised(client: DashScope, endpoint: Endpoint, body: bytes) -> None:
    endpoint.instead["GET", "/api/v1/tasks/task-1"] = [Answer(200, body)]
    with pytest.raises(Garbled):
        client.get("task-1")


def test_a_redirect_of_the_api_is_not_followed(client: DashScope, endpoint: Endpoint) -> None:
    elsewhere = Answer(307, b"", headers={"Location": f"{endpoint.origin}/elsewhere"})
    endpoint.instead["GET", "/api/v1/tasks/task-1"] = [elsewhere]
    with pytest.raises(Refused) as caught:
        client.get("task-1")
    assert caught.value.status == 307
    assert not endpoint.of("GET", "/elsewhere")


def test_nobody_there_is_unreachable(nobody: str) -> None:
    with DashScope(nobody, KEY) as client, pytest.raises(Unreachable) as caught:
        client.get("task-1")
    assert nobody.removesuffix("/api/v1") in caught.value.message


@pytest.mark.parametrize("url", ["no url", "http://", "ftp://host.example/api/v1", "http://[::1", "http://a b/api/v1"])
def test_what_is_no_web_address_is_unreachable(url: str) -> None:
    with pytest.raises(Unreachable), DashScope(url, KEY) as client:
        client.get("task-1")


def test_silence_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        base_url = f"http://127.0.0.1:{deaf.getsockname()[1]}/api/v1"
        with DashScope(base_url, KEY, timeout=httpx2.Timeout(0.05)) as client, pytest.raises(TimedOut):
            client.get("task-1")


def test_a_file_is_uploaded_under_its_policy_and_without_the_key(client: DashScope, endpoint: Endpoint) -> None:
    url = client.upload(io.BytesIO(b"picture"), name="首 帧.png", model="wan2.2-kf2v-flash")
    [policy] = endpoint.of("GET", "/uploads")
    [posted] = endpoint.of("POST", "/bucket")
    assert policy.query == {"action": "getPolicy", "model": "wan2.2-kf2v-flash"}
    assert url == "oss://dashscope-instant/1/首 帧.png"
    assert "authorization" not in posted.headers
    form = posted.form()
    assert list(form)[-1] == "file"
    assert form["file"] == b"picture"
    assert form["key"].decode() == "dashscope-instant/1/首 帧.png"
    assert form["OSSAccessKeyId"] == b"kf2v"
    assert form["Signature"] == b"c2ln"
    assert form["policy"] == b"cG9saWN5"
    assert form["x-oss-object-acl"] == b"private"
    assert form["x-oss-forbid-overwrite"] == b"true"
    assert form["success_action_status"] == b"200"


def test_a_refused_upload_says_why(client: DashScope, endpoint: Endpoint) -> None:
    endpoint.fail_once("POST", "/bucket", 409, "FileAlreadyExists", "taken")
    with pytest.raises(Refused) as caught:
        client.upload(io.BytesIO(b"picture"), name="a.png", model="m")
    assert (caught.value.status, caught.value.code) == (409, "FileAlreadyExists")


def test_a_download_is_whole_and_counts_its_bytes(client: DashScope, endpoint: Endpoint) -> None:
    file = io.BytesIO()
    told: list[tuple[int, int | None]] = []
    size = client.download(f"{endpoint.origin}/files/video.mp4", file, lambda done, total: told.append((done, total)))
    assert file.getvalue() == VIDEO
    assert size == len(VIDEO)
    assert told[-1] == (len(VIDEO), len(VIDEO))
    assert "authorization" not in endpoint.asked[-1].headers


def test_a_download_follows_redirects(client: DashScope, endpoint: Endpoint) -> None:
    there = {"Location": f"{endpoint.origin}/files/video.mp4"}
    endpoint.instead["GET", "/old"] = [Answer(302, b"", headers=there)]
    file = io.BytesIO()
    client.download(f"{endpoint.origin}/old", file)
    assert file.getvalue() == VIDEO


def test_a_refused_download_writes_nothing(client: DashScope, endpoint: Endpoint) -> None:
    endpoint.fail_once("GET", "/files/video.mp4", 403, "AccessDenied", "The link is invalid or has expired.")
    file = io.BytesIO()
    with pytest.raises(Refused) as caught:
        client.download(f"{endpoint.origin}/files/video.mp4", file)
    assert caught.value.code == "AccessDenied"
    assert file.getvalue() == b""


def test_a_download_cut_short_is_an_error(client: DashScope) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def half() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")

        thread = Thread(target=half)
        thread.start()
        with pytest.raises(Unreachable):
            client.download(f"http://127.0.0.1:{server.getsockname()[1]}/v.mp4", io.BytesIO())
        thread.join()


def test_cancel_and_list_speak_the_apis_paths(client: DashScope, endpoint: Endpoint) -> None:
    endpoint.rows *= 11
    assert client.cancel("task-1") == "r-cancel"
    rows = client.list(page_no=2, status="SUCCEEDED", model_name=None)["data"]
    assert rows[0]["task_id"] == "task-1"
    assert endpoint.asked[-1].query == {"page_no": "2", "status": "SUCCEEDED"}


def test_following_tells_every_poll_up_to_the_end(client: DashScope, endpoint: Endpoint) -> None:
    told = list(client.follow("task-1", pace=[0], sleep=no_wait))
    assert [standing.status for standing in told] == ["PENDING", "RUNNING", "SUCCEEDED"]
    assert told[-1].video_url == f"{endpoint.origin}/files/video.mp4"
    assert told[-1].answer["usage"]["SR"] == 720


def test_following_keeps_the_pace_and_then_its_last_step(client: DashScope, endpoint: Endpoint) -> None:
    endpoint.states = [{"task_status": "RUNNING"}] * 4 + [{"task_status": "CANCELED"}]
    slept: list[float] = []
    list(client.follow("task-1", pace=[1, 5], sleep=slept.append))
    assert slept == [1, 5, 5, 5]


def test_following_bears_what_passes(client: DashScope, endpoint: Endpoint) -> None:
    path = "/api/v1/tasks/task-1"
    polls = client.follow("task-1", pace=[0], sleep=no_wait)
    assert next(polls).status == "PENDING"
    for status, code in [(503, "ModelUnavailable"), (429, "Throttling"), (500, "InternalError")]:
        endpoint.fail_once("GET", path, status, code, "later")
    assert [standing.status for standing in polls] == ["RUNNING", "SUCCEEDED"]


def test_following_loses_patience(client: DashScope, endpoint: Endpoint) -> None:
    polls = client.follow("task-1", pace=[0], patience=2, sleep=no_wait)
    next(polls)
    for _ in range(3):
        endpoint.fail_once("GET", "/api/v1/tasks/task-1", 503, "ModelUnavailable", "later")
    with pytest.raises(Refused):
        next(polls)
    assert len(endpoint.of("GET", "/task-1")) == 4


def test_following_does_not_wait_where_nobody_ever_answered(nobody: str) -> None:
    with DashScope(nobody, KEY) as client, pytest.raises(Unreachable):
        next(client.follow("task-1", pace=itertools.repeat(3600)))


def test_following_ends_at_once_when_it_is_refused(client: DashScope, endpoint: Endpoint) -> None:
    polls = client.follow("task-1", pace=[3600])
    endpoint.fail_once("GET", "/api/v1/tasks/task-1", 401, "InvalidApiKey", "revoked")
    with pytest.raises(RemoteError) as caught:
        next(polls)
    assert caught.value.code == "InvalidApiKey"


def test_a_proxy_of_the_environment_is_used_for_others_and_not_for_this_machine(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Endpoint() as proxy:  # answers whatever it is asked, as a proxy would
        for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        with DashScope(endpoint.base_url, KEY) as client:
            client.get("task-1")
        assert not proxy.asked
        with DashScope("http://kf2v.invalid/api/v1", KEY) as client:
            assert client.get("task-9").status == "UNKNOWN"
        assert proxy.asked[0].path == "/api/v1/tasks/task-9"
        monkeypatch.setenv("NO_PROXY", "kf2v.invalid")
        with DashScope("http://kf2v.invalid/api/v1", KEY) as client, pytest.raises(Unreachable):
            client.get("task-9")
        assert len(proxy.asked) == 1


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/api/v1", "http://localhost/", "https://[::1]:1", "http://127.8.9.1"]
)
def test_this_machine_is_recognised(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1.example/", "http://10.0.0.1", "https://dashscope.aliyuncs.com", "", "http://[::1"]
)
def test_other_machines_are_not_this_one(url: str) -> None:
    assert not is_loopback(url)


@pytest.mark.parametrize(
    ("answer", "doubtful"),
    [
        (Answer(500, b'{"code": "InternalError", "message": "no"}'), False),
        (Answer(429, b'{"code": "Throttling", "message": "no"}'), False),
        (Answer(404, b"<html>"), False),
        (Answer(504, b"<html>"), True),
        (Answer(200, b"<html>"), True),
        (Answer(0, b""), True),
    ],
)
def test_an_error_says_whether_it_may_have_been_done_all_the_same(
    client: DashScope, endpoint: Endpoint, answer: Answer, doubtful: bool
) -> None:
    endpoint.instead["POST", "/api/v1/services/aigc/image2video/video-synthesis"] = [answer]
    with pytest.raises(RemoteError) as caught:
        client.create(ORDER)
    assert caught.value.doubtful is doubtful


def test_what_never_left_was_not_done(nobody: str) -> None:
    with DashScope(nobody, KEY) as client, pytest.raises(Unreachable) as caught:
        client.create(ORDER)
    assert not caught.value.doubtful


@pytest.mark.parametrize(("said", "seconds"), [("7", 7.0), ("soon", None), (None, None)])
def test_an_error_says_when_to_come_again(
    client: DashScope, endpoint: Endpoint, said: str | None, seconds: float | None
) -> None:
    body = b'{"code": "Throttling.RateQuota", "message": "no"}'
    headers = {} if said is None else {"Retry-After": said}
    endpoint.instead["GET", "/api/v1/tasks/task-1"] = [Answer(429, body, headers=headers)]
    with pytest.raises(Refused) as caught:
        client.get("task-1")
    assert caught.value.retry_after == seconds


def test_a_create_may_say_that_it_counts_once(client: DashScope, endpoint: Endpoint) -> None:
    client.create(ORDER)
    client.create(ORDER, idempotency_key="once")
    first, second = endpoint.of("POST", "/video-synthesis")
    assert "idempotency-key" not in first.headers
    assert second.headers["idempotency-key"] == "once"


def test_it_is_remembered_what_the_endpoint_calls_itself(client: DashScope, endpoint: Endpoint) -> None:
    assert client.software == ""
    endpoint.software = "kf2v"
    client.get("task-1")
    assert client.software == "kf2v"

"""Posting is as guarded as fetching, and says what was wrong."""

import socket
import threading
from collections.abc import Iterator

import pytest

from kf2v.net.guard import AllowedHosts
from kf2v.net.post import ANSWER_LIMIT, NeverPosted, NotPosted, Poster
from receiver import Receiver, receiving

LOCAL = AllowedHosts({"127.0.0.1"})
NONE = AllowedHosts((), variable="KF2V_WEBHOOK_ALLOW_HOSTS")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as double:
        yield double


def poster(allowed: AllowedHosts = LOCAL, *, timeout: float = 20.0) -> Poster:
    return Poster(allowed=allowed, timeout=timeout)


def test_body_and_headers_arrive_as_they_are_and_the_answer_comes_back(receiver: Receiver) -> None:
    receiver.next, receiver.says = [(201, {"Retry-After": " 7 "})], "好".encode()
    answer = poster().post(f"{receiver.url}/a?b=c", b'{"d": "e"}', {"Content-Type": "text/x", "User-Agent": "me"})
    (got,) = receiver.got
    assert (got.path, got.body) == ("/a?b=c", b'{"d": "e"}')
    assert (got.headers["content-type"], got.headers["user-agent"]) == ("text/x", "me")
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["accept-encoding"] == "identity"
    assert "cookie" not in got.headers
    assert (answer.status, answer.retry_after, answer.text) == (201, "7", "好")


def test_a_redirect_is_an_answer_like_any_other(receiver: Receiver) -> None:
    receiver.next = [(302, {"Location": "/other"})]
    assert poster().post(receiver.url, b"", {}).status == 302
    assert len(receiver.got) == 1


def test_only_the_beginning_of_a_long_answer_is_read(receiver: Receiver) -> None:
    receiver.next, receiver.says = [(200, {})], b"x" * 10_000_000
    assert poster().post(receiver.url, b"", {}).text == "x" * ANSWER_LIMIT


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://127.0.0.1:9/", "http://[::1]/", "http://10.1.2.3/"])
def test_what_is_not_public_is_never_asked(url: str) -> None:
    with pytest.raises(NeverPosted, match="KF2V_WEBHOOK_ALLOW_HOSTS="):
        poster(NONE).post(url, b"", {})


def test_a_name_that_leads_inside_is_never_asked(receiver: Receiver) -> None:
    inside = Poster(allowed=NONE, timeout=20.0, resolver=lambda host, port: ["127.0.0.1"])
    with pytest.raises(NeverPosted, match=r"KF2V_WEBHOOK_ALLOW_HOSTS=example\.com"):
        inside.post("http://example.com/", b"", {})
    assert not receiver.got


def test_what_is_no_address_is_never_asked() -> None:
    with pytest.raises(NeverPosted, match="should start with http"):
        poster().post("gopher://x", b"", {})


def test_a_name_that_does_not_resolve_may_do_so_later() -> None:
    def nobody(host: str, port: int) -> list[str]:
        raise socket.gaierror("no such name")

    with pytest.raises(NotPosted, match="cannot be resolved") as error:
        Poster(allowed=NONE, timeout=20.0, resolver=nobody).post("https://example.com/secret?token=secret", b"", {})
    assert not isinstance(error.value, NeverPosted)
    assert "secret" not in str(error.value)


def test_nobody_listening_is_told(receiver: Receiver) -> None:
    receiver.close()
    with pytest.raises(NotPosted, match="cannot be connected to"):
        poster().post(receiver.url, b"", {})


def test_silence_ends_in_time(receiver: Receiver) -> None:
    receiver.awake.clear()
    with pytest.raises(NotPosted, match=r"did not answer within 0\.2 s"):
        poster(timeout=0.2).post(receiver.url, b"", {})


@pytest.mark.parametrize(
    ("said", "complaint"), [(b"", "valid HTTP answer"), (b"SSH-2.0-x\r\n\r\n", "valid HTTP answer")]
)
def test_what_is_no_http_is_told(said: bytes, complaint: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            line, _ = listener.accept()
            with line:
                line.recv(65536)
                line.sendall(said)

        answering = threading.Thread(target=answer)
        answering.start()
        with pytest.raises(NotPosted, match=complaint):
            poster().post(f"http://127.0.0.1:{listener.getsockname()[1]}/", b"", {})
        answering.join()

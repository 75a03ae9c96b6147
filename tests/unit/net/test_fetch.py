import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kf2v.errors import ConnectionRefused, DownloadTimeout, FrameError, InvalidFileSize, InvalidUrl
from kf2v.net.fetch import Fetcher, Resolver, resolve

PICTURE = bytes(range(256)) * 40
PUBLIC = "93.184.216.34"
LOCAL = frozenset({"127.0.0.1", "localhost"})
LIMIT = 100_000


class Host:
    """A web host on loopback: what each path answers, and what it was asked."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        host = self
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.gone = threading.Event()
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                host.asked.append((self.path, dict(self.headers.items())))
                self.close_connection = True
                try:
                    host.answers.get(self.path.partition("?")[0], missing)(self)
                except OSError:
                    host.gone.set()

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def missing(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(404)


def sends(
    body: bytes, *, status: int = 200, length: int | None = None, **headers: str
) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def redirects(target: str, status: int = 302) -> Callable[[BaseHTTPRequestHandler], None]:
    return sends(b"go there", status=status, Location=target)


def says(raw: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda handler: handler.wfile.write(raw) and None


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


class Names:
    """A resolver that knows what it is told, takes numbers for themselves, and asks nobody."""

    def __init__(self, **answers: Sequence[str]) -> None:
        self._answers = {name.replace("_", "."): list(answer) for name, answer in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host in self._answers:
            return self._answers[host]
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [str(address[0]) for *_, address in found]


class Lines:
    """What is connected to; everything ends at ``port`` on loopback."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.to: list[tuple[str, int]] = []
        self.dead: set[str] = set()
        self._connect = socket.create_connection

    def __call__(self, address: tuple[str, int], *args: Any, **options: Any) -> socket.socket:
        self.to.append(address)
        if address[0] in self.dead:
            raise ConnectionRefusedError
        return self._connect(("127.0.0.1", self.port), *args, **options)


@pytest.fixture
def lines(host: Host, monkeypatch: pytest.MonkeyPatch) -> Lines:
    lines = Lines(host.port)
    monkeypatch.setattr(socket, "create_connection", lines)
    return lines


def fetcher(
    *, allow: frozenset[str] = frozenset(), timeout: float = 20.0, resolver: Resolver = resolve, **options: Any
) -> Fetcher:
    return Fetcher(allow_hosts=allow, timeout=timeout, max_bytes=LIMIT, resolver=resolver, **options)


def refusal(kind: type[FrameError], fetcher: Fetcher, url: str) -> str:
    """What is said when ``url`` is refused."""
    with pytest.raises(FrameError) as caught:
        fetcher.fetch(url)
    assert type(caught.value) is kind, caught.value.message
    assert caught.value.message.startswith(kind.sentence + " ")
    return caught.value.message


def test_a_picture_is_fetched_from_a_named_host(host: Host) -> None:
    host.answers["/x.png"] = sends(PICTURE, Content_Type="text/html")
    assert fetcher(allow=LOCAL).fetch(f"{host.url}/x.png?a=1&b=%2F") == PICTURE
    path, headers = host.asked[0]
    assert path == "/x.png?a=1&b=%2F"
    assert headers["Host"] == f"127.0.0.1:{host.port}"
    assert headers["Accept-Encoding"] == "identity"
    assert not {"Authorization", "Cookie", "Referer"} & set(headers)


def test_a_host_named_with_its_port_is_fetched_from(host: Host) -> None:
    host.answers["/x"] = sends(PICTURE)
    assert fetcher(allow=frozenset({f"localhost:{host.port}"})).fetch(f"http://localhost:{host.port}/x") == PICTURE


def test_a_picture_in_chunks_is_fetched(host: Host) -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    host.answers["/x"] = says(raw)
    assert fetcher(allow=LOCAL).fetch(f"{host.url}/x") == b"abcde"


def test_one_fetcher_fetches_again_and_again(host: Host) -> None:
    host.answers["/x"] = sends(PICTURE)
    fetching = fetcher(allow=LOCAL)
    assert [len(fetching.fetch(f"{host.url}/x")) for _ in range(3)] == [len(PICTURE)] * 3


def test_a_proxy_of_the_environment_is_not_used(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    host.answers["/x"] = sends(PICTURE)
    assert fetcher(allow=LOCAL).fetch(f"{host.url}/x") == PICTURE


@pytest.mark.parametrize("status", [201, 204, 206, 300, 304, 400, 401, 403, 404, 410, 418, 429, 500, 503])
def test_any_other_status_is_told(host: Host, status: int) -> None:
    host.answers["/x"] = sends(b"", status=status)
    said = refusal(InvalidUrl, fetcher(allow=LOCAL), f"{host.url}/x?token=s3cret")
    assert f"{host.url}/x answered with status {status}" in said
    assert "s3cret" not in said


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(host: Host, status: int) -> None:
    host.answers["/a"] = redirects("b?x=1", status)
    host.answers["/b"] = sends(PICTURE)
    assert fetcher(allow=LOCAL).fetch(f"{host.url}/a") == PICTURE
    assert [path for path, _ in host.asked] == ["/a", "/b?x=1"]


def test_three_redirects_are_followed_and_not_four(host: Host) -> None:
    for number in range(4):
        host.answers[f"/{number}"] = redirects(f"/{number + 1}")
    host.answers["/4"] = sends(PICTURE)
    assert fetcher(allow=LOCAL).fetch(f"{host.url}/1") == PICTURE
    assert "redirects more than 3 times" in refusal(InvalidUrl, fetcher(allow=LOCAL), f"{host.url}/0")


def test_a_redirect_in_a_circle_ends(host: Host) -> None:
    host.answers["/a"] = redirects("/a")
    assert "redirects more than 3 times" in refusal(InvalidUrl, fetcher(allow=LOCAL), f"{host.url}/a")
    assert len(host.asked) == 4


def test_a_redirect_without_a_target_is_told_as_a_status(host: Host) -> None:
    host.answers["/a"] = sends(b"", status=302)
    assert "status 302" in refusal(InvalidUrl, fetcher(allow=LOCAL), f"{host.url}/a")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://127.0.0.1/latest/meta-data?t=s3cret", "not public"),
        ("http://169.254.169.254/latest", "not public"),
        ("http://[::1]/", "not public"),
        ("http://2130706433/", "not public"),
        ("http://inner.example/", "not public"),
        ("http://photos.example:22/", "port 22"),
        ("//127.0.0.1/x", "not public"),
        ("file:///etc/passwd", "should start with http"),
        ("gopher://photos.example/", "should start with http"),
        ("http://u:s3cret@photos.example/", "user name or password"),
    ],
)
def test_a_redirect_passes_the_guard_too(host: Host, lines: Lines, target: str, reason: str) -> None:
    host.answers["/a"] = redirects(target)
    names = Names(photos_example=[PUBLIC], inner_example=["10.0.0.7"])
    said = refusal(InvalidUrl, fetcher(resolver=names), "http://photos.example/a")
    assert reason in said
    assert "http://photos.example/a (redirected to " in said
    assert "s3cret" not in said
    assert lines.to == [(PUBLIC, 80)]


def test_a_named_host_cannot_lead_to_one_that_is_not(host: Host) -> None:
    host.answers["/a"] = redirects(f"http://127.0.0.1:{host.port}/b")
    said = refusal(InvalidUrl, fetcher(allow=frozenset({"localhost"})), f"http://localhost:{host.port}/a")
    assert "KF2V_FETCH_ALLOW_HOSTS=127.0.0.1" in said
    assert len(host.asked) == 1


def test_a_public_host_is_asked_at_the_address_that_was_checked(host: Host, lines: Lines) -> None:
    host.answers["/x"] = sends(PICTURE)
    names = Names(photos_example=[PUBLIC, "2606:4700::1111"])
    assert fetcher(resolver=names).fetch("http://photos.example/x") == PICTURE
    assert names.asked == ["photos.example"]
    assert lines.to == [(PUBLIC, 80)]
    assert host.asked[0][1]["Host"] == "photos.example"


def test_the_next_address_is_asked_when_one_does_not_answer(host: Host, lines: Lines) -> None:
    lines.dead = {PUBLIC}
    host.answers["/x"] = sends(PICTURE)
    names = Names(photos_example=[PUBLIC, "2606:4700::1111"])
    assert fetcher(resolver=names).fetch("http://photos.example/x") == PICTURE
    assert lines.to == [(PUBLIC, 80), ("2606:4700::1111", 80)]


def test_a_name_that_changes_its_mind_gains_nothing(host: Host, lines: Lines) -> None:
    host.answers["/x"] = sends(PICTURE)
    answers = [[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]]
    asked: list[str] = []

    def rebinding(name: str, port: int) -> Sequence[str]:
        asked.append(name)
        return answers[len(asked) - 1]

    assert fetcher(resolver=rebinding).fetch("http://rebind.example/x") == PICTURE
    assert asked == ["rebind.example"]
    assert lines.to == [(PUBLIC, 80)]


def test_a_name_that_changes_its_mind_between_redirects_is_refused(host: Host, lines: Lines) -> None:
    host.answers["/x"] = redirects("/y")
    answers = iter([[PUBLIC], ["10.0.0.1"]])
    assert "not public" in refusal(InvalidUrl, fetcher(resolver=lambda *_: next(answers)), "http://rebind.example/x")
    assert lines.to == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    "addresses",
    [[PUBLIC, "10.0.0.1"], ["10.0.0.1", PUBLIC], [PUBLIC, "::1"], [PUBLIC, "fe80::1%eth0"], [PUBLIC, "64:ff9b::1"]],
)
def test_a_name_with_a_public_and_a_private_address_is_refused(lines: Lines, addresses: list[str]) -> None:
    said = refusal(InvalidUrl, fetcher(resolver=Names(mixed_example=addresses)), "http://mixed.example/x?t=s3cret")
    assert "not public" in said
    assert "KF2V_FETCH_ALLOW_HOSTS=mixed.example" in said
    assert lines.to == []


HOSTILE = (
    *(
        f"http://{host}/latest/meta-data"
        for host in (
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "127.127.127.127",
            "0",
            "0.0.0.0",
            "2130706433",
            "017700000001",
            "0x7f000001",
            "0x7f.1",
            "0x7F.0x0.0x0.0x1",
            "0177.0.0.1",
            "0177.0.0x1",
            "１２７.０.０.１",
            "①②⑦.0.0.1",
            "127。0。0。1",
            "169.254.169.254",
            "2852039166",
            "0xA9FEA9FE",
            "0251.0376.0251.0376",
            "169.254.43518",
            "169.16689662",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "10.0.0.1",
            "10.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.168.257",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "203.0.113.5",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::127.0.0.1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::ffff:169.254.169.254]",
            "[::ffff:0:127.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b:1::a00:1]",
            "[2002:7f00:1::]",
            "[2002:a9fe:a9fe::]",
            "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
            "[2001:db8::1]",
            "[fd00:ec2::254]",
            "[fc00::1]",
            "[fe80::1]",
            "[fe80::1%25lo]",
            "[fec0::1]",
            "[ff02::1]",
            "localhost",
            "LOCALHOST.",
            "inner.example",
            "inner6.example",
            "127.0.0.1.nip.example",
            "metadata.google.internal",
            "user@127.0.0.1",
            "photos.example@127.0.0.1",
            "127.0.0.1%2f@photos.example",
            "photos.example:22",
            "photos.example:6379",
            "photos.example:8080",
            "127.0.0.1:80\\@photos.example",
            "photos.example\\@127.0.0.1",
            "127.0.0.1 photos.example",
            "127.0.0.1%00.photos.example",
            "127.0.0.1\r\nX: y",
        )
    ),
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "ftp://127.0.0.1/",
    "dict://127.0.0.1:11211/stat",
    "ldap://127.0.0.1/",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "jar:http://127.0.0.1!/",
    "//127.0.0.1/",
    "http:127.0.0.1/",
    "http:///127.0.0.1/",
    "http:/\\127.0.0.1/",
    "https://127.0.0.1/",
    "https://[::1]/",
)


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_url_leads_nowhere(lines: Lines, url: str) -> None:
    names = Names(
        localhost=["127.0.0.1", "::1"],
        photos_example=[PUBLIC],
        inner_example=["10.0.0.7"],
        inner6_example=["fd00::7"],
        metadata_google_internal=["169.254.169.254"],
        **{"127_0_0_1_nip_example": ["127.0.0.1"]},
    )
    refusal(InvalidUrl, fetcher(resolver=names), url)
    assert lines.to == []


def test_an_odd_spelling_of_a_public_address_is_just_that(host: Host, lines: Lines) -> None:
    host.answers["/x"] = sends(PICTURE)
    assert fetcher(resolver=Names()).fetch("http://134744072/x") == PICTURE
    assert lines.to == [("8.8.8.8", 80)]


def test_a_name_nobody_knows_is_told() -> None:
    said = refusal(InvalidUrl, fetcher(resolver=Names()), "http://nobody.example/x?t=s3cret")
    assert "the host of http://nobody.example/x cannot be resolved" in said


def test_a_name_without_addresses_is_told() -> None:
    assert "no address" in refusal(InvalidUrl, fetcher(resolver=Names(a_example=[])), "http://a.example/x")


def test_a_name_the_resolver_cannot_even_spell_is_told() -> None:
    def strict(name: str, port: int) -> Sequence[str]:
        raise UnicodeError("label too long")

    assert "cannot be resolved" in refusal(InvalidUrl, fetcher(resolver=strict), "http://a.example/x")


def test_a_resolver_that_never_answers_is_given_up(host: Host) -> None:
    release = threading.Event()

    def silent(name: str, port: int) -> Sequence[str]:
        release.wait(60)
        return [PUBLIC]

    try:
        said = refusal(DownloadTimeout, fetcher(resolver=silent, timeout=0.1), "http://slow.example/x")
    finally:
        release.set()
    assert "was not complete after 0.1 s" in said


def test_a_host_that_refuses_is_told() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        port = unheard.getsockname()[1]
        said = refusal(ConnectionRefused, fetcher(allow=LOCAL), f"http://127.0.0.1:{port}/x?t=s3cret")
    assert f"http://127.0.0.1:{port}/x cannot be connected to" in said


def test_a_host_that_accepts_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        said = refusal(DownloadTimeout, fetcher(allow=LOCAL, timeout=0.2), url)
    assert f"{url} was not complete after 0.2 s" in said


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5000;",
        b"",
    ],
    ids=["body", "header", "chunk", "status"],
)
def test_dripping_does_not_outlast_the_deadline(host: Host, first: bytes) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(first)
        while not host.gone.wait(0.02):
            handler.wfile.write(b"H")

    host.answers["/x"] = drip
    refusal(DownloadTimeout, fetcher(allow=LOCAL, timeout=0.4), f"{host.url}/x")
    assert host.gone.wait(20), "the connection is still open"


def test_the_deadline_is_for_all_redirects_together(host: Host) -> None:
    def late(handler: BaseHTTPRequestHandler) -> None:
        host.gone.wait(0.3)
        redirects("/x")(handler)

    host.answers["/x"] = late
    refusal(DownloadTimeout, fetcher(allow=LOCAL, timeout=0.5), f"{host.url}/x")


def test_a_body_of_exactly_the_limit_is_fetched(host: Host) -> None:
    host.answers["/x"] = sends(bytes(LIMIT))
    assert len(fetcher(allow=LOCAL).fetch(f"{host.url}/x")) == LIMIT


def test_a_body_that_says_it_is_too_large_is_not_read(host: Host) -> None:
    def boast(handler: BaseHTTPRequestHandler) -> None:
        sends(b"", length=LIMIT + 1)(handler)
        host.gone.wait(20)

    host.answers["/x"] = boast
    try:
        said = refusal(InvalidFileSize, fetcher(allow=LOCAL), f"{host.url}/x")
    finally:
        host.gone.set()
    assert f"{host.url}/x is larger than" in said


def test_ten_megabytes_are_called_so(host: Host) -> None:
    host.answers["/x"] = sends(b"", length=10 * 2**20 + 1)
    fetching = Fetcher(allow_hosts=LOCAL, timeout=20.0, max_bytes=10 * 2**20)
    assert refusal(InvalidFileSize, fetching, f"{host.url}/x").endswith(f"{host.url}/x is larger than 10 MB.")


def test_a_body_without_end_is_cut(host: Host) -> None:
    def pour(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            handler.wfile.write(bytes(10_000))

    host.answers["/x"] = pour
    refusal(InvalidFileSize, fetcher(allow=LOCAL), f"{host.url}/x")
    assert host.gone.wait(20), "the connection is still open"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort", "whole, valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "whole, valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "whole, valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", "whole, valid HTTP"),
        (b"SSH-2.0-OpenSSH_9.0\r\n", "whole, valid HTTP"),
        (b"", "whole, valid HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", "HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n12345", "compressed ('gzip')"),
    ],
    ids=["short", "short chunk", "negative", "two lengths", "ssh", "nothing", "headers", "gzip"],
)
def test_a_broken_answer_is_told(host: Host, raw: bytes, reason: str) -> None:
    host.answers["/x"] = says(raw)
    assert reason in refusal(InvalidUrl, fetcher(allow=LOCAL), f"{host.url}/x")


def test_a_reset_connection_is_told() -> None:
    def reset(server: socket.socket) -> None:
        connection, _ = server.accept()
        connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        resetting = threading.Thread(target=reset, args=(server,))
        resetting.start()
        said = refusal(InvalidUrl, fetcher(allow=LOCAL), f"http://127.0.0.1:{server.getsockname()[1]}/x")
        resetting.join()
    assert "broke the connection off" in said


class Certificates:
    """An authority nobody but these tests trusts, and a certificate of ``photos.example``."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "photos.example")])
        now = datetime.datetime.now(datetime.UTC)
        names = [x509.DNSName("photos.example"), x509.IPAddress(ipaddress.ip_address("1.1.1.1"))]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "both.pem").write_bytes(pem + secret)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(folder / "both.pem")
        self.names: list[str | None] = []
        self.server.sni_callback = lambda connection, name, context: self.names.append(name)
        self.client = ssl.create_default_context(cadata=pem.decode())


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def secure_host(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    host = Host(tls=certificates.server)
    monkeypatch.setattr(socket, "create_connection", Lines(host.port))
    host.answers["/x"] = sends(PICTURE)
    yield host
    host.close()


@pytest.mark.parametrize("name", ["photos.example", "1.1.1.1"])
def test_a_certificate_is_checked_against_the_name(secure_host: Host, certificates: Certificates, name: str) -> None:
    fetching = fetcher(resolver=Names(photos_example=[PUBLIC]), tls=certificates.client)
    assert fetching.fetch(f"https://{name}/x") == PICTURE
    assert certificates.names == ["photos.example" if name == "photos.example" else None]
    assert secure_host.asked[0][1]["Host"] == name


def test_a_certificate_of_another_name_is_not_trusted(secure_host: Host, certificates: Certificates) -> None:
    fetching = fetcher(resolver=Names(other_example=[PUBLIC]), tls=certificates.client)
    said = refusal(InvalidUrl, fetching, "https://other.example/x")
    assert "https://other.example/x cannot be trusted: Hostname mismatch" in said
    assert secure_host.asked == []


def test_a_certificate_nobody_vouches_for_is_not_trusted(secure_host: Host) -> None:
    said = refusal(InvalidUrl, fetcher(resolver=Names(photos_example=[PUBLIC])), "https://photos.example/x")
    assert "cannot be trusted: self-signed certificate" in said
    assert secure_host.asked == []


def test_a_host_without_tls_is_told(host: Host, lines: Lines) -> None:
    said = refusal(InvalidUrl, fetcher(resolver=Names(photos_example=[PUBLIC])), "https://photos.example/x")
    assert "no TLS connection could be made" in said


def test_an_unusable_url_is_told_in_the_words_of_a_fetch() -> None:
    said = refusal(InvalidUrl, fetcher(), "ftp://user:s3cret@a.example/x")
    assert said.endswith("ftp://a.example/x cannot be asked: It should start with http:// or https://.")


def test_a_hint_of_the_settings_is_checked_at_once() -> None:
    with pytest.raises(ValueError, match="KF2V_FETCH_ALLOW_HOSTS"):
        fetcher(allow=frozenset({"http://nas.lan"}))


def test_the_machines_own_resolver_knows_itself() -> None:
    assert resolve("127.0.0.1", 80) == ["127.0.0.1"]
    with pytest.raises(OSError):
        resolve("256.256.256.256", 80)

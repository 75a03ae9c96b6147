import subprocess
import sys
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kf2v.errors import InvalidMediaUrl
from kf2v.net.guard import AllowedHosts, FrameUrl, is_public, parse_frame_url, without_secrets

CLOSED = (
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2606:4700::1111%eth0",
)
OPEN = ("1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:4700::1111")


@pytest.mark.parametrize("address", CLOSED)
def test_an_address_for_special_purposes_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", OPEN)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://a.example", ("http", "a.example", 80, "/")),
        ("HTTPS://A.Example./x.png?Sig=a%2Fb&c=d#here", ("https", "a.example", 443, "/x.png?Sig=a%2Fb&c=d")),
        ("http://a.example:8080/x", ("http", "a.example", 8080, "/x")),
        ("http://a.example:/x", ("http", "a.example", 80, "/x")),
        ("http://[2606:4700:0:0::1111]:81/x", ("http", "2606:4700::1111", 81, "/x")),
        ("http://127.1/x", ("http", "127.1", 80, "/x")),
        ("http://my_bucket.oss.example/猫.png", ("http", "my_bucket.oss.example", 80, "/%E7%8C%AB.png")),
        ("http://bücher.example/", ("http", "xn--bcher-kva.example", 80, "/")),
        ("http://例え.example/", ("http", "xn--r8jz45g.example", 80, "/")),
        ("http://１２７.０.０.１/", ("http", "127.0.0.1", 80, "/")),
        ("http://a.example?x=/y", ("http", "a.example", 80, "/?x=/y")),
        ('http://a.example/"<x>|^', ("http", "a.example", 80, "/%22%3Cx%3E%7C%5E")),
    ],
)
def test_a_usable_url_is_taken_apart(url: str, parts: tuple[str, str, int, str]) -> None:
    scheme, host, port, target = parts
    assert parse_frame_url(url) == FrameUrl(scheme=scheme, host=host, port=port, target=target)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "x.png",
        "/x.png",
        "//a.example/x.png",
        "http:",
        "http://",
        "http:///x",
        "http:/a.example/x",
        "http:a.example",
        "http://?x",
        "http://:80/",
        "https://#x",
        "ftp://a.example/x.png",
        "file:///etc/passwd",
        "gopher://a.example/",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "oss://bucket/x.png",
        "http+unix://%2Fvar%2Frun/x",
        "http://user@a.example/",
        "http://user:secret@a.example/",
        "http://@a.example/",
        "http://a.example\\@b.example/",
        "http://a.example\\x",
        "http://a.example:0/",
        "http://a.example:65536/",
        "http://a.example:-1/",
        "http://a.example:8x/",
        "http://a.example:８０/",
        "http://a b.example/",
        "http://a.example/x y",
        " http://a.example/",
        "http://a.example/\n",
        "http://a.exa\tmple/",
        "http://a.example/\r\nHost: b",
        "http://a.example/\0",
        "http://a.example/\x7f",
        "http://a\u200b.example/",
        "http://a.example/\u3000",
        "http://a..example/",
        "http://.example/",
        "http://a%2eexample/",
        "http://127%2e0.0.1/",
        "http://a,b.example/",
        "http://*.example/",
        "http://" + "a" * 64 + ".example/",
        "http://" + "a." * 130 + "example/",
        "http://[::1/",
        "http://::1/",
        "http://[::g]/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[v1.x]/",
        "http://[127.0.0.1]/",
        "http://[]/",
        "http://a.example℀/",
        "http://\udcff.example/",
        "http://a.example/\udcff",
        "http://a.example/" + "x" * 8192,
    ],
)
def test_an_unusable_url_is_refused_with_the_sentence_and_what_came(url: str) -> None:
    with pytest.raises(InvalidMediaUrl) as caught:
        parse_frame_url(url)
    assert caught.value.message.startswith(InvalidMediaUrl.sentence + " ")
    assert without_secrets(url)[:50] in caught.value.message
    assert len(caught.value.message) < 600
    assert "secret" not in caught.value.message


def test_a_refusal_does_not_repeat_what_is_secret() -> None:
    with pytest.raises(InvalidMediaUrl) as caught:
        parse_frame_url("ftp://user:pass@a.example/x.png?Signature=s3cret#fragment")
    assert "'ftp://a.example/x.png'" in caught.value.message
    for secret in ("user", "pass", "s3cret", "fragment"):
        assert secret not in caught.value.message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/x.png?Signature=1", "https://a.example/x.png"),
        ("https://u:p@ss@a.example/x@2.png", "https://a.example/x@2.png"),
        ("https://a.example?u:p@b/", "https://a.example"),
        ("nonsense", "nonsense"),
        ("http://a.example/\n\x1b[31m", "http://a.example/��[31m"),
        ("http://" + "a" * 500, "http://" + "a" * 193 + "…"),
    ],
)
def test_a_url_is_shown_without_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_a_url_says_its_port_only_where_it_is_not_the_usual_one() -> None:
    assert str(parse_frame_url("https://a.example:443/x")) == "https://a.example/x"
    assert str(parse_frame_url("http://a.example:443/x")) == "http://a.example:443/x"
    assert str(parse_frame_url("http://[::1]:8000")) == "http://[::1]:8000/"


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("localhost", "http://localhost:1234/x"),
        ("LocalHost", "http://LOCALHOST./x"),
        ("127.0.0.1", "http://127.0.0.1:9/x"),
        ("127.0.0.1:9", "http://127.0.0.1:9/x"),
        ("nas.lan:443", "https://nas.lan/x"),
        ("[::1]", "http://[::1]:9/x"),
        ("::1", "http://[0:0:0:0:0:0:0:1]/x"),
        ("[::1]:80", "http://[::1]/x"),
        (" nas.lan ", "https://nas.lan:8443/x"),
    ],
)
def test_a_named_host_is_open(entry: str, url: str) -> None:
    assert parse_frame_url(url) in AllowedHosts({entry})


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("127.0.0.1:9", "http://127.0.0.1:8/x"),
        ("nas.lan:80", "https://nas.lan/x"),
        ("nas.lan", "http://evil-nas.lan/x"),
        ("nas.lan", "http://a.nas.lan/x"),
        ("nas.lan", "http://nas.lan.example/x"),
        ("127.0.0.1", "http://127.1/x"),
        ("127.0.0.1", "http://localhost/x"),
        ("::1", "http://127.0.0.1/x"),
    ],
)
def test_a_host_that_is_not_named_exactly_stays_closed(entry: str, url: str) -> None:
    assert parse_frame_url(url) not in AllowedHosts({entry})


@pytest.mark.parametrize(
    "entry", ["", "http://nas.lan", "nas.lan/x", "a b", "nas.lan:x", "nas.lan:99999", "*", "u@nas.lan", "[::1"]
)
def test_an_entry_that_names_no_host_is_told_with_its_setting(entry: str) -> None:
    with pytest.raises(ValueError, match="KF2V_FETCH_ALLOW_HOSTS"):
        AllowedHosts({entry})


def test_looking_at_urls_loads_nothing_heavy() -> None:
    program = (
        "import sys; from kf2v.net.guard import parse_frame_url; parse_frame_url('http://a.example/x');"
        "print(sorted({'httpx2', 'httpcore2', 'numpy', 'PIL', 'idna', 'ssl', 'socket'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@given(
    st.one_of(
        st.text(),
        st.from_regex(r"https?://[a-z0-9.:\[\]@%_/?#&=\\~-]{0,40}", fullmatch=True),
        st.builds(
            "http://{}{}{}".format, st.text(max_size=20), st.sampled_from(("", ":80", "/", "?")), st.text(max_size=9)
        ),
    )
)
def test_any_text_is_a_url_that_means_the_same_when_written_out_or_refused(text: str) -> None:
    try:
        url = parse_frame_url(text)
    except InvalidMediaUrl:
        return
    assert parse_frame_url(str(url)) == url
    assert str(url).isascii()
    assert not {"\r", "\n", " ", "\\", "@"} & set(url.authority)

"""Signed links: good for one path until one moment, and for nothing else."""

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kf2v.errors import LinkRefused
from kf2v.links import Signer

SIGNER = Signer(b"a secret of thirty-two bytes ....")
PATH = "/files/videos/2026/ab12-图.mp4"
EXPIRES = 1_760_000_000
AT = EXPIRES * 1000
GOOD = AT - 1


def parts(link: str) -> tuple[str, dict[str, str]]:
    split = urlsplit(link)
    return unquote(split.path), dict(parse_qsl(split.query))


def refused(path: str, query: dict[str, str], *, now: int = GOOD, signer: Signer = SIGNER) -> bool:
    try:
        signer.verify(path, query, now=now)
    except LinkRefused:
        return True
    return False


def flips(text: str) -> list[str]:
    """``text`` with each bit of each byte flipped once, where that is still text."""
    data = text.encode()
    changed = (data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :] for i in range(len(data)) for bit in range(8))
    return [flip.decode("utf-8", "surrogateescape") for flip in changed]


def test_a_link_opens_the_path_it_was_signed_for() -> None:
    path, query = parts(SIGNER.sign(PATH, expires_at=AT))
    assert path == PATH
    assert not refused(path, query)


def test_a_link_says_when_it_ends() -> None:
    _, query = parts(SIGNER.sign(PATH, expires_at=AT + 999))
    assert query["Expires"] == str(EXPIRES)


@pytest.mark.parametrize("after, is_over", [(-1000, False), (-1, False), (0, True), (1, True), (1000, True)])
def test_a_link_ends_at_its_end_to_the_millisecond(after: int, is_over: bool) -> None:
    path, query = parts(SIGNER.sign(PATH, expires_at=AT))
    assert refused(path, query, now=AT + after) is is_over


def test_no_bit_of_a_path_can_be_changed() -> None:
    _, query = parts(SIGNER.sign(PATH, expires_at=AT))
    for flip in flips(PATH):
        assert refused(flip.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), query), flip


@pytest.mark.parametrize("name", ["Expires", "Signature"])
def test_no_bit_of_an_end_or_a_signature_can_be_changed(name: str) -> None:
    path, query = parts(SIGNER.sign(PATH, expires_at=AT))
    for flip in flips(query[name]):
        assert refused(path, query | {name: flip}), flip


def test_a_byte_too_many_or_too_few_is_refused() -> None:
    path, query = parts(SIGNER.sign(PATH, expires_at=AT))
    for name in ("Expires", "Signature"):
        for changed in (query[name][:-1], query[name] + "0", query[name] + "=", query[name] + " ", ""):
            assert refused(path, query | {name: changed}), (name, changed)


@pytest.mark.parametrize("expires", ["", "x", "-1", "1e99", "٢٠", "9" * 13, "9" * 5000, "0x10", " 1", "1_0"])
def test_an_end_that_is_no_number_is_refused_even_when_signed(expires: str) -> None:
    signature = SIGNER.digest(f"{PATH}\n{expires}")
    assert refused(PATH, {"Expires": expires, "Signature": signature})


def test_a_link_without_end_or_signature_is_refused() -> None:
    path, query = parts(SIGNER.sign(PATH, expires_at=AT))
    for name in ("Expires", "Signature"):
        assert refused(path, {key: value for key, value in query.items() if key != name})
    assert refused(path, {})


def test_another_secret_opens_nothing() -> None:
    path, query = parts(SIGNER.sign(PATH, expires_at=AT))
    assert refused(path, query, signer=Signer(b"another secret"))


def test_an_end_cannot_take_a_piece_of_the_path() -> None:
    path, query = parts(SIGNER.sign("/a\n5", expires_at=AT))
    assert path == "/a\n5"
    assert refused("/a", query | {"Expires": f"5\n{EXPIRES}"})


@given(path=st.text(st.characters(exclude_categories=["Cs"])).map("/".__add__), signature=st.text())
def test_no_made_up_signature_opens_anything(path: str, signature: str) -> None:
    assert refused(path, {"Expires": str(EXPIRES), "Signature": signature})


@given(path=st.text(st.characters(exclude_categories=["Cs"])).map("/".__add__))
def test_any_path_survives_being_a_link(path: str) -> None:
    url = SIGNER.sign(path, expires_at=AT)
    raw, _, query = url.partition("?")
    assert not refused(unquote(raw), dict(parse_qsl(query)))

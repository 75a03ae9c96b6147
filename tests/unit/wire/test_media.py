"""How a frame is named."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kf2v.errors import InvalidParameter
from kf2v.wire.v1.media import FRAME_LIMIT, check_reference, decode_data, upload_key


@given(st.binary(min_size=1, max_size=300))
def test_a_data_uri_gives_back_its_bytes(data: bytes) -> None:
    encoded = base64.b64encode(data).decode()
    assert decode_data("f", f"data:image/jpeg;base64,{encoded}") == data
    assert decode_data("f", f"data:image/jpeg;base64,{encoded.rstrip('=')}") == data
    broken_lines = "\r\n".join(encoded[i : i + 20] for i in range(0, len(encoded), 20))
    assert decode_data("f", f"data:image/jpeg;base64,{broken_lines}") == data
    percent = encoded.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    assert decode_data("f", f"data:image/jpeg;base64,{percent}") == data
    lower = encoded.replace("+", "%2b").replace("/", "%2f").replace("=", "%3d")
    assert decode_data("f", f"data:image/jpeg;base64,{lower}") == data


def test_ten_megabytes_are_the_limit_to_the_byte() -> None:
    prefix = "data:image/png;base64,"
    at = prefix + base64.b64encode(b"x" * FRAME_LIMIT).decode()
    assert len(decode_data("f", at)) == FRAME_LIMIT
    beyond = prefix + base64.b64encode(b"x" * (FRAME_LIMIT + 1)).decode()
    with pytest.raises(InvalidParameter, match="Exceeded limit"):
        decode_data("f", beyond)


@pytest.mark.parametrize(
    "reference",
    [
        "https://example.com/a.png",
        "oss://any thing/首 帧+%.png",
        "data:image/webp;base64,AAAA",
        "DATA:;base64,AAAA",
        "data:image/jpeg;BASE64,AAAA",
        "data:image/jpeg; charset=utf-8; base64,AAAA",
    ],
)
def test_usable_references_have_no_flaw(reference: str) -> None:
    assert check_reference("input.first_frame_url", reference) is None


@pytest.mark.parametrize(
    "reference", ["a.png", "oss://", "data:", "data:image/png;base64", "javascript:alert(1)", "//x"]
)
def test_the_flaw_names_the_field_and_what_came(reference: str) -> None:
    flaw = check_reference("input.first_frame_url", reference)
    assert flaw is not None
    assert "input.first_frame_url" in flaw.message
    assert reference in flaw.message


def test_the_flaw_says_what_came_once_and_without_its_secrets() -> None:
    flaw = check_reference("f", "http://user:s3cret@a.example/x.png?Signature=s3cret")
    assert flaw is not None
    assert flaw.message.count("got '") == 1
    assert "s3cret" not in flaw.message


def test_a_long_reference_is_not_repeated_whole() -> None:
    flaw = check_reference("f", "x" * 100_000)
    assert flaw is not None
    assert len(flaw.message) < 500


def test_everything_after_oss_is_the_key() -> None:
    assert upload_key("oss://a/首 帧+%2F.png?x#y") == "a/首 帧+%2F.png?x#y"

"""A request as handlers see it."""

from starlette.types import Message

from kf2v.server.exchange import Exchange, Inbox


async def silence() -> Message:
    raise AssertionError


def test_of_a_header_given_twice_the_first_counts() -> None:
    sent = [(b"idempotency-key", b"first"), (b"host", b"here"), (b"idempotency-key", b"second")]
    exchange = Exchange(scope={"headers": sent}, inbox=Inbox(silence), request_id="r")
    assert exchange.header(b"idempotency-key") == "first"
    assert exchange.header(b"host") == "here"
    assert exchange.header(b"authorization") is None


def test_blanks_around_a_header_say_nothing_and_every_other_byte_counts() -> None:
    sent = [(b"idempotency-key", b" \tcaf\xc3\xa0\t "), (b"x-dashscope-async", b"enable "), (b"accept", b"  ")]
    exchange = Exchange(scope={"headers": sent}, inbox=Inbox(silence), request_id="r")
    assert (exchange.header(b"idempotency-key") or "").encode("latin-1") == "cafà".encode()
    assert exchange.header(b"x-dashscope-async") == "enable"
    assert exchange.header(b"accept") == ""

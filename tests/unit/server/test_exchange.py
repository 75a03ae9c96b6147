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

"""Posting to where a stranger wants it: as guarded as fetching a frame, and no redirect is followed."""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import httpcore2

from kf2v.net.guard import AllowedHosts, FrameUrl, UnusableUrl, take_apart
from kf2v.net.line import Closed, Deadline, Forbidden, GuardedLine, Resolver, resolve

#: bytes of an answer that are read; whoever says more is not listened to
ANSWER_LIMIT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a receiver said."""

    status: int
    #: the ``Retry-After`` header as it came; empty without one
    retry_after: str = ""
    #: how its body begins
    text: str = ""


class NotPosted(Exception):
    """There was no answer; whether what was posted arrived is not known. The text is a sentence without full stop."""


class NeverPosted(NotPosted):
    """There will not be one either, as long as nobody changes the address or what the owner allows."""


class Poster:
    """Posts, blocking; may be used from several threads at once. ``timeout`` is seconds for all of one post.

    ``allowed`` may have any address and any port. Neither proxies nor cookies nor credentials of the environment are
    used.
    """

    def __init__(
        self,
        *,
        allowed: AllowedHosts,
        timeout: float,
        resolver: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = allowed
        self._timeout = timeout
        self._resolver = resolver
        self._given_tls = tls

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """What is answered, whatever the status.

        Raises NotPosted, which names no more than the host: the paths of webhooks are often all that keeps them secret.
        """
        try:
            there = take_apart(url)
        except UnusableUrl as error:
            raise NeverPosted(str(error)) from error
        shown = f"{there.scheme}://{there.authority}"
        try:
            return self._ask(there, body, headers, shown)
        except Forbidden as error:
            raise NeverPosted(str(error)) from error
        except Closed as error:
            raise NotPosted(str(error)) from error
        except (httpcore2.TimeoutException, TimeoutError) as error:
            raise NotPosted(f"{shown} did not answer within {self._timeout:g} s") from error
        except httpcore2.ConnectError as error:
            raise NotPosted(f"{shown} cannot be connected to") from error
        except httpcore2.NetworkError as error:
            raise NotPosted(f"{shown} broke the connection off") from error
        except httpcore2.ProtocolError as error:
            raise NotPosted(f"{shown} did not send a valid HTTP answer") from error

    def _ask(self, there: FrameUrl, body: bytes, headers: Mapping[str, str], shown: str) -> Answer:
        deadline = Deadline(self._timeout)
        line = GuardedLine(url=there, allowed=self._allowed, resolver=self._resolver, deadline=deadline, shown=shown)
        sent = {"Host": there.authority, **headers, "Content-Length": str(len(body)), "Accept-Encoding": "identity"}
        with httpcore2.ConnectionPool(
            ssl_context=self._tls if there.scheme == "https" else None, network_backend=line, max_connections=1
        ) as pool:
            address = httpcore2.URL(scheme=there.scheme, host=there.host, port=there.port, target=there.target)
            fields = [*sent.items(), ("Connection", "close")]
            with pool.stream("POST", address, headers=fields, content=body) as response:
                given = {name.lower(): value.decode("latin-1") for name, value in response.headers}
                return Answer(
                    status=response.status,
                    retry_after=given.get(b"retry-after", "").strip(),
                    text=_beginning(response.iter_stream()),
                )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or httpcore2.default_ssl_context()


def _beginning(chunks: Iterable[bytes]) -> str:
    """As much as is worth showing. The status has been said; that the rest breaks off changes nothing."""
    body = bytearray()
    try:
        for chunk in chunks:
            body += chunk
            if len(body) >= ANSWER_LIMIT:
                break
    except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, TimeoutError):
        pass
    return bytes(body[:ANSWER_LIMIT]).decode("utf-8", "replace")

"""Fetching a frame that a stranger named: from public addresses only, bounded in size and in time.

Connections are ``line``'s, which checks every address it connects to, for redirects as well.
"""

import ssl
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import cached_property
from urllib.parse import urljoin

import httpcore2

from kf2v.errors import ConnectionRefused, DownloadTimeout, FrameError, InvalidFileSize, InvalidUrl
from kf2v.net.guard import AllowedHosts, FrameUrl, UnusableUrl, take_apart, without_secrets
from kf2v.net.line import Closed, Deadline, GuardedLine, Resolver, resolve

__all__ = ["Fetcher", "Resolver", "resolve"]

MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = (
    ("User-Agent", "kf2v"),
    ("Accept", "image/*,*/*;q=0.5"),
    ("Accept-Encoding", "identity"),
    ("Connection", "close"),
)


class Fetcher:
    """Fetches frames, one at a time, blocking. ``timeout`` is seconds for all of one fetch, redirects included.

    ``allow_hosts`` (as ``guard.AllowedHosts`` reads them) may have any address and any port. Neither proxies nor
    cookies nor credentials of the environment are used.
    """

    def __init__(
        self,
        *,
        allow_hosts: frozenset[str],
        timeout: float,
        max_bytes: int,
        resolver: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = AllowedHosts(allow_hosts)
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._resolver = resolver
        self._given_tls = tls

    def fetch(self, url: str) -> bytes:
        """The bytes behind ``url``, whatever they are said to be.

        Raises InvalidUrl, ConnectionRefused, DownloadTimeout or InvalidFileSize; the message begins with the API's
        own sentence and names the URL without user info and query.
        """
        deadline = Deadline(self._timeout)
        shown = without_secrets(url)
        here = _usable(url, shown)
        for _ in range(MAX_REDIRECTS + 1):
            with _told(shown, self._timeout):
                found = self._ask(here, deadline, shown)
            if isinstance(found, bytes):
                return found
            shown = f"{without_secrets(url)} (redirected to {without_secrets(found)})"
            here = _usable(found, shown)
        raise _error(InvalidUrl, f"{shown} redirects more than {MAX_REDIRECTS} times")

    def _ask(self, url: FrameUrl, deadline: Deadline, shown: str) -> bytes | str:
        """The body, or where to ask instead."""
        line = GuardedLine(url=url, allowed=self._allowed, resolver=self._resolver, deadline=deadline, shown=shown)
        tls = self._tls if url.scheme == "https" else None
        headers = [("Host", url.authority), *_HEADERS]
        with httpcore2.ConnectionPool(ssl_context=tls, network_backend=line, max_connections=1) as pool:
            address = httpcore2.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target)
            with pool.stream("GET", address, headers=headers) as response:
                given = {name.lower(): value.decode("utf-8", "replace") for name, value in response.headers}
                if response.status in _REDIRECTS and given.get(b"location"):
                    return urljoin(str(url), given[b"location"].strip().replace(" ", "%20"))
                if response.status != 200:
                    raise _error(InvalidUrl, f"{shown} answered with status {response.status}")
                if (encoding := given.get(b"content-encoding", "identity").strip().lower()) not in ("", "identity"):
                    raise _error(
                        InvalidUrl, f"{shown} sends it compressed ('{encoding[:20]}'), which was not asked for"
                    )
                return self._body(response.iter_stream(), given.get(b"content-length", ""), shown)

    def _body(self, chunks: Iterable[bytes], length: str, shown: str) -> bytes:
        too_large = _error(InvalidFileSize, f"{shown} is larger than {_megabytes(self._max_bytes)}")
        if length.isdecimal() and int(length[:20]) > self._max_bytes:
            raise too_large
        body = bytearray()
        for chunk in chunks:
            body += chunk
            if len(body) > self._max_bytes:
                raise too_large
        return bytes(body)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return self._given_tls or httpcore2.default_ssl_context()


@contextmanager
def _told(shown: str, timeout: float) -> Generator[None]:
    """What the HTTP client raises, in the API's words."""
    try:
        yield
    except Closed as error:
        raise _error(InvalidUrl, str(error)) from error.__cause__
    except (httpcore2.TimeoutException, TimeoutError) as error:
        raise _error(DownloadTimeout, f"{shown} was not complete after {timeout:g} s") from error
    except httpcore2.ConnectError as error:
        raise _error(ConnectionRefused, f"{shown} cannot be connected to") from error
    except httpcore2.NetworkError as error:
        raise _error(InvalidUrl, f"{shown} broke the connection off") from error
    except httpcore2.ProtocolError as error:
        raise _error(InvalidUrl, f"{shown} did not send a whole, valid HTTP answer") from error


def _usable(url: str, shown: str) -> FrameUrl:
    try:
        return take_apart(url)
    except UnusableUrl as error:
        raise _error(InvalidUrl, f"{shown} cannot be asked: {error}") from error


def _error(kind: type[FrameError], detail: str) -> FrameError:
    return kind(f"{kind.sentence} {detail}.")


def _megabytes(size: int) -> str:
    return f"{size / 2**20:g} MB"

"""Fetching a frame that a stranger named: from public addresses only, bounded in size and in time.

The name is resolved once, every address it has must be public, and the connection goes to an address that was
checked, so that a name which changes its mind between the check and the connection gains nothing. This happens where
the connection is opened, hence for redirects as well. The certificate is still checked against the name.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import cached_property
from ipaddress import ip_address
from typing import Any, TypeAlias
from urllib.parse import urljoin

import httpcore2

from kf2v.errors import ConnectionRefused, DownloadTimeout, FrameError, InvalidFileSize, InvalidUrl
from kf2v.net.guard import PUBLIC_PORTS, AllowedHosts, FrameUrl, UnusableUrl, is_public, take_apart, without_secrets

#: host and port to IP addresses, best first; raises OSError if there are none
Resolver: TypeAlias = Callable[[str, int], Sequence[str]]

MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = (
    ("User-Agent", "kf2v"),
    ("Accept", "image/*,*/*;q=0.5"),
    ("Accept-Encoding", "identity"),
    ("Connection", "close"),
)


def resolve(host: str, port: int) -> Sequence[str]:
    """What the machine's own resolver says."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


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

    def _ask(self, url: FrameUrl, deadline: "Deadline", shown: str) -> bytes | str:
        """The body, or where to ask instead."""
        line = GuardedLine(allowed=url in self._allowed, resolver=self._resolver, deadline=deadline, shown=shown)
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


class Deadline:
    """The end of a fetch, in the machine's monotonic time."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, above 0. Raises TimeoutError once there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class GuardedLine(httpcore2.NetworkBackend):
    """Opens connections to checked addresses only, and holds everything said on them to one deadline."""

    def __init__(self, *, allowed: bool, resolver: Resolver, deadline: Deadline, shown: str) -> None:
        self._allowed = allowed
        self._resolver = resolver
        self._deadline = deadline
        self._shown = shown

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """A connection to one of the addresses ``host`` has now. Raises FrameError if none may be asked."""
        del timeout
        if not self._allowed and port not in PUBLIC_PORTS:
            raise _error(InvalidUrl, f"{self._shown} is at port {port}, neither 80 nor 443; {_permission(host)}")
        addresses = self._resolve(host, port)
        if not self._allowed and not all(is_public(ip_address(address)) for address in addresses):
            raise _error(InvalidUrl, f"{self._shown} is at an address that is not public; {_permission(host)}")
        for position, address in enumerate(addresses):
            share = self._deadline.left() / (len(addresses) - position)
            try:
                stream = httpcore2.SyncBackend().connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if position == len(addresses) - 1:
                    raise
            else:
                return TimedStream(stream, self._deadline, self._shown)
        raise _error(InvalidUrl, f"the host of {self._shown} has no address")

    def _resolve(self, host: str, port: int) -> Sequence[str]:
        """One question to the resolver, in a thread: it knows no deadline of its own."""
        answer: list[Sequence[str] | OSError | UnicodeError] = []

        def ask() -> None:
            try:
                answer.append(self._resolver(host, port))
            except (OSError, UnicodeError) as error:
                answer.append(error)

        asking = threading.Thread(target=ask, name="kf2v-resolve", daemon=True)
        asking.start()
        asking.join(self._deadline.left())
        if not answer:
            raise TimeoutError
        if isinstance(answer[0], Exception):
            raise _error(InvalidUrl, f"the host of {self._shown} cannot be resolved") from answer[0]
        return answer[0]


class TimedStream(httpcore2.NetworkStream):
    """A stream whose every step gets only what is left of the whole time, so that dripping does not help."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: Deadline, shown: str) -> None:
        self._stream = stream
        self._deadline = deadline
        self._shown = shown

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        del timeout
        try:
            stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left())
        except httpcore2.ConnectError as error:
            raise _error(InvalidUrl, f"{self._shown} cannot be trusted: {_tls_reason(error.__cause__)}") from error
        return TimedStream(stream, self._deadline, self._shown)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


@contextmanager
def _told(shown: str, timeout: float) -> Generator[None]:
    """What the HTTP client raises, in the API's words."""
    try:
        yield
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


def _permission(host: str) -> str:
    return f"the owner of this server may allow it with KF2V_FETCH_ALLOW_HOSTS={host}"


def _tls_reason(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message.rstrip(".")
    return "no TLS connection could be made"


def _megabytes(size: int) -> str:
    return f"{size / 2**20:g} MB"

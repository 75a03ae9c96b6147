"""A connection to where a stranger's URL leads: to public addresses only, and all of it within one deadline.

The name is resolved once, every address it has must be public, and the connection goes to an address that was
checked, so that a name which changes its mind between the check and the connection gains nothing. The certificate is
still checked against the name.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import wait
from ipaddress import ip_address
from typing import Any, TypeAlias

import httpcore2

from kf2v import daemon
from kf2v.net.guard import PUBLIC_PORTS, AllowedHosts, FrameUrl, is_public

#: host and port to IP addresses, best first; raises OSError if there are none
Resolver: TypeAlias = Callable[[str, int], Sequence[str]]


class Closed(Exception):
    """Nobody may be, or can be, connected to; the text says why, as a sentence without its full stop."""


class Forbidden(Closed):
    """Somebody is there, but only the owner of this server could let him be asked."""


def resolve(host: str, port: int) -> Sequence[str]:
    """What the machine's own resolver says."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


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

    def __init__(
        self, *, url: FrameUrl, allowed: AllowedHosts, resolver: Resolver, deadline: Deadline, shown: str
    ) -> None:
        self._allowed = allowed
        self._open = url in allowed
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
        """A connection to one of the addresses ``host`` has now. Raises Closed if none may be asked."""
        del timeout
        if not self._open and port not in PUBLIC_PORTS:
            raise Forbidden(f"{self._shown} is at port {port}, neither 80 nor 443; {self._allowed.permission(host)}")
        addresses = self._resolve(host, port)
        if not self._open and not all(is_public(ip_address(address)) for address in addresses):
            raise Forbidden(f"{self._shown} is at an address that is not public; {self._allowed.permission(host)}")
        for position, address in enumerate(addresses):
            share = self._deadline.left() / (len(addresses) - position)
            try:
                stream = httpcore2.SyncBackend().connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if position == len(addresses) - 1:
                    raise
            else:
                return TimedStream(stream, self._deadline, self._shown)
        raise Closed(f"the host of {self._shown} has no address")

    def _resolve(self, host: str, port: int) -> Sequence[str]:
        """One question to the resolver, in a thread: it knows no deadline of its own."""
        answer = daemon.begin(lambda: self._resolver(host, port), name="kf2v-resolve")
        wait({answer}, timeout=self._deadline.left())
        if not answer.done():
            raise TimeoutError
        try:
            return answer.result()
        except (OSError, UnicodeError) as error:
            raise Closed(f"the host of {self._shown} cannot be resolved") from error


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
            raise Closed(f"{self._shown} cannot be trusted: {_tls_reason(error.__cause__)}") from error
        return TimedStream(stream, self._deadline, self._shown)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _tls_reason(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message.rstrip(".")
    return "no TLS connection could be made"

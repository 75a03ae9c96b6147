"""Which addresses on the net may be asked because a stranger says so: what a URL may look like and where it may lead.

Pure: nothing here resolves a name or opens a connection, and importing it costs next to nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias
from urllib.parse import quote, urlsplit

from kf2v.errors import InvalidMediaUrl

Address: TypeAlias = IPv4Address | IPv6Address

#: characters; signed links of object stores with a session token exceed the customary 2048
MAX_URL = 8192

#: the only ports asked at hosts the owner has not named
PUBLIC_PORTS = frozenset({80, 443})

_DEFAULT_PORTS = {"http": 80, "https": 443}

# RFC 1123 names, and the underscore that bucket names have in practice. Odd spellings of an IPv4 address
# (2130706433, 0x7f.1, 0177.0.0.1) are names here: they are judged by the address the resolver gives them.
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\Z")
_BLANK_OR_CONTROL = re.compile(r"[\s\x00-\x20\x7f-\xa0\u200b-\u200f\u2028-\u202e\u2060\ufeff]")
_SHOWN = 200

# https://www.iana.org/assignments/iana-ipv4-special-registry, "globally reachable: false", and multicast.
_CLOSED_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier NAT; 100.100.100.200 is Alibaba Cloud's metadata service
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's metadata service, though in public space
            "169.254.0.0/16",  # link-local; 169.254.169.254 is everybody's metadata service
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is Oracle's metadata service
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)

# Only 2000::/3 is handed out for global unicast. Everything that wraps a v4 address (mapped, compatible, translated,
# 64:ff9b::/96, 64:ff9b:1::/48), is local (fc00::/7, fe80::/10, fec0::/10) or multicast lies outside of it.
_OPEN_V6 = IPv6Network("2000::/3")
_CLOSED_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo 2001::/32, benchmarking, ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: wraps a v4 address
            "3fff::/20",  # documentation
        ),
    )
)


class UnusableUrl(ValueError):
    """Not an http(s) URL that can be asked; the text says why, as a sentence without its full stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameUrl:
    """A usable http or https URL, taken apart once, so that what is checked is what is asked."""

    scheme: str
    #: lower-case ASCII name without a trailing dot, or an IP address in its shortest spelling, without brackets
    host: str
    port: int
    #: path and query, ASCII, percent-encoded where needed
    target: str

    @property
    def authority(self) -> str:
        """What the Host header says: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_frame_url(url: str) -> FrameUrl:
    """Take ``url`` apart. Raises InvalidMediaUrl, saying what came, unless it is http(s) with a usable host.

    Asks nobody: whether the host exists and may be asked is found out when it is fetched.
    """
    try:
        return take_apart(url)
    except UnusableUrl as error:
        raise InvalidMediaUrl(f"{InvalidMediaUrl.sentence} {error}; got '{without_secrets(url)}'.") from error


def take_apart(url: str) -> FrameUrl:
    """``parse_frame_url`` for those who have their own words for it. Raises UnusableUrl, whose text is the reason."""
    if len(url) > MAX_URL:
        raise UnusableUrl(f"It has {len(url)} characters; at most {MAX_URL} are allowed")
    if _BLANK_OR_CONTROL.search(url) or "\\" in url:
        raise UnusableUrl("Blanks, control characters and backslashes must be percent-encoded")
    try:
        url.encode()
        parts = urlsplit(url)
        port, name = parts.port, parts.hostname
    except ValueError as error:
        raise UnusableUrl("Its host or port cannot be read") from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise UnusableUrl("It should start with http:// or https://")
    if "@" in parts.netloc:
        raise UnusableUrl("A user name or password in it is not supported")
    host = _host(name or "", bracketed="[" in parts.netloc)
    if host is None:
        raise UnusableUrl("Its host is missing or no valid name or address")
    if port == 0:
        raise UnusableUrl("Port 0 cannot be asked")
    query = f"?{parts.query}" if parts.query else ""
    return FrameUrl(
        scheme=parts.scheme,
        host=host,
        port=port or _DEFAULT_PORTS[parts.scheme],
        target=quote(f"{parts.path or '/'}{query}", safe="/?%:@!$&'()*+,;=-._~"),
    )


def is_public(address: Address) -> bool:
    """Whether ``address`` is global unicast, no way to anything closer, and no cloud's metadata service."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _CLOSED_V4)
    return address.scope_id is None and address in _OPEN_V6 and not any(address in network for network in _CLOSED_V6)


class AllowedHosts:
    """Hosts the owner opened by name: ``name``, ``name:port``, ``127.0.0.1``, ``::1``, ``[::1]:8080``.

    An entry without a port opens them all. Raises ValueError for an entry that names no host. ``variable`` is where
    the owner wrote them down.
    """

    def __init__(self, entries: Iterable[str], *, variable: str = "KF2V_FETCH_ALLOW_HOSTS") -> None:
        self._variable = variable
        self._open = frozenset(_entry(entry, variable) for entry in entries)

    def permission(self, host: str) -> str:
        """How ``host`` could be opened, as the end of a sentence."""
        return f"the owner of this server may allow it with {self._variable}={host}"

    def refusal(self, url: FrameUrl) -> str | None:
        """Why ``url`` may not be asked, as far as it shows without resolving its host; None if nothing does."""
        if url in self:
            return None
        if url.port not in PUBLIC_PORTS:
            return f"It is at port {url.port}, neither 80 nor 443; {self.permission(url.host)}"
        return None if _may_be_public(url.host) else f"Its address is not public; {self.permission(url.host)}"

    def __contains__(self, url: object) -> bool:
        return isinstance(url, FrameUrl) and not self._open.isdisjoint({(url.host, None), (url.host, url.port)})


def without_secrets(url: str) -> str:
    """``url`` as it may be shown and logged: no user info, no query, no fragment, printable and not too long."""
    head = re.split(r"[?#]", url, maxsplit=1)[0]
    scheme, separator, rest = head.partition("//")
    authority, slash, path = rest.partition("/")
    plain = scheme + separator + authority.rpartition("@")[2] + slash + path if separator else head
    shown = "".join(character if character.isprintable() else "�" for character in plain[: _SHOWN + 1])
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def _host(name: str, *, bracketed: bool) -> str | None:
    """The one spelling of a host; None if it is none."""
    if bracketed:
        try:
            address = ip_address(name)
        except ValueError:
            return None
        return None if getattr(address, "scope_id", None) else str(address)
    if not name.isascii():
        import idna  # only foreign names need its tables

        try:
            name = idna.encode(name, uts46=True).decode()
        except UnicodeError:
            return None
    name = name.lower().removesuffix(".")
    return name if _NAME.match(name) else None


def _may_be_public(host: str) -> bool:
    """Whether ``host`` is a public address or a name that may have one, which ``localhost`` never has (RFC 6761)."""
    try:
        return is_public(ip_address(host))
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def _entry(entry: str, variable: str) -> tuple[str, int | None]:
    text = entry.strip()
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"
    try:
        parts = urlsplit(f"//{text}")
        host = _host(parts.hostname or "", bracketed="[" in text)
        if host is None or parts.netloc != text or "@" in text:
            raise ValueError(text)
        return host, parts.port
    except ValueError as error:
        message = f"{variable} has '{entry}'; entries are host, host:port, an IP address or [IPv6]:port"
        raise ValueError(message) from error

"""What a key may be made: wishes become rights, and nobody gives what he does not have."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias, TypeVar

from kf2v.admission.callers import ORDINARY, Caller, Scope
from kf2v.catalog.models import MODELS
from kf2v.catalog.regions import REGIONS
from kf2v.clock import SECOND
from kf2v.errors import AccessDenied
from kf2v.store import Key, Rights
from kf2v.wire.keys import KeyWish
from kf2v.wire.v1.fields import choices, misfit

Network: TypeAlias = IPv4Network | IPv6Network
T = TypeVar("T")

LABEL_LIMIT = 64
#: as many as the vendor allows
NETWORK_LIMIT = 20
PRIORITY_LIMIT = 100
#: seconds, ten years
LIFE_LIMIT = 10 * 365 * 24 * 3600
_PLACES = tuple(name for name in REGIONS if name != "all")
#: IPv4 as IPv6 writes it (RFC 4291, 2.5.5.2)
_MAPPED = IPv6Network("::ffff:0:0/96")
_ACCOUNT = re.compile(r"\S(.{0,62}\S)?")
#: what stands for all accounts, and so is the name of none
EVERYBODY = "*"


def checked_account(name: str) -> str:
    """Raises InvalidParameter for what is no name of one account."""
    if not name.isprintable() or _ACCOUNT.fullmatch(name) is None or name == EVERYBODY:
        raise misfit("account", name, f"a printable name of at most {LABEL_LIMIT} characters other than {EVERYBODY!r}")
    return name


def checked_label(label: str) -> str:
    """Raises InvalidParameter."""
    if not label.isprintable() or len(label) > LABEL_LIMIT:
        raise misfit("label", label, f"at most {LABEL_LIMIT} printable characters")
    return label


def checked_models(models: Sequence[str]) -> tuple[str, ...]:
    """Raises InvalidParameter for a model that nobody makes."""
    return _each("models", models, tuple(MODELS))


def granted(wish: KeyWish, key: Key, *, now: int) -> Key:
    """``key`` as it is wished for. Raises InvalidParameter for a wish that makes no sense.

    Whether the workspace is there is for the caller to see.
    """
    rights = key.rights
    if wish.priority is not None and abs(wish.priority) > PRIORITY_LIMIT:
        raise misfit("priority", wish.priority, f"an integer between -{PRIORITY_LIMIT} and {PRIORITY_LIMIT}")
    if wish.region and wish.region not in _PLACES:
        raise misfit("region", wish.region, f"{choices(_PLACES)}, or empty for any")
    scopes = rights.scopes if wish.scopes is None else frozenset(_each("scopes", wish.scopes, tuple(Scope)))
    return replace(
        key,
        label=key.label if wish.label is None else checked_label(wish.label),
        expires_at=_end(wish.expires_in, key, now=now),
        rights=Rights(
            scopes=scopes,
            models=rights.models if wish.models is None else checked_models(wish.models),
            networks=rights.networks if wish.networks is None else _networks(wish.networks),
            region=_said(wish.region, rights.region),
            workspace=_said(wish.workspace, rights.workspace),
            priority=_or(wish.priority, rights.priority),
        ),
    )


def check_within(key: Key, giver: Caller) -> None:
    """Raises AccessDenied if ``key`` may do anything that ``giver`` may not."""
    ours, theirs = giver.rights, key.rights
    if key.account != giver.account and not giver.may(Scope.ADMIN):
        raise _beyond(f"account '{key.account}'")
    if more := sorted((theirs.scopes or ORDINARY) - (ours.scopes or ORDINARY)):
        raise _beyond(f"scope '{more[0]}'")
    if ours.models and not (theirs.models and all(_is_among(name, ours.models) for name in theirs.models)):
        raise _beyond("models beyond its own")
    if ours.networks and not (theirs.networks and all(_inside(network, ours.networks) for network in theirs.networks)):
        raise _beyond("networks beyond its own")
    for what, mine, its in (
        ("region", ours.region, theirs.region),
        ("workspace", ours.workspace, theirs.workspace),
    ):
        if mine is not None and its != mine:
            raise _beyond(f"another {what} than '{mine}'")
    if theirs.priority > ours.priority and not giver.may(Scope.ADMIN):  # whose turn it is, is the service's own matter
        raise _beyond(f"a priority above {ours.priority}")
    if giver.expires_at is not None and (key.expires_at is None or key.expires_at > giver.expires_at):
        raise _beyond("a longer life than its own")


def is_inside(address: str | None, networks: Collection[str]) -> bool:
    """Whether a peer's address is in one of ``networks``; one that is none is in no network."""
    found = parse_address(address)
    return found is not None and any(found in network(text) for text in networks)


def parse_address(text: str | None) -> IPv4Address | IPv6Address | None:
    """An address as people write it: IPv4 in IPv6's clothes is IPv4. None for what is no address."""
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=4096)
def network(text: str) -> Network:
    """``192.0.2.0/24``, ``2001:db8::/32`` or one address; as in ``parse_address``, IPv4 in IPv6's clothes is IPv4.

    Raises ValueError.
    """
    found = ip_network(text)
    if isinstance(found, IPv6Network) and found.subnet_of(_MAPPED):
        return IPv4Network((int(found.network_address) & 0xFFFF_FFFF, found.prefixlen - _MAPPED.prefixlen))
    return found


def spellings(text: str) -> tuple[str, ...]:
    """A network in every form that a peer's address can be told in: one that listens for IPv4 and IPv6 on one socket
    hears of IPv4 in IPv6's clothes. Raises ValueError."""
    found = network(text)
    if isinstance(found, IPv6Network):
        return (str(found),)
    return str(found), f"::ffff:{found.network_address}/{found.prefixlen + _MAPPED.prefixlen}"


def _networks(texts: Sequence[str]) -> tuple[str, ...]:
    if len(texts) > NETWORK_LIMIT:
        raise misfit("networks", len(texts), f"at most {NETWORK_LIMIT} networks")
    return tuple(dict.fromkeys(_network(text) for text in texts))


def _network(text: str) -> str:
    try:
        return str(network(text.strip()))
    except ValueError as error:
        raise misfit("networks", text, "addresses and ranges like '192.0.2.7' and '192.0.2.0/24'") from error


def _inside(text: str, networks: Collection[str]) -> bool:
    first, last = network(text)[0], network(text)[-1]
    return any(first in outer and last in outer for outer in map(network, networks))


def _is_among(model: str, allowed: Collection[str]) -> bool:
    return model in allowed or (model in MODELS and MODELS[model].is_among(allowed))


def _end(expires_in: int | None, key: Key, *, now: int) -> int | None:
    if expires_in is None:
        return key.expires_at
    if not 0 <= expires_in <= LIFE_LIMIT:
        raise misfit("expires_in", expires_in, f"an integer between 1 and {LIFE_LIMIT} seconds, or 0 for no end")
    return now + expires_in * SECOND if expires_in else None


def _each(field: str, values: Sequence[str], allowed: tuple[str, ...]) -> tuple[str, ...]:
    """``values`` without repetitions, each one of ``allowed``."""
    for value in values:
        if value not in allowed:
            raise misfit(field, value, choices(allowed))
    return tuple(dict.fromkeys(values))


def _said(wish: str | None, before: str | None) -> str | None:
    return before if wish is None else wish or None


def _or(wish: T | None, before: T) -> T:
    return before if wish is None else wish


def _beyond(what: str) -> AccessDenied:
    return AccessDenied(f"{AccessDenied.sentence} A key can neither give nor manage what it does not have: {what}.")

"""Keys and workspaces as they are wished for and shown, by HTTP and through the back door alike."""

from dataclasses import dataclass, fields
from typing import TypeVar, cast

import msgspec

from kf2v.errors import BodyInvalid

T = TypeVar("T", bound="KeyWish | NewWorkspace")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWish:
    """What a key is to be like. What is absent stays as it is; what is empty, or 0, is taken away."""

    label: str | None = None
    scopes: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    region: str | None = None
    workspace: str | None = None
    priority: int | None = None
    #: seconds from now
    expires_in: int | None = None


#: of whoever wishes for nothing
NO_WISH = KeyWish()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey(KeyWish):
    """Make a key, of the caller's own account unless one is named."""

    account: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWorkspace:
    """Make a workspace, of the caller's own account unless one is named."""

    account: str | None = None
    #: drawn where it is absent
    id: str | None = None
    label: str = ""
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyShown:
    """A key as its owner sees it."""

    id: str
    account: str
    hint: str
    label: str = ""
    scopes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    region: str | None = None
    workspace: str | None = None
    priority: int = 0
    created_at: int
    expires_at: int | None = None
    disabled_at: int | None = None
    revoked_at: int | None = None
    used_at: int | None = None
    #: the key itself; there only in the answer that makes it
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceShown:
    """A workspace as its owner sees it."""

    id: str
    account: str
    label: str = ""
    models: tuple[str, ...] = ()
    created_at: int


def parse(kind: type[T], body: bytes) -> T:
    """``body`` as a ``kind``; no body wishes for nothing. Raises BodyInvalid, also for a member it does not know: who
    misspells a restriction must not get a key without it."""
    try:
        members: object = msgspec.json.decode(body or b"{}")
        if not isinstance(members, dict):
            raise BodyInvalid(f"{BodyInvalid.sentence} A JSON object is expected.")
        known = [field.name for field in fields(kind)]
        if strangers := cast("dict[str, object]", members).keys() - set(known):
            raise BodyInvalid(f"{BodyInvalid.sentence} It has {min(strangers)!r}, and may have {', '.join(known)}.")
        return msgspec.convert(members, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BodyInvalid(f"{BodyInvalid.sentence} ({error})") from error

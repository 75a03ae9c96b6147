"""Which server a command talks to, and with which key.

Never the cloud silently: without a base URL it is the server of this machine. And a key goes only where it belongs:
the data directory's own key to this machine, the one in ``~/.dashscope`` to Alibaba's hosts.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlsplit

import typer

from kf2v.cli.config import DataDir, read_settings
from kf2v.cli.terminal import CommandFailed, told

if TYPE_CHECKING:
    from kf2v.net.dashscope import DashScope
    from kf2v.settings import Settings

API = "/api/v1"

BaseUrl = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        help="The server [env: DASHSCOPE_HTTP_BASE_URL, DASHSCOPE_BASE_URL, KF2V_URL; default: this machine's].",
    ),
]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option("--api-key-file", help="A file with the API key [env: DASHSCOPE_API_KEY, KF2V_API_KEY]."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server and the key to it."""

    #: ends in ``/api/v1``
    base_url: str
    api_key: str = field(repr=False)
    #: seconds between polls: a neighbour is asked often, others as often as the vendor's limits allow
    pace: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The server that the flags of a command name; every field is one of its options."""

    base_url: BaseUrl = None
    api_key_file: ApiKeyFile = None
    data_dir: DataDir = None

    def target(self) -> Target:
        """Raises CommandFailed if there is no key, or none that can be sent."""
        return find_target(self.base_url, self.api_key_file, self.data_dir)

    def connected(self) -> AbstractContextManager[DashScope]:
        """A client of it; see ``connected``."""
        return connected(self.target())


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` as Typer gets it: its first argument, a ``Server``, is made from options that follow its own.

    So these options stand in one place, and mean the same in every command that talks to a server.
    """
    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    options = inspect.signature(Server, eval_str=True).parameters

    @wraps(command)
    def with_options(**given: Any) -> None:
        command(Server(**{name: given.pop(name) for name in options}), **given)

    vars(with_options)["__signature__"] = inspect.Signature([*own, *options.values()])
    return with_options


def find_target(
    base_url: str | None, api_key_file: Path | None, data_dir: Path | None, environment: Mapping[str, str] = os.environ
) -> Target:
    """Flags win over the environment, the environment over what lies on this machine.

    Raises CommandFailed if there is no key, or none that can be sent.
    """
    from kf2v.net.dashscope import is_loopback

    url = _given_url(base_url, environment) or local_base_url(data_dir)
    key = _read_key(api_key_file) if api_key_file else _given_key(environment) or _found_key(url, data_dir)
    if not key:
        raise CommandFailed("InvalidApiKey", f"no API key for {url}")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise CommandFailed("InvalidApiKey", "the API key holds characters that no key has")
    near = is_loopback(url)
    return Target(base_url=url, api_key=key, pace=(0.2, 0.3, 0.5, 1.0) if near else (1.0, 5.0, 15.0))


def local_base_url(data_dir: Path | None = None) -> str:
    """Where the server of this machine is: as it says itself while it runs, else as its settings tell."""
    settings = read_settings(data_dir=data_dir)
    try:
        return settings.address_file.read_text().strip() + API
    except OSError:
        pass
    return settings.local_url(settings.port or 8000) + API


def key_of_owner(settings: Settings) -> str | None:
    """The key that this machine's server was started with; None if it never was, or not by us."""
    from kf2v.settings.secrecy import bare

    return bare(settings.api_key) or _key_if_there(settings.owner_key_file)


@contextmanager
def connected(target: Target) -> Generator[DashScope]:
    """The client; what it reports as RemoteError arrives as CommandFailed."""
    from kf2v.net.dashscope import DashScope
    from kf2v.net.remote_error import RemoteError

    try:
        with DashScope(target.base_url, target.api_key) as client:
            yield client
    except RemoteError as error:
        raise told(error) from error


def _given_url(flag: str | None, environment: Mapping[str, str]) -> str | None:
    """``DASHSCOPE_BASE_URL`` is ``bl``'s, the host alone; every form may come with or without ``/api/v1``."""
    names = ("DASHSCOPE_HTTP_BASE_URL", "DASHSCOPE_BASE_URL", "KF2V_URL")
    url = next(filter(None, (flag, *(environment.get(name) for name in names))), "").strip().rstrip("/")
    if not url:
        return None
    if flaw := _flaw(url):
        from kf2v.settings.secrecy import starred

        raise CommandFailed("Usage", f"the base URL should {flaw}, but got {starred(url)!r}")
    return url if url.endswith(API) else url + API


def _flaw(url: str) -> str | None:
    """What a base URL should do and ``url`` does not; None if it can be asked."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            return "start with http:// or https://"
        if not parts.hostname or parts.port == 0:
            return "name a host, as http://127.0.0.1:8000 does"
    except ValueError:
        return "name a host, as http://127.0.0.1:8000 does"
    if "@" in parts.netloc or parts.query or parts.fragment:
        return "end with its path and hold no user and no password: what is sent is the API key"
    return None


def _given_key(environment: Mapping[str, str]) -> str | None:
    return environment.get("DASHSCOPE_API_KEY", "").strip() or environment.get("KF2V_API_KEY", "").strip()


def _found_key(url: str, data_dir: Path | None) -> str | None:
    from kf2v.net.dashscope import is_loopback

    if is_loopback(url):
        return key_of_owner(read_settings(data_dir=data_dir))
    if f".{urlsplit(url).hostname}".endswith(".aliyuncs.com") and url.startswith("https://"):
        return _key_if_there(Path.home() / ".dashscope" / "api_key")
    return None


def _key_if_there(file: Path) -> str | None:
    """None too if it belongs to somebody else: then it was not meant for us."""
    return _read_key(file) if os.access(file, os.R_OK) else None


def _read_key(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed("InvalidApiKey", f"{file} cannot be read: {error}", fix="") from error


def segment(text: str) -> str:
    """One segment of a path, whatever was typed."""
    return quote(text, safe="") or "-"

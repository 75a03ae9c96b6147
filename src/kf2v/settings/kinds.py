"""What settings may be, beside plain values: read as they are written, and refused where they would fail later."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo
from pydantic_settings import NoDecode

from kf2v.catalog.models import MODELS
from kf2v.catalog.prices import read_prices
from kf2v.net.guard import AllowedHosts

T = TypeVar("T")

#: what can travel in a header after ``Bearer``, or nothing
_TOKEN = re.compile(r"[!-~]*")


def _split(value: object) -> object:
    if isinstance(value, str):
        return frozenset(part.strip().lower() for part in value.split(",") if part.strip())
    return value


def _readable(value: frozenset[str], info: ValidationInfo) -> frozenset[str]:
    """As workers read it later: a server whose workers all die of it serves nobody."""
    AllowedHosts(value, variable=f"KF2V_{str(info.field_name).upper()}")
    return value


def _networks(value: frozenset[str]) -> frozenset[str]:
    for entry in value:
        try:
            ip_network(entry)
        except ValueError as error:
            raise ValueError(f"should be addresses and networks like 192.0.2.0/24, not {entry!r}") from error
    return value


def _moderators(value: object) -> object:
    if isinstance(value, str):
        named = [name.strip().lower() for name in value.split(",") if name.strip()]
        return () if named == ["off"] else tuple(dict.fromkeys(named))
    return value


def _trimmed(value: str | None) -> str | None:
    if value is None or not value.strip():
        return None
    if not value.startswith(("http://", "https://")):
        raise ValueError("should start with http:// or https://")
    return value.rstrip("/")


def _without_a_password(value: str | None) -> str | None:
    if value is not None and "@" in urlsplit(value).netloc:
        raise ValueError("should hold no user and no password: they would be sent instead of remote_api_key")
    return value


def _fit_for_a_header(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not _TOKEN.fullmatch(value.get_secret_value().strip()):
        raise ValueError("should be one word of letters, digits and signs of ASCII")
    return value


def _table(value: Path | None) -> Path | None:
    if value is not None:
        read_prices(value)
    return value


def _models(by_model: dict[str, T]) -> dict[str, T]:
    _check(by_model.keys() - MODELS.keys())
    return by_model


def _models_or_all(by_model: dict[str, T]) -> dict[str, T]:
    _check(by_model.keys() - MODELS.keys() - {"*"})
    return by_model


def _check(strangers: set[str]) -> None:
    if strangers:
        raise ValueError(f"should name models among {', '.join(MODELS)}, not {', '.join(sorted(strangers))}")


#: comma-separated
Hosts = Annotated[frozenset[str], NoDecode, BeforeValidator(_split), AfterValidator(_readable)]
#: comma-separated
Networks = Annotated[frozenset[str], NoDecode, BeforeValidator(_split), AfterValidator(_networks)]
#: comma-separated, in the order in which they are asked; ``off`` is nobody
Moderators = Annotated[tuple[Literal["lists", "http", "openai"], ...], NoDecode, BeforeValidator(_moderators)]
#: of http or https, without a slash at its end; empty is none
Url = Annotated[str | None, AfterValidator(_trimmed)]
#: the same, where a key is sent along
UrlOfKey = Annotated[str | None, AfterValidator(_without_a_password), AfterValidator(_trimmed)]
#: a key that goes into a header as it is
HeaderKey = Annotated[SecretStr | None, AfterValidator(_fit_for_a_header)]

#: a file in the shape of ``catalog/prices.toml``
PriceTable = Annotated[Path | None, AfterValidator(_table)]

#: by the name of a model that there is
ABOUT_MODELS = AfterValidator(_models)
#: by such a name, or ``*``
ABOUT_MODELS_OR_ALL = AfterValidator(_models_or_all)

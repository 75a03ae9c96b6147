"""Every setting of a deployment: read once, here, and turned into values by ``assembly``.

Order: arguments, then environment (``KF2V_…``), then ``./kf2v.toml``, then the user's own ``kf2v/config.toml``, then
what stands here.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import platformdirs
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from kf2v.catalog.models import FRAMES
from kf2v.settings.kinds import (
    ABOUT_MODELS,
    ABOUT_MODELS_OR_ALL,
    HeaderKey,
    Hosts,
    Moderators,
    Networks,
    PriceTable,
    Url,
    UrlOfKey,
)
from kf2v.settings.secrecy import bare, starred
from kf2v.settings.shapes import AccountLimits, WanChoice

#: the engine that has videos made elsewhere
REMOTE = "remote"

#: where settings are looked for, the first one wins
FILES = (Path("kf2v.toml"), Path(platformdirs.user_config_dir("kf2v")) / "config.toml")

#: keys of others that workers ask with
ASKED_WITH = ("rewrite_api_key", "moderation_api_key", "remote_api_key")

#: of any time that a setting names, in its own unit: more is a slip, and no clock or socket takes what is endless
_LONGEST = 1e9

#: addresses that mean every interface, and the one by which this machine reaches itself
LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  looked up, not bound


class Settings(BaseSettings):
    """All settings. Each is also the environment variable ``KF2V_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="KF2V_", extra="forbid", frozen=True)

    #: address to listen on
    host: str = "127.0.0.1"
    #: port to listen on; 0 takes a free one
    port: int = Field(default=8000, ge=0, le=65535)
    #: where rows, bytes and secrets live; one server at a time
    data_dir: Path = Path(platformdirs.user_data_dir("kf2v"))
    #: worker processes; 0 serves the API and makes nothing
    workers: int = Field(default=1, ge=0, le=64)
    #: a key that shall exist at start, of account ``default``
    api_key: SecretStr | None = None
    #: base of the links in answers, when clients reach this server under another name than they ask for
    public_url: Url = None
    #: addresses and networks of proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` count; comma-separated
    trusted_proxies: Networks = frozenset()
    #: hosts whose frames may be fetched although their address is not public; comma-separated
    fetch_allow_hosts: Hosts = frozenset()
    #: seconds that fetching one frame may take, redirects included
    fetch_timeout: float = Field(default=60.0, gt=0)
    #: hosts that webhooks may lead to although their address is not public or their port neither 80 nor 443;
    #: comma-separated
    webhook_allow_hosts: Hosts = frozenset()
    #: seconds that a receiver of an event may take to answer
    webhook_timeout: float = Field(default=10.0, gt=0, le=60)
    #: seconds after which an event that was not taken is sent again at the latest; each further wait is up to twice as
    #: long, and two hours at most
    webhook_first_retry: float = Field(default=5.0, gt=0, le=3600)
    #: hours after which an event that nobody took is abandoned
    webhook_give_up_hours: float = Field(default=24.0, gt=0)
    #: which region's model names are served
    region: Literal["all", "singapore", "beijing"] = "all"
    #: ``strict`` refuses mistakes at submission; ``cloud`` fails the task, as Model Studio does
    validation: Literal["strict", "cloud"] = "strict"
    #: how much an account may have: ``own`` lets it queue 100000 tasks of a model and nothing else be in its way,
    #: ``cloud`` is the vendor's: 2 submissions per second, 2 running, 500 waiting
    limits: Literal["own", "cloud"] = "own"
    #: where an account may have something else, by its name; ``*`` are all that are not named
    account_limits: dict[str, AccountLimits] = Field(default_factory=dict)
    #: what makes the frames
    engine: str = "morph"
    #: what makes them where that engine cannot work on this machine; empty: nothing does, and the server does not start
    fallback_engine: str = "morph"
    #: which engines make which model, by model name, in the order in which they are asked; ``*`` is every other model.
    #: Empty: ``engine`` makes all, and ``fallback_engine`` where it cannot
    routes: Annotated[dict[str, Annotated[tuple[str, ...], Field(min_length=1)]], ABOUT_MODELS_OR_ALL] = Field(
        default_factory=dict
    )
    #: after how many failures in a row new tasks go past an engine that is out of order
    breaker_failures: int = Field(default=3, ge=1)
    #: seconds after which it is tried again with one of them
    breaker_cooldown: float = Field(default=60.0, gt=0)
    #: where the engine ``remote`` has videos made: the base URL of another endpoint of this API
    remote_base_url: UrlOfKey = None
    #: the key it is asked with
    remote_api_key: HeaderKey = None
    #: how models are called there, by their name here; the same where none is said
    remote_models: Annotated[dict[str, Annotated[str, Field(min_length=1)]], ABOUT_MODELS] = Field(default_factory=dict)
    #: how many tasks are there at once
    remote_running: int = Field(default=2, ge=1, le=256)
    #: seconds that one answer from there may take
    remote_timeout: float = Field(default=30.0, gt=0)
    #: seconds that it may be away before another engine is asked, or the task fails
    remote_patience: float = Field(default=20.0, ge=0)
    #: what models of the wan engine run on, by model name: a variant that ``kf2v models list`` shows, a directory,
    #: a name on the hub, or all of it in detail; models that are not named run on the first variant of theirs
    wan_weights: Annotated[dict[str, WanChoice], ABOUT_MODELS] = Field(default_factory=dict)
    #: where the wan engine computes: ``auto`` takes a GPU for each worker, ``cpu`` works and takes hours
    wan_device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    #: GPUs that work together on every video, for each worker; 1, 2, 4 or 8
    wan_gpus_per_video: int = Field(default=1, ge=1, le=64)
    #: how it spends time and memory; ``auto`` goes by the GPU's memory and the weights
    wan_profile: Literal["auto", "fast", "quality", "low-vram"] = "auto"
    #: whose forward and loop: kf2v's own, or diffusers' stock pipeline
    wan_runtime: Literal["native", "diffusers"] = "native"
    #: how linear layers compute, ``auto``: the fastest that this GPU has
    wan_linear: Literal["auto", "native", "fp8_row", "fp8_tensor"] = "auto"
    #: how attention computes, ``auto``: the fastest that this GPU has
    wan_attention: Literal["auto", "sdpa", "cudnn", "cudnn_fp8", "flash", "sage"] = "auto"
    #: whether 1080P is generated at that size rather than enlarged from 720P
    wan_native_1080p: bool = False
    #: whether the colours of generated frames are drawn to those of both ends
    wan_colour: bool = True
    #: seconds without work after which the GPU's memory is given back; 0 keeps it
    wan_idle_unload: float = Field(default=0.0, ge=0)
    #: who rewrites prompts: what is measured in the frames, a language model, or nobody
    rewriter: Literal["rules", "openai", "verbatim"] = "rules"
    #: the language model's endpoint, up to what comes before ``/chat/completions``
    rewrite_base_url: Url = None
    #: its name there
    rewrite_model: str = ""
    #: the key it asks for, if it asks for one
    rewrite_api_key: SecretStr | None = None
    #: whether it is shown the frames; ``auto`` tries once and remembers a refusal
    rewrite_vision: Literal["auto", "yes", "no"] = "auto"
    #: seconds that one rewrite may take, its second try included
    rewrite_timeout: float = Field(default=60.0, gt=0)
    #: what a task does when its prompt could not be rewritten: ``keep`` it, or ``fail`` with ``RewriteFailed``
    rewrite_on_failure: Literal["keep", "fail"] = "keep"
    #: what language an empty prompt is rewritten in
    rewrite_language: Literal["en", "zh"] = "en"
    #: more fields for the body of every request to the language model
    rewrite_extra: dict[str, Any] = Field(default_factory=dict)
    #: a table of prices to bill by, in the shape of ``catalog/prices.toml``; without it usage is told at the cloud's
    prices: PriceTable = None
    #: who inspects prompts, frames and films, one after the other: the owner's ``lists``, a classifier behind ``http``,
    #: an endpoint like ``openai``'s moderations; comma-separated, ``off`` for nobody
    moderation: Moderators = ("lists",)
    #: what is inspected unasked: ``both``, the ``input``, the ``output``, or only what a request asks for
    moderation_inspects: Literal["both", "input", "output", "request"] = "both"
    #: bits of 64 in which a picture may differ from a listed one and still be taken for it
    moderation_picture_distance: int = Field(default=10, ge=0, le=24)
    #: every so many frames of a film are inspected, and the first and the last
    moderation_output_every: int = Field(default=10, ge=1, le=FRAMES - 1)
    #: the classifier's address, or the endpoint's, up to what comes before ``/moderations``
    moderation_url: Url = None
    #: the key it asks for, if it asks for one
    moderation_api_key: SecretStr | None = None
    #: the model's name at an endpoint like ``openai``'s
    moderation_model: str = "omni-moderation-latest"
    #: seconds that one verdict may take, a second try included
    moderation_timeout: float = Field(default=10.0, gt=0)
    #: what becomes of what nobody could decide on: it may ``pass``, or ``fail`` with ``InternalError``
    moderation_on_failure: Literal["pass", "fail"] = "pass"
    #: what the mark says
    watermark_text: Literal["AI-generated", "AI生成"] = "AI-generated"
    #: hours a task and its video are kept after the task ended
    retention_hours: float = Field(default=24.0, gt=0)
    #: hours an uploaded file is kept
    upload_retention_hours: float = Field(default=48.0, gt=0)
    #: seconds from a task's first start after which it fails with ``InternalError.Timeout``
    task_timeout: float = Field(default=10_800.0, gt=0)
    #: how often a task may crash its worker before it fails with ``InternalError.Algo``
    max_attempts: int = Field(default=3, ge=1)
    #: seconds a worker may be silent before its task is given to another
    lease_seconds: float = Field(default=30.0, gt=0)
    #: seconds a worker may go on with a task that was canceled while it ran before its process is ended
    cancel_grace_seconds: float = Field(default=1.0, ge=0)
    #: seconds that running work gets to finish after SIGTERM before it is handed back
    drain_seconds: float = Field(default=10.0, ge=0)
    #: megabytes that must stay free on the disk of ``data_dir`` for new tasks to be accepted
    min_free_mb: int = Field(default=256, ge=0)
    #: how much is logged
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def database(self) -> Path:
        """The rows."""
        return self.data_dir / "kf2v.db"

    @property
    def secret_file(self) -> Path:
        """What keys are hashed and links are signed with."""
        return self.data_dir / "secret"

    @property
    def owner_key_file(self) -> Path:
        """The key made at the first start, where none was set."""
        return self.data_dir / "owner.key"

    @property
    def address_file(self) -> Path:
        """Where a running server writes its own address, for the commands of its owner."""
        return self.data_dir / "address"

    @property
    def scratch_dir(self) -> Path:
        """Unfinished files; nothing in it outlives the server that wrote it."""
        return self.data_dir / "scratch"

    @property
    def moderation_dir(self) -> Path:
        """The lists of words and pictures that may not pass."""
        return self.data_dir / "moderation"

    @property
    def by_route(self) -> bool:
        """Whether a task's job names who comes after its engine, rather than that each worker has another stand in."""
        return bool(self.routes) or REMOTE in (self.engine, self.fallback_engine)

    @property
    def routing(self) -> dict[str, tuple[str, ...]]:
        """Engines by model, in their order; ``*`` is every model that is not named."""
        alone = not self.by_route or self.fallback_engine in ("", self.engine)
        usual = (self.engine,) if alone else (self.engine, self.fallback_engine)
        return {"*": usual} | self.routes

    @property
    def engines(self) -> frozenset[str]:
        """All engines that any task may be for."""
        return frozenset(engine for route in self.routing.values() for engine in route)

    def local_url(self, port: int) -> str:
        """How a client on this machine reaches a server of these settings that listens on ``port``."""
        host = LOOPBACK.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def environment(self) -> dict[str, str]:
        """These settings as variables for a child process, without the API key, which no child needs.

        The keys of the language model and of the moderator are among them, as they are: workers ask with them.
        """
        values = self.model_dump(mode="json", exclude={"api_key", *ASKED_WITH}, exclude_none=True)
        for name in ASKED_WITH:
            secret: SecretStr | None = getattr(self, name)
            if secret is not None:
                values[name] = secret.get_secret_value()
        return {f"KF2V_{name.upper()}": _as_variable(value) for name, value in values.items()}

    def shown(self) -> dict[str, object]:
        """These settings to look at and to show around: secrets are starred, those within URLs too.

        What an owner adds to requests of his own may hold secrets of any shape, so of that only the names are shown.
        """
        values = self.model_dump(mode="json") | {"rewrite_extra": sorted(self.rewrite_extra)}
        values |= {
            name: sorted(map(str, cast("frozenset[str]", value)))
            for name, value in self
            if isinstance(value, frozenset)
        }
        return {name: starred(value) for name, value in sorted(values.items())}

    @field_validator("*")
    @classmethod
    def _no_longer_than_anybody_waits(cls, value: object) -> object:
        if isinstance(value, float) and not value <= _LONGEST:
            raise ValueError(f"should be at most {_LONGEST:.0f}")
        return value

    @model_validator(mode="after")
    def _has_somebody_to_ask(self) -> Self:
        if self.rewriter == "openai" and not (self.rewrite_base_url and self.rewrite_model.strip()):
            raise ValueError("rewriter openai needs rewrite_base_url and rewrite_model")
        return self

    @model_validator(mode="after")
    def _has_somebody_to_forward_to(self) -> Self:
        if REMOTE in self.engines and not (self.remote_base_url and bare(self.remote_api_key)):
            raise ValueError("engine remote needs remote_base_url and remote_api_key")
        return self

    @model_validator(mode="after")
    def _has_somebody_to_show_it_to(self) -> Self:
        outside = [name for name in self.moderation if name != "lists"]
        if len(outside) > 1:
            raise ValueError("moderation should name one of http and openai, not both: there is one moderation_url")
        if outside and not self.moderation_url:
            raise ValueError(f"moderation {outside[0]} needs moderation_url")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        files = (TomlConfigSettingsSource(settings_cls, toml_file=path) for path in FILES)
        return (init_settings, env_settings, *files)


def _as_variable(value: object) -> str:
    match value:
        case dict():
            return json.dumps(value)
        case list():
            return ",".join(cast("list[str]", value))
        case _:
            return str(value)

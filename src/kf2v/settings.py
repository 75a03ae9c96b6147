"""Every setting of a deployment: read once, here, and turned into values by ``assembly``.

Order: arguments, then environment (``KF2V_…``), then ``./kf2v.toml``, then the user's own ``kf2v/config.toml``, then
what stands here.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import platformdirs
from pydantic import BaseModel, ConfigDict, Discriminator, Field, SecretStr, Tag, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from kf2v.catalog.models import MODELS
from kf2v.net.guard import AllowedHosts

#: where settings are looked for, the first one wins
FILES = (Path("kf2v.toml"), Path(platformdirs.user_config_dir("kf2v")) / "config.toml")

#: who asks, and his password, in a URL
_PASSWORD = re.compile(r"//[^/@]*@")

#: addresses that mean every interface, and the one by which this machine reaches itself
LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  looked up, not bound


class WanLora(BaseModel):
    """A low-rank change to a model's transformers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: a path, or ``owner/name:file`` on the hub
    file: str = Field(min_length=1)
    strength: float = Field(default=1.0, allow_inf_nan=False)
    #: whom it changes; without it the file's name says so, or it changes all
    expert: Literal["high", "low"] | None = None


class WanWeights(BaseModel):
    """What a model of the wan engine runs on, where it is none of ``kf2v models list``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: a directory, or ``owner/name`` on the hub
    base: str = Field(min_length=1)
    #: transformers in files of their own, high-noise first
    experts: tuple[str, ...] = ()
    loras: tuple[WanLora, ...] = ()
    #: whether they were taught to need four steps
    distilled: bool = False


def _spelling(value: object) -> str:
    return "detailed" if isinstance(value, (dict, WanWeights)) else "named"


#: told apart before they are checked, so that a mistake in one is not called the absence of the other
WanChoice = Annotated[
    Annotated[str, Field(min_length=1), Tag("named")] | Annotated[WanWeights, Tag("detailed")], Discriminator(_spelling)
]

#: what ``WanChoice`` adds to the place of a mistake, which means nothing to who made it
TAGS = ("named", "detailed")


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
    public_url: str | None = None
    #: hosts whose frames may be fetched although their address is not public; comma-separated
    fetch_allow_hosts: Annotated[frozenset[str], NoDecode] = frozenset()
    #: seconds that fetching one frame may take, redirects included
    fetch_timeout: float = Field(default=60.0, gt=0)
    #: which region's model names are served
    region: Literal["all", "singapore", "beijing"] = "all"
    #: ``strict`` refuses mistakes at submission; ``cloud`` fails the task, as Model Studio does
    validation: Literal["strict", "cloud"] = "strict"
    #: what makes the frames
    engine: str = "morph"
    #: what makes them where that engine cannot work on this machine; empty: nothing does, and the server does not start
    fallback_engine: str = "morph"
    #: what models of the wan engine run on, by model name: a variant that ``kf2v models list`` shows, a directory,
    #: a name on the hub, or all of it in detail; models that are not named run on the first variant of theirs
    wan_weights: dict[str, WanChoice] = Field(default_factory=dict)
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
    wan_idle_unload: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    #: who rewrites prompts: what is measured in the frames, a language model, or nobody
    rewriter: Literal["rules", "openai", "verbatim"] = "rules"
    #: the language model's endpoint, up to what comes before ``/chat/completions``
    rewrite_base_url: str | None = None
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
    cancel_grace_seconds: float = Field(default=1.5, ge=0)
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

    def local_url(self, port: int) -> str:
        """How a client on this machine reaches a server of these settings that listens on ``port``."""
        host = LOOPBACK.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def environment(self) -> dict[str, str]:
        """These settings as variables for a child process, without the API key, which no child needs.

        The language model's key is among them, as it is: workers ask with it.
        """
        values = self.model_dump(mode="json", exclude={"api_key", "rewrite_api_key"}, exclude_none=True)
        if self.rewrite_api_key is not None:
            values["rewrite_api_key"] = self.rewrite_api_key.get_secret_value()
        return {f"KF2V_{name.upper()}": _as_variable(value) for name, value in values.items()}

    def shown(self) -> dict[str, object]:
        """These settings for their owner's eyes, elsewhere than on this machine: secrets are starred.

        What an owner adds to requests of his own may hold secrets of any shape, so of that only the names are shown.
        """
        values = self.model_dump(mode="json") | {"rewrite_extra": sorted(self.rewrite_extra)}
        return {
            name: _PASSWORD.sub("//***@", value) if isinstance(value, str) else value
            for name, value in sorted(values.items())
        }

    @field_validator("fetch_allow_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(host.strip().lower() for host in value.split(",") if host.strip())
        return value

    @field_validator("fetch_allow_hosts")
    @classmethod
    def _readable_hosts(cls, value: frozenset[str]) -> frozenset[str]:
        AllowedHosts(value)  # what workers make of it later; a server whose workers all die of it serves nobody
        return value

    @model_validator(mode="after")
    def _has_somebody_to_ask(self) -> Self:
        if self.rewriter == "openai" and not (self.rewrite_base_url and self.rewrite_model.strip()):
            raise ValueError("rewriter openai needs rewrite_base_url and rewrite_model")
        return self

    @field_validator("wan_weights")
    @classmethod
    def _known_models(cls, value: dict[str, str | WanWeights]) -> dict[str, str | WanWeights]:
        if strangers := sorted(value.keys() - MODELS.keys()):
            raise ValueError(f"should name models among {', '.join(MODELS)}, not {', '.join(strangers)}")
        return value

    @field_validator("public_url", "rewrite_base_url")
    @classmethod
    def _trim_url(cls, value: str | None) -> str | None:
        if value is None or not value.strip():
            return None
        if not value.startswith(("http://", "https://")):
            raise ValueError("should start with http:// or https://")
        return value.rstrip("/")

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

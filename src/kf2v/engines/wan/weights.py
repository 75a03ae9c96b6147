"""Which weights a model runs on: what is to be fetched, how large it is, on what terms, and where it lies then.

Knows no torch; huggingface_hub only where something is fetched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kf2v.engines.wan.family import A14B, FLF2V, Family
from kf2v.engines.wan.fault import LONGEST, CheckpointError, readable
from kf2v.engines.wan.profiles import GB, PLACEMENTS, needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """A low-rank change to the transformers."""

    #: a path, or ``owner/name:file`` on the hub
    file: str
    strength: float = 1.0
    #: whom it changes; None: by ``high`` or ``low`` in its name, else all
    expert: Literal["high", "low"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What one API model runs on. References are paths, ``owner/name``, or ``owner/name:file`` on the hub."""

    #: the API's name
    model: str
    #: encoders, VAE and, where ``experts`` is empty, the transformers
    base: str
    #: other transformers than the base's, high-noise first
    experts: tuple[str, ...] = ()
    loras: tuple[Lora, ...] = ()
    #: taught to need four steps and no guidance
    distilled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Files of one repository."""

    repository: str
    #: glob patterns, as the hub understands them
    patterns: tuple[str, ...]
    #: what it comes to, from the number of parameters and what others saw; the hub's word counts, ``pull`` prints it.
    #: 0 where only the hub knows
    gigabytes: float = 0.0
    #: as the repository states it; empty where only the hub knows
    licence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to run a model."""

    #: what it is asked for by, after the model's name and a colon
    variant: str
    weights: Weights
    family: Family
    downloads: tuple[Download, ...]
    #: who trained it for this use
    origin: str
    #: published in eight bits, so that sixteen would be a waste
    eight_bits: bool = False

    @property
    def gigabytes(self) -> float:
        """Everything together."""
        return sum(download.gigabytes for download in self.downloads)

    @property
    def name(self) -> str:
        """``model:variant``."""
        return f"{self.weights.model}:{self.variant}"

    @property
    def vram(self) -> Mapping[str, float]:
        """Gigabytes of GPU memory at 720P, by where the weights lie: computed as the engine does, not measured."""
        return {
            name: needed(self.family, placement) / GB
            for name, placement in _SHOWN.items()
            if placement.eight_bits or not self.eight_bits
        }


#: placements by the words that a table has room for
_SHOWN = {
    name: next(each for each in PLACEMENTS if each.name == placement)
    for name, placement in {"bf16": "bf16", "fp8": "fp8", "low-vram": "fp8, blocks offloaded"}.items()
}


_A14B = "Wan-AI/Wan2.2-I2V-A14B-Diffusers"
_FLF2V = "Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers"
_DISTILLED = "lightx2v/Wan2.2-Distill-Models"
_DISTILL_LORAS = "lightx2v/Wan2.2-Distill-Loras"
_DISTILL_LORAS_21 = "lightx2v/Wan2.1-Distill-Loras"

#: everything of a base that is no transformer
_ENCODERS = (
    "model_index.json",
    "scheduler/*",
    "text_encoder/*",
    "tokenizer/*",
    "vae/*",
    "image_encoder/*",
    "image_processor/*",
    "transformer/config.json",
    "transformer_2/config.json",
)
_TRANSFORMERS = ("transformer/*", "transformer_2/*")
#: the same of a base as Wan itself publishes it
_WANS_ENCODERS = ("config.json", "high_noise_model/config.json", "low_noise_model/config.json", "*.pth", "google/*")
_WANS_TRANSFORMERS = ("high_noise_model/*", "low_noise_model/*", "diffusion_pytorch_model*")

#: umT5-xxl's encoder 5.681 B in bf16 and the VAE 126.9 M in fp32
_ENCODERS_GB = 11.4 + 0.5
#: CLIP ViT-H 0.632 B in fp32
_CLIP_GB = 2.5
#: an expert of A14B: 14.289 B. Wan's diffusers repository has fp32 (12 shards of 4.9 GB), and so have LightX2V's
#: 720p files (57.2 GB each); its older ones are bf16, and its fp8 ones 15.0 GB each
_FP32_GB, _BF16_GB, _FP8_GB = 57.2, 28.6, 15.0
#: FLF2V: 16.396 B in fp32, as Wan publishes its siblings for diffusers; not seen
_FLF2V_GB = 65.6

_COMMUNITY = (
    "first and last frame on Wan2.2-I2V is community practice (ComfyUI, LightX2V): Wan trained it for a first frame"
)

_HIGH, _LOW = (f"wan2.2_i2v_A14b_{noise}_noise_lightx2v_4step_720p_260412.safetensors" for noise in ("high", "low"))
_HIGH_BF16, _LOW_BF16 = (f"wan2.2_i2v_A14b_{noise}_noise_lightx2v_4step.safetensors" for noise in ("high", "low"))
_HIGH_FP8, _LOW_FP8 = (
    f"wan2.2_i2v_A14b_{noise}_noise_scaled_fp8_e4m3_lightx2v_4step.safetensors" for noise in ("high", "low")
)
_HIGH_LORA, _LOW_LORA = (
    f"wan2.2_i2v_A14b_{noise}_noise_lora_rank64_lightx2v_4step_1022.safetensors" for noise in ("high", "low")
)
_LORA_21 = "wan2.1_i2v_lora_rank64_lightx2v_4step.safetensors"


def _on_a14b(
    variant: str,
    *,
    origin: str,
    eight_bits: bool = False,
    base_patterns: tuple[str, ...] = _ENCODERS,
    base_gb: float = _ENCODERS_GB,
    extra: Download | None = None,
    experts: tuple[str, ...] = (),
    loras: tuple[Lora, ...] = (),
) -> Row:
    base = Download(repository=_A14B, patterns=base_patterns, gigabytes=base_gb, licence="Apache-2.0")
    return Row(
        variant=variant,
        weights=Weights(
            model="wan2.2-kf2v-flash", base=_A14B, experts=experts, loras=loras, distilled=bool(experts or loras)
        ),
        family=A14B,
        downloads=(base, extra) if extra else (base,),
        origin=origin,
        eight_bits=eight_bits,
    )


def _on_flf2v(model: str, variant: str, *, origin: str, loras: tuple[Lora, ...], extra: tuple[Download, ...]) -> Row:
    base = Download(
        repository=_FLF2V,
        patterns=(*_ENCODERS, *_TRANSFORMERS),
        gigabytes=_ENCODERS_GB + _CLIP_GB + _FLF2V_GB,
        licence="Apache-2.0",
    )
    return Row(
        variant=variant,
        weights=Weights(model=model, base=_FLF2V, loras=loras, distilled=bool(loras)),
        family=FLF2V,
        downloads=(base, *extra),
        origin=origin,
    )


#: the first row of a model is its default
ROWS: tuple[Row, ...] = (
    _on_a14b(
        "distilled",
        origin=f"four steps, at 720p: LightX2V; {_COMMUNITY}",
        experts=(f"{_DISTILLED}:{_HIGH}", f"{_DISTILLED}:{_LOW}"),
        extra=Download(repository=_DISTILLED, patterns=(_HIGH, _LOW), gigabytes=2 * _FP32_GB, licence="Apache-2.0"),
    ),
    _on_a14b(
        "distilled-bf16",
        origin=f"four steps, before the 720p training: LightX2V; {_COMMUNITY}",
        experts=(f"{_DISTILLED}:{_HIGH_BF16}", f"{_DISTILLED}:{_LOW_BF16}"),
        extra=Download(
            repository=_DISTILLED, patterns=(_HIGH_BF16, _LOW_BF16), gigabytes=2 * _BF16_GB, licence="Apache-2.0"
        ),
    ),
    _on_a14b(
        "distilled-fp8",
        origin=f"four steps, eight bits: LightX2V; {_COMMUNITY}",
        eight_bits=True,
        experts=(f"{_DISTILLED}:{_HIGH_FP8}", f"{_DISTILLED}:{_LOW_FP8}"),
        extra=Download(
            repository=_DISTILLED, patterns=(_HIGH_FP8, _LOW_FP8), gigabytes=2 * _FP8_GB, licence="Apache-2.0"
        ),
    ),
    _on_a14b(
        "lora",
        origin=f"four steps by LoRA: LightX2V; {_COMMUNITY}",
        base_patterns=(*_ENCODERS, *_TRANSFORMERS),
        base_gb=_ENCODERS_GB + 2 * _FP32_GB,
        loras=(
            Lora(file=f"{_DISTILL_LORAS}:{_HIGH_LORA}", expert="high"),
            Lora(file=f"{_DISTILL_LORAS}:{_LOW_LORA}", expert="low"),
        ),
        extra=Download(
            repository=_DISTILL_LORAS, patterns=(_HIGH_LORA, _LOW_LORA), gigabytes=1.4, licence="Apache-2.0"
        ),
    ),
    _on_a14b(
        "full",
        origin=f"forty steps: Wan; {_COMMUNITY}",
        base_patterns=(*_ENCODERS, *_TRANSFORMERS),
        base_gb=_ENCODERS_GB + 2 * _FP32_GB,
    ),
    *(
        row
        for model in ("wan2.1-kf2v-plus", "wanx2.1-kf2v-plus")
        for row in (
            _on_flf2v(model, "full", origin="fifty steps, first and last frame: Wan", loras=(), extra=()),
            _on_flf2v(
                model,
                "lora",
                origin="four steps by LoRA: LightX2V, for Wan2.1-I2V; on FLF2V it is community practice",
                loras=(Lora(file=f"{_DISTILL_LORAS_21}:{_LORA_21}"),),
                extra=(
                    Download(repository=_DISTILL_LORAS_21, patterns=(_LORA_21,), gigabytes=0.7, licence="Apache-2.0"),
                ),
            ),
        )
    ),
)

CATALOGUE: Mapping[str, Row] = {row.name: row for row in ROWS}


def row_of(asked: str) -> Row:
    """The row for ``model`` (its default) or ``model:variant``. Raises KeyError saying what there is."""
    for row in ROWS:
        if asked in (row.name, row.weights.model):
            return row
    raise KeyError(f"{asked} is none of {', '.join(CATALOGUE)}")


def variants(model: str) -> tuple[str, ...]:
    """What settings may call the rows of ``model``."""
    return tuple(row.variant for row in ROWS if row.weights.model == model)


def downloads_of(weights: Weights) -> tuple[Download, ...]:
    """What of ``weights`` comes from the hub: a row's as it says, else what the references name; () for local files.

    Raises CheckpointError for a reference that can be none.
    """
    row = row_running(weights)
    if row is not None:
        return row.downloads
    transformers = () if weights.experts else (*_TRANSFORMERS, *_WANS_TRANSFORMERS)
    wanted: dict[str, tuple[str, ...]] = {}
    for text in (weights.base, *weights.experts, *(lora.file for lora in weights.loras)):
        target = Reference.parse(text)
        if target.path is not None:
            continue
        patterns = _patterns(target)
        if text == weights.base and not target.file:
            patterns = (*_ENCODERS, *_WANS_ENCODERS, *transformers)
        wanted[target.repository] = (*wanted.get(target.repository, ()), *patterns)
    return tuple(Download(repository=each, patterns=patterns) for each, patterns in wanted.items())


def download_of(reference: str) -> Download | None:
    """``owner/name`` whole, or ``owner/name:file``; None for what lies on this machine. Raises CheckpointError."""
    target = Reference.parse(reference)
    return None if target.path is not None else Download(repository=target.repository, patterns=_patterns(target))


def _patterns(target: Reference) -> tuple[str, ...]:
    """A file, everything in a folder of that name, or everything."""
    return (target.file, f"{target.file.rstrip('/')}/*") if target.file else ("*",)


def row_running(weights: Weights) -> Row | None:
    """The row that is exactly ``weights``; None for an owner's own."""
    return next((row for row in ROWS if row.weights == weights), None)


#: the command at the end of what a checkpoint says would do
_PULL = re.compile(r"kf2v models pull(?! \S)")


def remedy(weights: Weights, error: CheckpointError) -> str:
    """What would do about ``error``: which command, if it concerns what comes from the hub; else no command."""
    if not _PULL.search(error.remedy):
        return error.remedy
    row = row_running(weights)
    if row is not None:
        return _PULL.sub(f"kf2v models pull {row.name}", error.remedy)
    try:
        repositories = [each.repository for each in downloads_of(weights)]
    except CheckpointError:
        repositories = []
    if error.where.startswith((str(hub_cache()), *repositories)):
        return _PULL.sub(f"kf2v models pull {weights.model or error.where}", error.remedy)
    return "copy it from where it came"


#: how a reference may be written
FORMS = "write a path, owner/name or owner/name:file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a reference points at: ``path``, or ``file`` (or everything) of ``repository``."""

    path: Path | None = None
    repository: str = ""
    file: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """A path that exists or looks like one, else ``owner/name`` or ``owner/name:file``.

        Raises CheckpointError if it can be neither.
        """
        if not text.strip() or not text.isprintable():
            raise CheckpointError(repr(text[:LONGEST]), "names nothing", FORMS)
        try:
            path = Path(text).expanduser()
        except RuntimeError as error:  # what pathlib says of ~nobody
            raise CheckpointError(text[:LONGEST], "is in the home of a user who is not known here", FORMS) from error
        if text.startswith(("/", ".", "~")) or _exists(path):
            return cls(path=path)
        repository, _, file = text.partition(":")
        parts = repository.split("/")
        if len(parts) == 2 and all(part and part[0].isalnum() for part in parts) and ".." not in text:
            return cls(repository=repository, file=file)
        raise CheckpointError(text[:LONGEST], "is neither there nor a name on the hub", FORMS)


def _exists(path: Path) -> bool:
    """Whether it is there, as far as this user may know."""
    try:
        return path.exists()
    except OSError:
        return False


def hub_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Where huggingface_hub keeps what it fetched (its documented variables, in its order)."""
    if cache := environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE"):
        return Path(cache).expanduser()
    if home := environment.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"


def snapshot(repository: str, cache: Path | None = None) -> Path | None:
    """The directory of ``repository``'s newest fetched state in the cache, complete or not; None if there is none
    that this user may read.

    Layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
    """
    try:
        return _snapshot(repository, cache)
    except OSError:
        return None


def _snapshot(repository: str, cache: Path | None) -> Path | None:
    """Raises OSError if the cache may not be read."""
    home = (hub_cache() if cache is None else cache) / f"models--{repository.replace('/', '--')}"
    reference = home / "refs" / "main"
    try:
        commit = reference.read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    folder = home / "snapshots" / commit
    return folder if commit and Path(commit).name == commit and folder.is_dir() else None


def located(reference: str, cache: Path | None = None) -> Path:
    """Where ``reference`` lies on this machine. Fetches nothing. Raises CheckpointError if it is not here."""
    target = Reference.parse(reference)
    with readable(target.path or reference):
        return _located(reference, target, cache)


def _located(reference: str, target: Reference, cache: Path | None) -> Path:
    if target.path is not None:
        if not target.path.exists():
            raise CheckpointError(target.path, "is not there", "check the path, or fetch it: kf2v models pull")
        return target.path
    folder = _snapshot(target.repository, cache)
    where = folder / target.file if folder and target.file else folder
    if where is None or not where.exists():
        raise CheckpointError(reference, "has not been fetched", "fetch it: kf2v models pull")
    return where

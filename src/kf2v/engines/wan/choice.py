"""Which weights make which model: what an owner says of it or of its other names, else the first variant of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, Protocol

from kf2v.catalog.models import MODELS
from kf2v.engines.wan.weights import CATALOGUE, ROWS, Lora, Weights


class SaidLora(Protocol):
    @property
    def file(self) -> str: ...
    @property
    def strength(self) -> float: ...
    @property
    def expert(self) -> Literal["high", "low"] | None: ...


class Said(Protocol):
    """Weights in all detail, as an owner writes them down."""

    @property
    def base(self) -> str: ...
    @property
    def experts(self) -> tuple[str, ...]: ...
    @property
    def loras(self) -> Sequence[SaidLora]: ...
    @property
    def distilled(self) -> bool: ...


def weights_of(said: Mapping[str, str | Said]) -> dict[str, Weights]:
    """By model; ``said`` has variants, directories, names on the hub, or the whole story."""
    chosen: dict[str, Weights] = {}
    for row in ROWS:
        chosen.setdefault(row.weights.model, row.weights)
    for model, one in said.items():
        chosen[model] = _named(model, one) if isinstance(one, str) else _detailed(model, one)
        alike = [alias for alias in MODELS[model].aliases if alias not in said]
        chosen |= {alias: replace(chosen[model], model=alias) for alias in alike}
    return chosen


def _named(model: str, name: str) -> Weights:
    row = CATALOGUE.get(f"{model}:{name}")
    return Weights(model=model, base=name) if row is None else row.weights


def _detailed(model: str, said: Said) -> Weights:
    loras = tuple(Lora(file=lora.file, strength=lora.strength, expert=lora.expert) for lora in said.loras)
    return Weights(model=model, base=said.base, experts=said.experts, loras=loras, distilled=said.distilled)

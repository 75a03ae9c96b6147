"""How engines stand: whether they work here, for which models, and whether they are left out just now."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from kf2v.wire.ext.system import EngineStanding, ModelStanding

if TYPE_CHECKING:
    from kf2v.engines import EngineUnavailable


def standings(
    firsts: frozenset[str],
    others: Iterable[str],
    *,
    models: Iterable[str],
    breakers: Mapping[str, str],
    lacking: "Callable[[str], EngineUnavailable | None]",
    shortcomings: "Callable[[str], Mapping[str, EngineUnavailable]]",
) -> tuple[EngineStanding, ...]:
    """The engines that tasks go to at ``firsts`` and those that stand in; may take a while, as what is asked of each
    engine does: what it is ``lacking`` altogether, and its ``shortcomings`` by model.
    """
    served = tuple(models)
    return tuple(
        _standing(name, name not in firsts, served, breakers.get(name, "closed"), lacking(name), shortcomings(name))
        for name in (*sorted(firsts), *sorted({*others} - firsts))
    )


def _standing(
    name: str,
    fallback: bool,
    served: Iterable[str],
    breaker: str,
    lacking: "EngineUnavailable | None",
    absent: "Mapping[str, EngineUnavailable]",
) -> EngineStanding:
    if lacking is not None:
        return EngineStanding(
            engine=name, fallback=fallback, breaker=breaker, reason=lacking.reason, fix=lacking.fix, models=()
        )
    models = (
        ModelStanding(model=model, reason=absent[model].reason, fix=absent[model].fix)
        if model in absent
        else ModelStanding(model=model)
        for model in served
    )
    return EngineStanding(engine=name, fallback=fallback, breaker=breaker, models=tuple(models))

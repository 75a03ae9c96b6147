"""Where engines are named and made, and what is known of them without making them.

Heavy things are imported by the builder that needs them: a server that only answers HTTP never loads a codec.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from kf2v.catalog.regions import REGIONS
from kf2v.engines import Engine, EngineUnavailable
from kf2v.engines.standby import Standby
from kf2v.settings import REMOTE, Settings
from kf2v.wire.ext.system import EngineStanding, ModelStanding

if TYPE_CHECKING:
    from kf2v.engines.wan.profiles import Options
    from kf2v.engines.wan.weights import Weights

log = structlog.get_logger(__name__)


def _morph(settings: Settings, seat: int) -> Engine:
    del settings, seat
    from kf2v.engines.morph import Morph

    return Morph()


def _still(settings: Settings, seat: int) -> Engine:
    del settings, seat
    from kf2v.engines.still import Still

    return Still()


def _wan(settings: Settings, seat: int) -> Engine:
    from kf2v.engines.wan import Wan
    from kf2v.engines.wan.readiness import unlike_their_names

    weights = wan_weights(settings)
    engine = Wan(weights, wan_options(settings, seat=seat))
    if seat == 0:
        for what in unlike_their_names(_served(settings, weights)).values():
            log.warning("weights are not what the model's name says", what=what)
    return engine


def _wan_readiness(settings: Settings) -> EngineUnavailable | None:
    from kf2v.engines.wan.readiness import readiness

    last = max(settings.workers - 1, 0)
    return readiness(wan_weights(settings), wan_options(settings, seat=last))


def _wan_missing(settings: Settings) -> dict[str, EngineUnavailable]:
    from kf2v.engines.wan.readiness import missing_under_any_name

    return missing_under_any_name(_served(settings, wan_weights(settings)), gpus_per_video=settings.wan_gpus_per_video)


def _served(settings: Settings, weights: "dict[str, Weights]") -> "dict[str, Weights]":
    """Of the models that can be asked for where this is."""
    return {model: weights[model] for model in REGIONS[settings.region].models}


#: each is given the settings and the seat of the worker it is for, 0 … ``workers`` - 1; raises EngineUnavailable
ENGINES: dict[str, Callable[[Settings, int], Engine]] = {"morph": _morph, "still": _still, "wan": _wan}
#: engines that want more than this package, and what that is; asked before anything is started
READINESS: dict[str, Callable[[Settings], EngineUnavailable | None]] = {"wan": _wan_readiness}
#: engines that may be able to make some models and not others: what each of the others lacks
SHORTCOMINGS: dict[str, Callable[[Settings], dict[str, EngineUnavailable]]] = {"wan": _wan_missing}


def readiness(settings: Settings, engine: str | None = None) -> EngineUnavailable | None:
    """Why ``engine``, or else that of these settings, cannot work on this machine; None if it can, as far as can be
    seen from here."""
    ask = READINESS.get(engine or settings.engine)
    return None if ask is None else ask(settings)


def shortcomings(settings: Settings) -> dict[str, EngineUnavailable]:
    """By model, why an engine that can work all the same cannot make it."""
    ask = SHORTCOMINGS.get(settings.engine)
    return {} if ask is None else ask(settings)


def wan_options(settings: Settings, *, seat: int = 0) -> "Options":
    from kf2v.engines.wan.profiles import Options

    return Options(
        profile=settings.wan_profile,
        device=settings.wan_device,
        seat=seat,
        gpus_per_video=settings.wan_gpus_per_video,
        runtime=settings.wan_runtime,
        native_1080p=settings.wan_native_1080p,
        colour=settings.wan_colour,
        idle_unload=settings.wan_idle_unload,
        linear=settings.wan_linear,
        attention=settings.wan_attention,
    )


def wan_weights(settings: Settings) -> "dict[str, Weights]":
    """What each model runs on."""
    from kf2v.engines.wan.choice import weights_of

    return weights_of(settings.wan_weights)


def build_engine(settings: Settings, *, seat: int = 0) -> Engine:
    """The engine of these settings, and behind it the one that stands in wherever it cannot work.

    Raises EngineUnavailable where nothing is to stand in, or that cannot work either.
    """
    alone = settings.fallback_engine in ("", settings.engine)
    try:
        engine = ENGINES[settings.engine](settings, seat)
    except EngineUnavailable as error:
        if alone:
            raise
        log.warning(
            "engine cannot work here, another stands in",
            engine=settings.engine,
            instead=settings.fallback_engine,
            reason=error.reason,
            fix=error.fix,
        )
        return ENGINES[settings.fallback_engine](settings, seat)
    return engine if alone else Standby(engine, lambda: ENGINES[settings.fallback_engine](settings, seat))


def known_engines() -> frozenset[str]:
    """All names that ``engine`` and ``routes`` may have."""
    return frozenset({REMOTE, *ENGINES})


def workers_here(settings: Settings) -> int:
    """How many processes make videos themselves."""
    return settings.workers if settings.engines - {REMOTE} else 0


def relays(settings: Settings) -> int:
    """How many processes have videos made elsewhere, each as many at once as the settings say."""
    return int(REMOTE in settings.engines)


def build_engines(settings: Settings, *, seat: int = 0) -> dict[str, Engine]:
    """The engines of a worker that makes videos itself.

    With routes none stands in for another: one that cannot work says so to each task, which goes on to the next one.
    """
    if not settings.by_route:
        return {settings.engine: build_engine(settings, seat=seat)}
    return {name: _present_or_not(settings, name, seat) for name in sorted(settings.engines - {REMOTE})}


def _present_or_not(settings: Settings, name: str, seat: int) -> Engine:
    from kf2v.engines.absent import Absent

    try:
        return ENGINES[name](settings, seat)
    except EngineUnavailable as error:
        log.warning("engine cannot work here", engine=name, reason=error.reason, fix=error.fix)
        return Absent(name, error)


def engine_standings(settings: Settings) -> tuple[EngineStanding, ...]:
    """The engines of these settings, those that stand in last. May take a while: it looks for what they need."""
    firsts = {route[0] for route in settings.routing.values()}
    names = sorted({*settings.engines, *filter(None, (settings.fallback_engine,))}, key=lambda name: name not in firsts)
    standings: list[EngineStanding] = []
    for name in names:
        own = settings.model_copy(update={"engine": name})
        lacking, absent = readiness(own), shortcomings(own)
        models = (
            ModelStanding(model=model, reason=absent[model].reason, fix=absent[model].fix)
            if model in absent
            else ModelStanding(model=model)
            for model in REGIONS[settings.region].models
        )
        standings.append(
            EngineStanding(
                engine=name,
                fallback=name not in firsts,
                reason=lacking.reason if lacking else None,
                fix=lacking.fix if lacking else None,
                models=() if lacking else tuple(models),
            )
        )
    return tuple(standings)

"""Where implementations are named and put together. It may grow, but only in tables.

Heavy things are imported by the builder that needs them: a server that only answers HTTP never loads a codec.
"""

import contextlib
import os
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from kf2v.admission.admit import Admission
from kf2v.admission.keys import Keys
from kf2v.blobs import Blobs
from kf2v.catalog.models import MODELS
from kf2v.catalog.regions import REGIONS
from kf2v.clock import HOUR, SECOND, Clock, SystemClock
from kf2v.engines import Engine, EngineUnavailable
from kf2v.engines.standby import Standby
from kf2v.links import Signer
from kf2v.rewriting import Rewriter
from kf2v.server.app import App
from kf2v.server.desk import Desk
from kf2v.server.ext.events import Events
from kf2v.server.ext.pictures import Pictures
from kf2v.server.ext.portrait import Portrait
from kf2v.server.ext.system import System
from kf2v.server.ext.tasks import OwnTasks
from kf2v.server.journal import Journal
from kf2v.server.operations import Metrics, Operations
from kf2v.server.reception import Reception
from kf2v.server.routes import table
from kf2v.server.sweeper import Sweeper
from kf2v.server.v1.create import Create
from kf2v.server.v1.files import Files, VideoLinks
from kf2v.server.v1.models import Models
from kf2v.server.v1.tasks import Tasks
from kf2v.server.v1.uploads import Uploads
from kf2v.server.vitals import Vitals
from kf2v.settings import Settings
from kf2v.store import Store
from kf2v.tasks.retention import Retention
from kf2v.wire.ext.system import EngineStanding, ModelStanding
from kf2v.wire.v1.media import FRAME_LIMIT

if TYPE_CHECKING:
    from kf2v.engines.wan.profiles import Options
    from kf2v.engines.wan.weights import Weights
    from kf2v.pipeline.recipe import Recipe
    from kf2v.rewriting.chat import Chat
    from kf2v.store.sqlite import SqliteStore


log = structlog.get_logger(__name__)


def _morph(settings: Settings, seat: int) -> Engine:
    del settings, seat
    from kf2v.engines.morph import Morph

    return Morph()


def _still(settings: Settings, seat: int) -> Engine:
    del settings, seat
    from kf2v.engines.still import Still

    return Still()


def _verbatim(settings: Settings) -> Rewriter:
    del settings
    from kf2v.rewriting.verbatim import Verbatim

    return Verbatim()


def _rules(settings: Settings) -> Rewriter:
    from kf2v.rewriting.rules import Rules

    return Rules(settings.rewrite_language)


def build_chat(settings: Settings) -> "Chat":
    """The language model of these settings, whoever the rewriter is."""
    from kf2v.rewriting.chat import Chat
    from kf2v.rewriting.chat.endpoint import Endpoint
    from kf2v.rewriting.rules import Rules

    key = settings.rewrite_api_key
    return Chat(
        Endpoint(
            base_url=settings.rewrite_base_url or "",
            model=settings.rewrite_model.strip(),
            api_key=key.get_secret_value().strip() if key else "",
            extra=settings.rewrite_extra,
        ),
        vision=settings.rewrite_vision,
        timeout=settings.rewrite_timeout,
        language=settings.rewrite_language,
        notes=Rules().describe,
    )


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
    from kf2v.engines.wan.readiness import missing_weights

    served = _served(settings, wan_weights(settings))
    first: dict[Weights, str] = {}  # of several names for the same weights
    for model, weights in served.items():
        first.setdefault(replace(weights, model=""), model)
    asked = {model: served[model] for model in first.values()}
    absent = missing_weights(asked, gpus_per_video=settings.wan_gpus_per_video)
    named = {model: first[replace(weights, model="")] for model, weights in served.items()}
    return {model: absent[same] for model, same in named.items() if same in absent}


def _served(settings: Settings, weights: "dict[str, Weights]") -> "dict[str, Weights]":
    """Of the models that can be asked for where this is."""
    return {model: weights[model] for model in REGIONS[settings.region].models}


#: each is given the settings and the seat of the worker it is for, 0 … ``workers`` - 1; raises EngineUnavailable
ENGINES: dict[str, Callable[[Settings, int], Engine]] = {"morph": _morph, "still": _still, "wan": _wan}
#: engines that want more than this package, and what that is; asked before anything is started
READINESS: dict[str, Callable[[Settings], EngineUnavailable | None]] = {"wan": _wan_readiness}
#: engines that may be able to make some models and not others: what each of the others lacks
SHORTCOMINGS: dict[str, Callable[[Settings], dict[str, EngineUnavailable]]] = {"wan": _wan_missing}
REWRITERS: dict[str, Callable[[Settings], Rewriter]] = {"rules": _rules, "openai": build_chat, "verbatim": _verbatim}


def retention(settings: Settings) -> Retention:
    return Retention(
        task=round(settings.retention_hours * HOUR),
        upload=round(settings.upload_retention_hours * HOUR),
    )


def prepare_data_dir(settings: Settings) -> None:
    """Make the data directory, for its owner only."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


def kept_secret(path: Path, make: Callable[[], str]) -> str:
    """The line in the file at ``path``, which only its owner can read; made the first time, whole or not at all."""
    if not path.exists():
        _keep(path, make() + "\n")
    return path.read_text().strip()


def _keep(path: Path, text: str) -> None:
    """A new file at ``path``, on the disk when this returns; the one that somebody else made meanwhile stays."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def signing_secret(settings: Settings) -> bytes:
    """What keys are hashed and links are signed with: one per data directory."""
    return bytes.fromhex(kept_secret(settings.secret_file, lambda: secrets.token_hex(32)))


def owner_key(settings: Settings) -> str:
    """The key that exists at start: the one that was set, else one made once and kept for its owner to read."""
    if settings.api_key is not None and settings.api_key.get_secret_value().strip():
        return settings.api_key.get_secret_value().strip()
    return kept_secret(settings.owner_key_file, lambda: f"sk-{secrets.token_hex(16)}")


async def open_store(settings: Settings) -> "SqliteStore":
    """The rows of the data directory. Raises StoreInUse while another process has them."""
    from kf2v.store.sqlite import SqliteStore

    prepare_data_dir(settings)
    return await SqliteStore.open(settings.database)


def open_blobs(settings: Settings) -> Blobs:
    from kf2v.blobs.local import LocalBlobs

    return LocalBlobs(settings.data_dir / "blobs")


@asynccontextmanager
async def open_keys(settings: Settings) -> AsyncGenerator[Keys]:
    """The keys of the data directory, while no server has it. Raises StoreInUse otherwise."""
    store = await open_store(settings)
    try:
        yield Keys(store, secret=signing_secret(settings), clock=SystemClock())
    finally:
        await store.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The HTTP side of a service, put together."""

    app: App
    keys: Keys
    desk: Desk
    vitals: Vitals
    journal: Journal
    sweeper: Sweeper


def build_front(
    settings: Settings,
    *,
    store: Store,
    blobs: Blobs,
    clock: Clock,
    secret: bytes,
    workers_alive: Callable[[], int],
    seats: Callable[[], Mapping[str, int]] = dict,
) -> Front:
    """Everything that answers requests, over the given rows, bytes and clock; ``seats`` are of workers, by name."""
    region, kept, signer = REGIONS[settings.region], retention(settings), Signer(secret)
    keys = Keys(store, secret=secret, clock=clock)
    journal = Journal()
    desk = Desk(
        store,
        clock=clock,
        lease_ms=round(settings.lease_seconds * SECOND),
        max_attempts=settings.max_attempts,
        task_timeout_ms=round(settings.task_timeout * SECOND),
        grace_ms=round(settings.cancel_grace_seconds * SECOND),
        journal=journal,
    )
    vitals = Vitals(
        store=store,
        blobs=blobs,
        clock=clock,
        data_dir=settings.data_dir,
        min_free_bytes=settings.min_free_mb * 1024 * 1024,
        workers_wanted=settings.workers,
        workers_alive=workers_alive,
    )
    admission = Admission(
        store=store,
        blobs=blobs,
        clock=clock,
        region=region,
        retention=kept,
        engine=settings.engine,
        validation=settings.validation,
    )
    reception = Reception(keys)
    links = VideoLinks(signer=signer, clock=clock, retention=kept, public_url=settings.public_url)
    metrics = Metrics()
    sweeper = Sweeper(store=store, blobs=blobs, clock=clock, retention=kept, scratch=settings.scratch_dir)
    portrait = Portrait(store=store, blobs=blobs, clock=clock, retention=kept, links=links)
    own_tasks = OwnTasks(
        reception=reception,
        store=store,
        clock=clock,
        retention=kept,
        desk=desk,
        journal=journal,
        sweeper=sweeper,
        portrait=portrait,
    )
    pictures = Pictures(reception=reception, tasks=own_tasks, blobs=blobs, portrait=portrait, png_of=_png_of)
    events = Events(reception=reception, journal=journal, portrait=portrait)
    system = System(
        reception=reception,
        store=store,
        clock=clock,
        desk=desk,
        vitals=vitals,
        data_dir=settings.data_dir,
        engines=lambda: engine_standings(settings),
        seats=seats,
        settings=settings.shown(),
    )
    routes = table(
        create=Create(reception=reception, admission=admission, store=store, desk=desk, vitals=vitals, journal=journal),
        tasks=Tasks(reception=reception, store=store, clock=clock, retention=kept, links=links, journal=journal),
        uploads_=Uploads(
            reception=reception,
            store=store,
            blobs=blobs,
            clock=clock,
            signer=signer,
            region=region,
            public_url=settings.public_url,
        ),
        files=Files(signer=signer, store=store, blobs=blobs, clock=clock, retention=kept),
        models=Models(reception=reception, region=region),
        operations=Operations(vitals=vitals, metrics=metrics, store=store),
        ext=(
            *own_tasks.routes(),
            *pictures.routes(),
            *events.routes(),
            *system.routes(),
        ),
    )
    return Front(app=App(routes, metrics), keys=keys, desk=desk, vitals=vitals, journal=journal, sweeper=sweeper)


def _png_of(path: Path, number: int) -> bytes:
    from kf2v.video.png import png_of

    return png_of(path, number)


def readiness(settings: Settings) -> EngineUnavailable | None:
    """Why the engine of these settings cannot work on this machine; None if it can, as far as can be seen from here."""
    ask = READINESS.get(settings.engine)
    return None if ask is None else ask(settings)


def shortcomings(settings: Settings) -> dict[str, EngineUnavailable]:
    """By model, why an engine that can work all the same cannot make it."""
    ask = SHORTCOMINGS.get(settings.engine)
    return {} if ask is None else ask(settings)


def engine_standings(settings: Settings) -> tuple[EngineStanding, ...]:
    """The engines of these settings, the one that stands in last. May take a while: it looks for what they need."""
    names = dict.fromkeys(filter(None, (settings.engine, settings.fallback_engine)))
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
                fallback=name != settings.engine,
                reason=lacking.reason if lacking else None,
                fix=lacking.fix if lacking else None,
                models=() if lacking else tuple(models),
            )
        )
    return tuple(standings)


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
    """What each model runs on: what the settings say of it or of its other names, else the first variant of it."""
    from kf2v.engines.wan.weights import CATALOGUE, ROWS, Lora, Weights

    chosen: dict[str, Weights] = {}
    for row in ROWS:
        chosen.setdefault(row.weights.model, row.weights)
    for model, said in settings.wan_weights.items():
        alike = [alias for alias in MODELS[model].aliases if alias not in settings.wan_weights]
        if isinstance(said, str):
            row = CATALOGUE.get(f"{model}:{said}")
            chosen[model] = Weights(model=model, base=said) if row is None else row.weights
        else:
            loras = tuple(Lora(**lora.model_dump()) for lora in said.loras)
            chosen[model] = Weights(
                model=model, base=said.base, experts=said.experts, loras=loras, distilled=said.distilled
            )
        chosen |= {alias: replace(chosen[model], model=alias) for alias in alike}
    return chosen


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


def build_rewriter(settings: Settings) -> Rewriter:
    """Who rewrites prompts."""
    return REWRITERS[settings.rewriter](settings)


def build_recipe(
    settings: Settings, *, blobs: Blobs | None = None, scratch: Path | None = None, seat: int = 0
) -> "Recipe":
    """The whole production of a video, with the engine of these settings; ``scratch`` holds unfinished files.

    Raises EngineUnavailable.
    """
    from kf2v.net.fetch import Fetcher
    from kf2v.pipeline.recipe import Recipe

    return Recipe(
        engines={settings.engine: build_engine(settings, seat=seat)},
        rewriter=build_rewriter(settings),
        fetcher=Fetcher(allow_hosts=settings.fetch_allow_hosts, timeout=settings.fetch_timeout, max_bytes=FRAME_LIMIT),
        blobs=open_blobs(settings) if blobs is None else blobs,
        watermark_text=settings.watermark_text,
        scratch=scratch or settings.scratch_dir,
        keeps_prompts=settings.rewrite_on_failure == "keep",
    )

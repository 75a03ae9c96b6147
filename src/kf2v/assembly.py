"""Where implementations are named and put together. It may grow, but only in tables.

Heavy things are imported by the builder that needs them: a server that only answers HTTP never loads a codec.
"""

import contextlib
import os
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydantic import SecretStr

from kf2v.admission.admit import Admission
from kf2v.admission.intake import Intake
from kf2v.admission.keys import Keys
from kf2v.admission.limits import EVERYBODY, Limits, Table
from kf2v.admission.reading import Reading
from kf2v.admission.routing import Routing
from kf2v.admission.workspaces import Workspaces
from kf2v.blobs import Blobs
from kf2v.catalog.models import MODELS
from kf2v.catalog.prices import cloud_prices, read_prices
from kf2v.catalog.quotas import CLOUD_QUOTAS, ENDLESS, OWN, Budget, Quota
from kf2v.catalog.regions import REGIONS
from kf2v.clock import HOUR, SECOND, Clock, SystemClock
from kf2v.engines import Engine, EngineUnavailable
from kf2v.engines.standby import Standby
from kf2v.links import Signer
from kf2v.metering.cost import cost_of
from kf2v.moderation import Moderator
from kf2v.moderation.panel import BOTH, Panel
from kf2v.net.guard import AllowedHosts
from kf2v.net.post import Poster
from kf2v.notify.courier import Courier
from kf2v.notify.schedule import Schedule
from kf2v.notify.signature import account_secret
from kf2v.rewriting import Rewriter
from kf2v.server.app import App
from kf2v.server.aside import Aside
from kf2v.server.backstage import Backstage, backstage
from kf2v.server.cabinet import cabinet
from kf2v.server.desk import Desk
from kf2v.server.ext.events import Events
from kf2v.server.ext.keys import KeyCalls
from kf2v.server.ext.pictures import Pictures
from kf2v.server.ext.portrait import Portrait
from kf2v.server.ext.previews import Previews
from kf2v.server.ext.system import System
from kf2v.server.ext.tasks import OwnTasks
from kf2v.server.ext.usage import UsageReports
from kf2v.server.ext.webhooks import Webhooks
from kf2v.server.ext.workspaces import WorkspaceCalls
from kf2v.server.forecast import Forecast
from kf2v.server.journal import Journal
from kf2v.server.operations import Metrics, Operations
from kf2v.server.reception import Reception
from kf2v.server.routes import table
from kf2v.server.routing import Routes
from kf2v.server.sweeper import Sweeper
from kf2v.server.v1.create import Create
from kf2v.server.v1.files import Files, VideoLinks
from kf2v.server.v1.models import Models
from kf2v.server.v1.tasks import Tasks
from kf2v.server.v1.tokens import Tokens
from kf2v.server.v1.uploads import Uploads
from kf2v.server.vitals import Vitals
from kf2v.settings import REMOTE, AccountLimits, ModelLimits, Settings
from kf2v.store import Store
from kf2v.tasks.job import Side
from kf2v.tasks.retention import Retention
from kf2v.wire.ext.system import EngineStanding, ModelStanding
from kf2v.wire.v1.media import FRAME_LIMIT

if TYPE_CHECKING:
    from kf2v.engines.remote import Remote
    from kf2v.engines.wan.profiles import Options
    from kf2v.engines.wan.weights import Weights
    from kf2v.net.fetch import Fetcher
    from kf2v.pipeline.recipe import Recipe
    from kf2v.pipeline.rehearsal import Rehearsal
    from kf2v.pipeline.relay import Relay
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

    return Chat(
        Endpoint(
            base_url=settings.rewrite_base_url or "",
            model=settings.rewrite_model.strip(),
            api_key=_bare(settings.rewrite_api_key),
            extra=settings.rewrite_extra,
        ),
        vision=settings.rewrite_vision,
        timeout=settings.rewrite_timeout,
        language=settings.rewrite_language,
        notes=Rules().describe,
    )


def _lists(settings: Settings) -> Moderator:
    from kf2v.moderation.lists import Lists

    return Lists(settings.moderation_dir, distance=settings.moderation_picture_distance)


def _classifier(settings: Settings) -> Moderator:
    from kf2v.moderation.classifier import Classifier
    from kf2v.moderation.outside import Outside

    return Outside(
        Classifier(settings.moderation_url or "", api_key=_bare(settings.moderation_api_key)),
        timeout=settings.moderation_timeout,
    )


def _flagging(settings: Settings) -> Moderator:
    from kf2v.moderation.flagging import Flagging
    from kf2v.moderation.outside import Outside

    return Outside(
        Flagging(
            base_url=settings.moderation_url or "",
            model=settings.moderation_model.strip(),
            api_key=_bare(settings.moderation_api_key),
        ),
        timeout=settings.moderation_timeout,
    )


def _bare(key: SecretStr | None) -> str:
    return key.get_secret_value().strip() if key else ""


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
MODERATORS: dict[str, Callable[[Settings], Moderator]] = {"lists": _lists, "http": _classifier, "openai": _flagging}
#: what is inspected unasked, by setting
INSPECTED: dict[str, frozenset[Side]] = {
    "both": BOTH,
    "input": frozenset({"input"}),
    "output": frozenset({"output"}),
    "request": frozenset(),
}


#: what an account may have of each model where nothing else is said
QUOTAS: dict[str, dict[str, Quota]] = {"own": dict.fromkeys(MODELS, OWN), "cloud": CLOUD_QUOTAS}


def limits_table(settings: Settings) -> Table:
    """Every figure that these settings give to anybody."""
    usual = QUOTAS[settings.limits]
    quotas: dict[tuple[str, str], Quota] = {}
    budgets: dict[tuple[str, str | None], Budget] = {}
    everybody = settings.account_limits.get(EVERYBODY, AccountLimits())
    for account, own in {EVERYBODY: everybody, **settings.account_limits}.items():
        budgets[account, None] = _budget(own, everybody)
        for model in MODELS:
            said = (own.models.get(model), own, everybody.models.get(model), everybody)
            quotas[account, model] = _quota([limits for limits in said if limits is not None], usual[model])
            budgets[account, model] = _budget(*(limits.models.get(model, ModelLimits()) for limits in (own, everybody)))
    return Table(quotas=quotas, budgets=budgets)


def _quota(said: Sequence[ModelLimits], usual: Quota) -> Quota:
    """The first word on each figure counts."""

    def figure(name: str) -> int | None:
        return next((value for limits in said if (value := getattr(limits, name)) is not None), getattr(usual, name))

    return Quota(per_second=figure("per_second"), running=figure("running"), waiting=figure("waiting"))


def _budget(*said: ModelLimits) -> Budget:
    """The first that says anything of money; its silence on the other period is no limit."""
    for limits in said:
        if limits.spend_per_day is not None or limits.spend_per_month is not None:
            return Budget(per_day=limits.spend_per_day, per_month=limits.spend_per_month, currency=limits.currency)
    return ENDLESS


def retention(settings: Settings) -> Retention:
    return Retention(
        task=round(settings.retention_hours * HOUR),
        upload=round(settings.upload_retention_hours * HOUR),
    )


def receivers(settings: Settings) -> AllowedHosts:
    """Where events may be sent whatever the address is."""
    return AllowedHosts(settings.webhook_allow_hosts, variable="KF2V_WEBHOOK_ALLOW_HOSTS")


def build_courier(settings: Settings, *, store: Store, clock: Clock, secret: bytes) -> Courier:
    """Who tells others that tasks have ended."""
    return Courier(
        store,
        clock=clock,
        post=Poster(allowed=receivers(settings), timeout=settings.webhook_timeout).post,
        account_secret=partial(account_secret, secret),
        schedule=Schedule(
            first=round(settings.webhook_first_retry * SECOND), give_up=round(settings.webhook_give_up_hours * HOUR)
        ),
    )


def prepare_data_dir(settings: Settings) -> None:
    """Make the data directory, for its owner only."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


def lay_out_lists(settings: Settings) -> None:
    """Blank lists with explanations for the owner to fill, where there are none yet."""
    from kf2v.moderation.lists import PICTURES, WORDS, blank

    if "lists" not in settings.moderation:
        return
    settings.moderation_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (WORDS, PICTURES):
        if not (settings.moderation_dir / name).exists():
            _keep(settings.moderation_dir / name, blank(name))


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
async def open_backstage(settings: Settings) -> AsyncGenerator[Backstage]:
    """What a running server answers its owner, while none has the data directory. Raises StoreInUse otherwise."""
    store = await open_store(settings)
    try:
        front = build_front(
            settings,
            store=store,
            blobs=open_blobs(settings),
            clock=SystemClock(),
            secret=signing_secret(settings),
            workers_alive=lambda: 0,
        )
        yield build_backstage(front)
    finally:
        await store.close()


def build_backstage(front: "Front") -> Backstage:
    """Everything that answers workers and the owner's commands."""
    return backstage(front.desk, (*cabinet(front.keys, front.workspaces),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The HTTP side of a service, put together."""

    app: App
    routes: Routes
    keys: Keys
    workspaces: Workspaces
    desk: Desk
    routing: Routing
    vitals: Vitals
    courier: Courier
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
    keys = Keys(store, secret=secret, clock=clock, region=region)
    workspaces = Workspaces(store, clock=clock)
    prices = cloud_prices() if settings.prices is None else read_prices(settings.prices)
    limits = Limits(limits_table(settings), store=store, clock=clock, cost=partial(cost_of, prices=prices))
    courier = build_courier(settings, store=store, clock=clock, secret=secret)
    routing = Routing(
        settings.routing,
        clock=clock,
        failures=settings.breaker_failures,
        cooldown_ms=round(settings.breaker_cooldown * SECOND),
    )
    journal = Journal()
    desk = Desk(
        store,
        clock=clock,
        routing=routing,
        lease_ms=round(settings.lease_seconds * SECOND),
        max_attempts=settings.max_attempts,
        task_timeout_ms=round(settings.task_timeout * SECOND),
        caps=limits.running,
        on_end=courier.wake,
        grace_ms=round(settings.cancel_grace_seconds * SECOND),
        journal=journal,
    )
    vitals = Vitals(
        store=store,
        blobs=blobs,
        clock=clock,
        data_dir=settings.data_dir,
        min_free_bytes=settings.min_free_mb * 1024 * 1024,
        workers_wanted=workers_here(settings) + relays(settings),
        workers_alive=workers_alive,
    )
    admission = Admission(
        store=store,
        blobs=blobs,
        clock=clock,
        retention=kept,
        routing=routing,
        reading=Reading(build_panel(settings), patience=settings.moderation_timeout),
        validation=settings.validation,
        callback_hosts=receivers(settings),
    )
    reception = Reception(keys, workspaces)
    intake = Intake(admission=admission, limits=limits, store=store, blobs=blobs, clock=clock, taken=journal.publish)
    forecast = Forecast(store, clock=clock, workers=workers_alive)
    previews = Previews(
        reception=reception,
        admission=admission,
        blobs=blobs,
        prices=prices,
        forecast=forecast,
        rehearsal=cache(lambda: build_rehearsal(settings)),
        looking=Aside(at_once=2, waiting=16, seconds=2 * settings.fetch_timeout + 30),
        rewriting=Aside(at_once=1, waiting=4, seconds=2 * settings.fetch_timeout + settings.rewrite_timeout + 30),
        rewriter=settings.rewriter,
        on_failure=settings.rewrite_on_failure,
    )
    links = VideoLinks(signer=signer, clock=clock, retention=kept, public_url=settings.public_url)
    metrics = Metrics()
    webhooks = Webhooks(
        reception=reception,
        store=store,
        clock=clock,
        courier=courier,
        hosts=receivers(settings),
        account_secret=partial(account_secret, secret),
        region_id=region.id,
    )
    sweeper = Sweeper(store=store, blobs=blobs, clock=clock, retention=kept, scratch=settings.scratch_dir)
    portrait = Portrait(store=store, blobs=blobs, clock=clock, retention=kept, links=links, foresight=forecast)
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
        breakers=routing.state,
        seats=seats,
        settings=settings.shown(),
    )
    routes = table(
        create=Create(reception=reception, intake=intake, desk=desk, vitals=vitals),
        tasks=Tasks(
            reception=reception,
            store=store,
            clock=clock,
            retention=kept,
            links=links,
            on_end=courier.wake,
            journal=journal,
        ),
        uploads_=Uploads(
            reception=reception,
            store=store,
            blobs=blobs,
            clock=clock,
            signer=signer,
            public_url=settings.public_url,
        ),
        files=Files(signer=signer, store=store, blobs=blobs, clock=clock, retention=kept),
        models=Models(reception=reception, limits=limits),
        tokens=Tokens(reception=reception, keys=keys),
        operations=Operations(vitals=vitals, metrics=metrics, store=store),
        ext=(
            *KeyCalls(reception=reception, keys=keys).routes(),
            *WorkspaceCalls(reception=reception, workspaces=workspaces).routes(),
            *UsageReports(reception=reception, store=store, prices=prices).routes(),
            *previews.routes(),
            *webhooks.routes(),
            *own_tasks.routes(),
            *pictures.routes(),
            *events.routes(),
            *system.routes(),
        ),
    )
    return Front(
        app=App(routes, metrics),
        routes=routes,
        keys=keys,
        workspaces=workspaces,
        desk=desk,
        routing=routing,
        vitals=vitals,
        courier=courier,
        journal=journal,
        sweeper=sweeper,
    )


def _png_of(path: Path, number: int) -> bytes:
    from kf2v.video.png import png_of

    return png_of(path, number)


def readiness(settings: Settings, engine: str | None = None) -> EngineUnavailable | None:
    """Why ``engine``, or else that of these settings, cannot work on this machine; None if it can, as far as can be
    seen from here."""
    ask = READINESS.get(engine or settings.engine)
    return None if ask is None else ask(settings)


def shortcomings(settings: Settings) -> dict[str, EngineUnavailable]:
    """By model, why an engine that can work all the same cannot make it."""
    ask = SHORTCOMINGS.get(settings.engine)
    return {} if ask is None else ask(settings)


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


def build_remote(settings: Settings) -> "Remote":
    """The far side of these settings."""
    from kf2v.engines.remote import Remote
    from kf2v.engines.remote.pace import Pace

    key = settings.remote_api_key
    return Remote(
        base_url=settings.remote_base_url or "",
        api_key=key.get_secret_value().strip() if key else "",
        models=settings.remote_models,
        timeout=settings.remote_timeout,
        pace=Pace(),
    )


def build_relay(settings: Settings, *, blobs: Blobs | None = None, scratch: Path | None = None) -> "Relay":
    """The whole production of a video, elsewhere; ``scratch`` holds unfinished files."""
    from kf2v.pipeline.relay import Relay

    return Relay(
        remote=build_remote(settings),
        fetcher=_fetcher(settings),
        panel=build_panel(settings),
        blobs=open_blobs(settings) if blobs is None else blobs,
        scratch=scratch or settings.scratch_dir,
        clock=SystemClock(),
        patience=settings.remote_patience,
    )


def build_rewriter(settings: Settings) -> Rewriter:
    """Who rewrites prompts."""
    return REWRITERS[settings.rewriter](settings)


def _fetcher(settings: Settings) -> "Fetcher":
    from kf2v.net.fetch import Fetcher

    return Fetcher(allow_hosts=settings.fetch_allow_hosts, timeout=settings.fetch_timeout, max_bytes=FRAME_LIMIT)


def build_rehearsal(settings: Settings) -> "Rehearsal":
    """What can be known of a video before it is made."""
    from kf2v.pipeline.rehearsal import Rehearsal

    return Rehearsal(fetcher=_fetcher(settings), rewriter=REWRITERS[settings.rewriter](settings))


def build_panel(settings: Settings) -> Panel:
    """Who inspects, what of it unasked, and what becomes of what they cannot decide on."""
    return Panel(
        [MODERATORS[name](settings) for name in settings.moderation],
        sides=INSPECTED[settings.moderation_inspects],
        every=settings.moderation_output_every,
        on_failure=settings.moderation_on_failure,
    )


def build_recipe(
    settings: Settings, *, blobs: Blobs | None = None, scratch: Path | None = None, seat: int = 0
) -> "Recipe":
    """The whole production of a video, with the engines of these settings; ``scratch`` holds unfinished files.

    Raises EngineUnavailable.
    """
    from kf2v.pipeline.recipe import Recipe

    return Recipe(
        engines=build_engines(settings, seat=seat),
        rewriter=build_rewriter(settings),
        fetcher=_fetcher(settings),
        panel=build_panel(settings),
        blobs=open_blobs(settings) if blobs is None else blobs,
        watermark_text=settings.watermark_text,
        scratch=scratch or settings.scratch_dir,
        keeps_prompts=settings.rewrite_on_failure == "keep",
    )

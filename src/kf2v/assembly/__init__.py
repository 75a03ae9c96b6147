"""Where implementations are named and put together. It may grow, but only in tables.

Heavy things are imported by the builder that needs them: a server that only answers HTTP never loads a codec.
"""

import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from kf2v.admission.admit import Admission
from kf2v.admission.figures import table_of
from kf2v.admission.intake import Intake
from kf2v.admission.keys import Keys
from kf2v.admission.limits import Limits, Table
from kf2v.admission.reading import Reading
from kf2v.admission.routing import Routing
from kf2v.admission.workspaces import Workspaces
from kf2v.assembly.engines import build_engines, readiness, relays, shortcomings, workers_here
from kf2v.blobs import Blobs
from kf2v.catalog.models import MODELS
from kf2v.catalog.prices import cloud_prices, read_prices
from kf2v.catalog.quotas import CLOUD_QUOTAS, OWN, Quota
from kf2v.catalog.regions import REGIONS
from kf2v.clock import HOUR, SECOND, Clock, SystemClock
from kf2v.kept_file import kept_secret
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
from kf2v.server.desk import Desk
from kf2v.server.ext.chains import Chains
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
from kf2v.server.owner_calls import owner_calls
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
from kf2v.settings import Settings
from kf2v.store import Store
from kf2v.tasks.job import Side
from kf2v.tasks.retention import Retention
from kf2v.wire.ext.system import EngineStanding, ModelStanding
from kf2v.wire.v1.media import FRAME_LIMIT

if TYPE_CHECKING:
    from kf2v.engines.remote import Remote
    from kf2v.net.fetch import Fetcher
    from kf2v.pipeline.recipe import Recipe
    from kf2v.pipeline.rehearsal import Rehearsal
    from kf2v.pipeline.relay import Relay
    from kf2v.rewriting.chat import Chat
    from kf2v.store.sqlite import SqliteStore


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
    return table_of(QUOTAS[settings.limits], settings.account_limits)


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
    from kf2v.moderation.lists import lay_out

    if "lists" in settings.moderation:
        lay_out(settings.moderation_dir)


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
    return backstage(front.desk, (*owner_calls(front.keys, front.workspaces),))


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
    intake = Intake(admission=admission, limits=limits, store=store, clock=clock, taken=journal.publish)
    chains = Chains(reception=reception, admission=admission, intake=intake, desk=desk, vitals=vitals)
    forecast = Forecast(store, clock=clock, workers=workers_alive)
    looking = 2 * settings.fetch_timeout + 2 * settings.moderation_timeout + 30
    previews = Previews(
        reception=reception,
        admission=admission,
        blobs=blobs,
        prices=prices,
        forecast=forecast,
        rehearsal=cache(lambda: build_rehearsal(settings)),
        looking=Aside(at_once=2, waiting=16, seconds=looking),
        rewriting=Aside(at_once=1, waiting=4, seconds=looking + settings.rewrite_timeout + settings.moderation_timeout),
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
            desk=desk,
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
            *chains.routes(),
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

    return Rehearsal(
        fetcher=_fetcher(settings), rewriter=REWRITERS[settings.rewriter](settings), panel=build_panel(settings)
    )


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

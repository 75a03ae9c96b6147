"""What the HTTP side of a service shares, each made once."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from kf2v.admission.admit import Admission
from kf2v.admission.figures import table_of
from kf2v.admission.intake import Intake
from kf2v.admission.keys import Keys
from kf2v.admission.limits import Limits, Table
from kf2v.admission.reading import Reading
from kf2v.admission.routing import Routing
from kf2v.admission.workspaces import Workspaces
from kf2v.assembly.data_dir import open_blobs, open_store, signing_secret
from kf2v.assembly.engines import relays, workers_here
from kf2v.assembly.panel import build_panel
from kf2v.blobs import Blobs
from kf2v.catalog.models import MODELS
from kf2v.catalog.prices import Prices, cloud_prices, read_prices
from kf2v.catalog.quotas import CLOUD_QUOTAS, OWN, Quota
from kf2v.catalog.regions import REGIONS
from kf2v.clock import HOUR, SECOND, Clock, SystemClock
from kf2v.links import Signer
from kf2v.metering.cost import cost_of
from kf2v.net.guard import AllowedHosts
from kf2v.net.post import Poster
from kf2v.notify.courier import Courier
from kf2v.notify.schedule import Schedule
from kf2v.notify.signature import account_secret
from kf2v.server.backstage import Backstage, backstage
from kf2v.server.desk import Desk, Terms
from kf2v.server.forecast import Forecast
from kf2v.server.journal import Journal
from kf2v.server.operations import Metrics
from kf2v.server.owner_calls import OwnerCalls
from kf2v.server.reception import Reception
from kf2v.server.sweeper import Sweeper
from kf2v.server.v1.files import VideoLinks
from kf2v.server.vitals import Vitals
from kf2v.settings import Settings
from kf2v.store import Store
from kf2v.tasks.retention import Retention

#: what an account may have of each model where nothing else is said
QUOTAS: dict[str, dict[str, Quota]] = {"own": dict.fromkeys(MODELS, OWN), "cloud": CLOUD_QUOTAS}


def limits_table(settings: Settings) -> Table:
    """Every figure that these settings give to anybody."""
    return table_of(QUOTAS[settings.limits], settings.account_limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Everything that answers requests, short of its routes."""

    settings: Settings
    store: Store
    blobs: Blobs
    clock: Clock
    retention: Retention
    signer: Signer
    #: where events may be sent whatever the address is
    hosts: AllowedHosts
    #: what the events of an account are signed with
    account_secret: Callable[[str], str]
    prices: Prices
    keys: Keys
    workspaces: Workspaces
    reception: Reception
    limits: Limits
    routing: Routing
    admission: Admission
    intake: Intake
    journal: Journal
    courier: Courier
    desk: Desk
    vitals: Vitals
    sweeper: Sweeper
    forecast: Forecast
    links: VideoLinks
    metrics: Metrics
    #: the seat of every worker there is, by name
    seats: Callable[[], Mapping[str, int]]


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
    """The front over the given rows, bytes and clock; ``secret`` is what keys are hashed and links are signed with."""
    retention, signer = _retention(settings), Signer(secret)
    hosts = AllowedHosts(settings.webhook_allow_hosts, variable="KF2V_WEBHOOK_ALLOW_HOSTS")
    prices = cloud_prices() if settings.prices is None else read_prices(settings.prices)
    keys = Keys(store, secret=secret, clock=clock, region=REGIONS[settings.region])
    workspaces = Workspaces(store, clock=clock)
    limits = Limits(limits_table(settings), store=store, clock=clock, cost=partial(cost_of, prices=prices))
    routing = _routing(settings, clock)
    admission = Admission(
        store=store,
        blobs=blobs,
        clock=clock,
        retention=retention,
        routing=routing,
        reading=Reading(build_panel(settings), patience=settings.moderation_timeout),
        validation=settings.validation,
        callback_hosts=hosts,
    )
    journal, metrics = Journal(), Metrics()
    secrets = partial(account_secret, secret)
    courier = _courier(settings, store, clock, hosts=hosts, secrets=secrets, metrics=metrics)
    return Front(
        settings=settings,
        store=store,
        blobs=blobs,
        clock=clock,
        retention=retention,
        signer=signer,
        hosts=hosts,
        account_secret=secrets,
        prices=prices,
        keys=keys,
        workspaces=workspaces,
        reception=Reception(keys, workspaces),
        limits=limits,
        routing=routing,
        admission=admission,
        intake=Intake(admission=admission, limits=limits, store=store, clock=clock, taken=journal.publish),
        journal=journal,
        courier=courier,
        desk=_desk(settings, store, clock, routing=routing, limits=limits, courier=courier, journal=journal),
        vitals=_vitals(settings, store, blobs, clock, workers_alive=workers_alive),
        sweeper=Sweeper(store=store, blobs=blobs, clock=clock, retention=retention, scratch=settings.scratch_dir),
        forecast=Forecast(store, clock=clock, workers=workers_alive),
        links=VideoLinks(signer=signer, clock=clock, retention=retention, public_url=settings.public_url),
        metrics=metrics,
        seats=seats,
    )


def _retention(settings: Settings) -> Retention:
    return Retention(
        task=round(settings.retention_hours * HOUR),
        upload=round(settings.upload_retention_hours * HOUR),
    )


def _routing(settings: Settings, clock: Clock) -> Routing:
    return Routing(
        settings.routing,
        clock=clock,
        failures=settings.breaker_failures,
        cooldown_ms=round(settings.breaker_cooldown * SECOND),
    )


def _courier(
    settings: Settings,
    store: Store,
    clock: Clock,
    *,
    hosts: AllowedHosts,
    secrets: Callable[[str], str],
    metrics: Metrics,
) -> Courier:
    return Courier(
        store,
        clock=clock,
        post=Poster(allowed=hosts, timeout=settings.webhook_timeout).post,
        account_secret=secrets,
        count=metrics.count_delivery,
        schedule=Schedule(
            first=round(settings.webhook_first_retry * SECOND), give_up=round(settings.webhook_give_up_hours * HOUR)
        ),
    )


def _desk(
    settings: Settings,
    store: Store,
    clock: Clock,
    *,
    routing: Routing,
    limits: Limits,
    courier: Courier,
    journal: Journal,
) -> Desk:
    return Desk(
        store,
        clock=clock,
        terms=Terms(
            lease=round(settings.lease_seconds * SECOND),
            max_attempts=settings.max_attempts,
            task_timeout=round(settings.task_timeout * SECOND),
            grace=round(settings.cancel_grace_seconds * SECOND),
        ),
        routing=routing,
        caps=limits.running,
        on_end=courier.wake,
        journal=journal,
    )


def _vitals(
    settings: Settings, store: Store, blobs: Blobs, clock: Clock, *, workers_alive: Callable[[], int]
) -> Vitals:
    return Vitals(
        store=store,
        blobs=blobs,
        clock=clock,
        data_dir=settings.data_dir,
        min_free_bytes=settings.min_free_mb * 1024 * 1024,
        workers_wanted=workers_here(settings) + relays(settings),
        workers_alive=workers_alive,
    )


def backstage_of(front: Front) -> Backstage:
    """Everything that answers workers and the owner's commands."""
    return backstage(front.desk, OwnerCalls(front.keys, front.workspaces).routes())


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
        yield backstage_of(front)
    finally:
        await store.close()

"""The routes of a service, over what its front shares."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from kf2v.assembly.engines import engine_standings
from kf2v.assembly.front import Front
from kf2v.catalog.regions import REGIONS
from kf2v.server.app import App
from kf2v.server.aside import Aside
from kf2v.server.ext.chains import Chains
from kf2v.server.ext.estimate import Estimate
from kf2v.server.ext.events import Events
from kf2v.server.ext.keys import KeyCalls
from kf2v.server.ext.pictures import Pictures
from kf2v.server.ext.portrait import Portrait
from kf2v.server.ext.rewrite import Rewrite
from kf2v.server.ext.system import System
from kf2v.server.ext.tasks import OwnTasks
from kf2v.server.ext.trial import Trial
from kf2v.server.ext.usage import UsageReports
from kf2v.server.ext.validate import Validate
from kf2v.server.ext.webhooks import Webhooks
from kf2v.server.ext.workspaces import WorkspaceCalls
from kf2v.server.operations import Operations
from kf2v.server.routes import table
from kf2v.server.routing import Route, Routes
from kf2v.server.v1.create import Create
from kf2v.server.v1.files import Files
from kf2v.server.v1.models import Models
from kf2v.server.v1.tasks import Tasks
from kf2v.server.v1.tokens import Tokens
from kf2v.server.v1.uploads import Uploads
from kf2v.settings import Settings

if TYPE_CHECKING:
    from kf2v.pipeline.rehearsal import Rehearsal


def app_of(front: Front) -> App:
    """The application that answers on every route."""
    return App(routes_of(front), front.metrics)


def routes_of(front: Front) -> Routes:
    settings = front.settings
    return table(
        create=Create(reception=front.reception, intake=front.intake, desk=front.desk, vitals=front.vitals),
        tasks=Tasks(
            reception=front.reception,
            store=front.store,
            clock=front.clock,
            retention=front.retention,
            links=front.links,
            desk=front.desk,
        ),
        uploads_=Uploads(
            reception=front.reception,
            store=front.store,
            blobs=front.blobs,
            clock=front.clock,
            signer=front.signer,
            public_url=settings.public_url,
        ),
        files=Files(
            signer=front.signer, store=front.store, blobs=front.blobs, clock=front.clock, retention=front.retention
        ),
        models=Models(reception=front.reception, limits=front.limits),
        tokens=Tokens(reception=front.reception, keys=front.keys),
        operations=Operations(vitals=front.vitals, metrics=front.metrics, store=front.store),
        ext=(
            *KeyCalls(reception=front.reception, keys=front.keys).routes(),
            *WorkspaceCalls(reception=front.reception, workspaces=front.workspaces).routes(),
            *UsageReports(reception=front.reception, store=front.store, prices=front.prices).routes(),
            *_without_submitting(front),
            *Chains(
                reception=front.reception,
                admission=front.admission,
                intake=front.intake,
                desk=front.desk,
                vitals=front.vitals,
            ).routes(),
            *Webhooks(
                reception=front.reception,
                store=front.store,
                clock=front.clock,
                courier=front.courier,
                hosts=front.hosts,
                account_secret=front.account_secret,
                region_id=REGIONS[settings.region].id,
            ).routes(),
            *_about_tasks(front),
            *System(
                reception=front.reception,
                store=front.store,
                clock=front.clock,
                desk=front.desk,
                vitals=front.vitals,
                data_dir=settings.data_dir,
                engines=lambda: engine_standings(settings),
                breakers=front.routing.state,
                seats=front.seats,
                settings=settings.shown(),
            ).routes(),
        ),
    )


def _without_submitting(front: Front) -> list[Route]:
    settings, reception = front.settings, front.reception
    rehearsal = cache(lambda: _rehearsal(settings))
    looking = 2 * settings.fetch_timeout + 2 * settings.moderation_timeout + 30
    trial = Trial(
        admission=front.admission,
        blobs=front.blobs,
        rehearsal=rehearsal,
        looking=Aside(at_once=2, waiting=16, seconds=looking),
    )
    estimate = Estimate(reception=reception, trial=trial, prices=front.prices, forecast=front.forecast)
    rewrite = Rewrite(
        reception=reception,
        trial=trial,
        rehearsal=rehearsal,
        rewriting=Aside(at_once=1, waiting=4, seconds=looking + settings.rewrite_timeout + settings.moderation_timeout),
        rewriter=settings.rewriter,
        on_failure=settings.rewrite_on_failure,
    )
    return [*estimate.routes(), *Validate(reception=reception, trial=trial).routes(), *rewrite.routes()]


def _about_tasks(front: Front) -> list[Route]:
    portrait = Portrait(
        store=front.store,
        blobs=front.blobs,
        retention=front.retention,
        links=front.links,
        foresight=front.forecast,
    )
    tasks = OwnTasks(
        reception=front.reception,
        store=front.store,
        clock=front.clock,
        retention=front.retention,
        desk=front.desk,
        journal=front.journal,
        sweeper=front.sweeper,
        portrait=portrait,
    )
    pictures = Pictures(reception=front.reception, tasks=tasks, blobs=front.blobs, portrait=portrait, png_of=_png_of)
    events = Events(reception=front.reception, tasks=tasks, journal=front.journal, portrait=portrait)
    return [*tasks.routes(), *pictures.routes(), *events.routes()]


def _rehearsal(settings: Settings) -> "Rehearsal":
    from kf2v.assembly.production import build_rehearsal

    return build_rehearsal(settings)


def _png_of(path: Path, number: int | None) -> bytes:
    from kf2v.video.png import png_of

    return png_of(path, number)

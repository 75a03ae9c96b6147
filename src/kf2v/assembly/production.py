"""What makes a video, here or elsewhere, and what foresees one."""

from pathlib import Path
from typing import TYPE_CHECKING

from kf2v.assembly.data_dir import open_blobs
from kf2v.assembly.engines import build_engines
from kf2v.assembly.panel import build_panel
from kf2v.assembly.rewriters import build_rewriter
from kf2v.blobs import Blobs
from kf2v.clock import SystemClock
from kf2v.settings import Settings
from kf2v.settings.secrecy import bare
from kf2v.wire.v1.media import FRAME_LIMIT

if TYPE_CHECKING:
    from kf2v.engines.remote import Remote
    from kf2v.net.fetch import Fetcher
    from kf2v.pipeline.recipe import Recipe
    from kf2v.pipeline.rehearsal import Rehearsal
    from kf2v.pipeline.relay import Relay


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


def build_remote(settings: Settings) -> "Remote":
    """The far side of these settings."""
    from kf2v.engines.remote import Remote
    from kf2v.engines.remote.pace import Pace

    return Remote(
        base_url=settings.remote_base_url or "",
        api_key=bare(settings.remote_api_key),
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


def build_rehearsal(settings: Settings) -> "Rehearsal":
    """What can be known of a video before it is made."""
    from kf2v.pipeline.rehearsal import Rehearsal

    return Rehearsal(fetcher=_fetcher(settings), rewriter=build_rewriter(settings), panel=build_panel(settings))


def _fetcher(settings: Settings) -> "Fetcher":
    from kf2v.net.fetch import Fetcher

    return Fetcher(allow_hosts=settings.fetch_allow_hosts, timeout=settings.fetch_timeout, max_bytes=FRAME_LIMIT)

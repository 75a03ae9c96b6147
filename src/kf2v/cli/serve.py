"""``kf2v serve``: the service itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kf2v.cli.config import DataDir, read_settings
from kf2v.cli.exits import Exit
from kf2v.cli.terminal import CommandFailed, say

if TYPE_CHECKING:
    from kf2v.settings import Settings

Engine = Annotated[str | None, typer.Option("--engine", help="What makes the frames [env: KF2V_ENGINE].")]


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [env: KF2V_HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one [env: KF2V_PORT].")] = None,
    data_dir: DataDir = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes; 0 takes orders only [env: KF2V_WORKERS].")
    ] = None,
    engine: Engine = None,
    public_url: Annotated[
        str | None, typer.Option(help="Base of the links in answers, behind a proxy [env: KF2V_PUBLIC_URL].")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error [env: KF2V_LOG_LEVEL].")] = None,
) -> None:
    """Run the service until Ctrl-C or SIGTERM.

    Prints the base URL, a key and the lines that point the official SDKs here; then `ready http://…` on stderr.
    Flags win over the environment, the environment over kf2v.toml.
    """
    settings = read_settings(
        host=host,
        port=port,
        data_dir=absolute(data_dir),
        workers=workers,
        engine=engine,
        public_url=public_url,
        log_level=log_level,
    )
    check_engine(settings)
    from kf2v.service import serve as run_service
    from kf2v.store.sqlite.connections import SqliteTooOld
    from kf2v.store.sqlite.ownership import StoreInUse
    from kf2v.store.sqlite.schema import SchemaMismatch

    try:
        run_service(settings)
    except StoreInUse as error:
        fix = "stop that server, or choose another --data-dir"
        raise CommandFailed("DataDirInUse", str(error), exit=Exit.GENERAL, fix=fix) from error
    except (SchemaMismatch, SqliteTooOld) as error:
        raise CommandFailed("DataDirUnusable", str(error), exit=Exit.GENERAL) from error
    except OSError as error:
        raise _cannot_start(error, settings) from error


def absolute(path: Path | None) -> Path | None:
    """So that it means the same to every process, wherever that runs."""
    return None if path is None else path.expanduser().absolute()


def check_engine(settings: Settings) -> None:
    """Say so if another engine has to stand in for the one that was asked for.

    Raises CommandFailed if there is no engine of that name, or it cannot work here and nothing stands in.
    """
    from kf2v.assembly.engines import known_engines, readiness

    routed = [("routes", name) for route in settings.routes.values() for name in route]
    for field, name in (("engine", settings.engine), ("fallback_engine", settings.fallback_engine), *routed):
        if name not in known_engines() and (name or field != "fallback_engine"):
            known = ", ".join(sorted(known_engines()))
            raise CommandFailed("InvalidSetting", f"{field}: should be one of {known}, got {name!r}")
    if settings.by_route:
        return _tell_of_absent(settings)
    lacking = readiness(settings)
    if lacking is None:
        return None
    if settings.fallback_engine in ("", settings.engine):
        raise CommandFailed("EngineUnavailable", lacking.reason, exit=Exit.GENERAL, fix=lacking.fix)
    say(f"{settings.engine} cannot work here, {settings.fallback_engine} stands in: {lacking.reason}")
    say(f"fix: {lacking.fix}")
    return None


def _tell_of_absent(settings: Settings) -> None:
    """Say which of the routes' engines cannot work here; tasks go on to the next one from there."""
    from kf2v.assembly.engines import readiness

    for engine in sorted(settings.engines):
        lacking = readiness(settings, engine)
        if lacking is not None:
            say(f"{engine} cannot work here, its tasks go on to the next engine of their route: {lacking.reason}")
            say(f"fix: {lacking.fix}")


def _cannot_start(error: OSError, settings: Settings) -> CommandFailed:
    import errno

    if error.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES) and error.filename is None:
        message = f"cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        return CommandFailed("AddressUnusable", message, exit=Exit.GENERAL, fix="choose another --port or --host")
    place = f" ({error.filename})" if error.filename else ""
    return CommandFailed("CannotStart", f"{error.strerror or error}{place}", exit=Exit.GENERAL, fix="try: kf2v doctor")

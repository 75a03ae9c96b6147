"""The data of this machine, through whoever owns it at the moment.

A running server is asked over its socket, because it alone owns the data; with none running the data is opened, and
the same application answers in this process.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kf2v.cli.config import read_settings
from kf2v.cli.exits import Exit
from kf2v.cli.serve import absolute
from kf2v.cli.terminal import CommandFailed


class BackDoor:
    """What the owner of a data directory may ask for."""

    def __init__(self, data_dir: Path | None) -> None:
        self._settings = read_settings(data_dir=absolute(data_dir))

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        """The answer. Raises CommandFailed with the code that it was refused with."""
        import msgspec

        content = b"" if body is None else msgspec.json.encode(body)
        status, answer = self._running(method, path, content) or self._at_rest(method, path, content)
        if status == 200:
            return answer
        try:
            told = msgspec.json.decode(answer, type=dict[str, str])
            code, message = told["code"], told["message"]
        except (msgspec.MsgspecError, KeyError) as error:
            said = answer.decode("utf-8", "replace")
            raise CommandFailed("ServerError", f"the running server answered {status}: {said}") from error
        raise CommandFailed(code, message)

    def _running(self, method: str, path: str, body: bytes) -> tuple[int, bytes] | None:
        """What the running server says; None if none runs."""
        from kf2v.net.unix import socket_path
        from kf2v.net.unix_client import UnixClient, Unreachable

        socket = socket_path(self._settings.data_dir)
        if not socket.exists():
            return None
        try:
            return UnixClient(socket).ask(method, path, body)
        except Unreachable:
            return None  # left behind by a server that died; the lock of the data tells for certain

    def _at_rest(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        import asyncio

        from kf2v.assembly.front import open_backstage
        from kf2v.net.within import ask
        from kf2v.store.sqlite.ownership import StoreInUse

        async def inside() -> tuple[int, bytes]:
            async with open_backstage(self._settings) as app:
                return await ask(app, method, path, body)

        try:
            return asyncio.run(inside())
        except StoreInUse as error:
            fix = "it may be starting or stopping; try again in a moment"
            raise CommandFailed("DataDirInUse", f"{error} It does not answer.", exit=Exit.GENERAL, fix=fix) from error
        except OSError as error:
            raise CommandFailed("DataDirUnusable", f"{self._settings.data_dir}: {error.strerror or error}") from error


def members(shown: Any) -> dict[str, object]:
    """Absent members are left out, as everywhere in this API."""
    return {name: value for name, value in asdict(shown).items() if value is not None}


def day(at: int | None) -> str:
    """A moment in this machine's time, for a table."""
    return "" if at is None else f"{datetime.fromtimestamp(at / 1000, UTC).astimezone():%Y-%m-%d %H:%M}"

"""Frames as a command names them: a file or a URL, uploaded, sent along, or read right here."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from kf2v.cli.terminal import CommandFailed

if TYPE_CHECKING:
    from kf2v.net.dashscope import DashScope
    from kf2v.settings import Settings


def file_or_url(given: str) -> Path | str:
    """A file to upload, or a URL to pass on. Raises CommandFailed if it is neither."""
    return given if given.startswith(("http://", "https://", "oss://", "data:")) else local_file(given)


def local_file(given: str) -> Path:
    """The file that a path or a ``file://`` URL names. Raises CommandFailed if it is none."""
    path = Path(unquote(urlsplit(given).path) if given.startswith("file://") else given).expanduser()
    if not path.is_file():
        raise CommandFailed("Usage", f"{given} is neither a file nor a URL")
    return path


def upload(client: DashScope, frame: Path | str, role: str, model: str) -> str:
    """The URL of a frame, once a file is where the server can read it.

    Under a name of our own: the file's may tell more than a server needs to know, or be the same for both.
    """
    if isinstance(frame, str):
        return frame
    file = frame
    kind = mimetypes.guess_type(file.name)[0] or ""
    suffix = file.suffix.lower() if kind.startswith("image/") else ""
    with _read(file), file.open("rb") as content:
        return client.upload(content, name=role + suffix, model=model)


def inline(given: str) -> str:
    """A frame as it travels where nothing is ordered: a file's bytes go along, and nothing of it is kept there."""
    file = file_or_url(given)
    if isinstance(file, str):
        return file
    with _read(file):
        return "data:application/octet-stream;base64," + base64.b64encode(file.read_bytes()).decode()


def picture(given: str, settings: Settings) -> bytes:
    """The bytes of a frame. The host of a URL was typed by whoever runs this, so its address need not be public.

    Raises ApiError for a URL that cannot be read or fetched.
    """
    if not given.lower().startswith(("http://", "https://")):
        file = local_file(given)
        with _read(file):
            return file.read_bytes()
    from kf2v.net.fetch import Fetcher
    from kf2v.net.guard import parse_frame_url
    from kf2v.wire.v1.media import FRAME_LIMIT

    host = parse_frame_url(given).host
    allowed = settings.fetch_allow_hosts | {f"[{host}]" if ":" in host else host}
    return Fetcher(allow_hosts=allowed, timeout=settings.fetch_timeout, max_bytes=FRAME_LIMIT).fetch(given)


@contextmanager
def _read(file: Path) -> Generator[None]:
    """Raises CommandFailed where that cannot be done inside."""
    try:
        yield
    except OSError as error:
        raise CommandFailed("Usage", f"{file} cannot be read: {error.strerror or error}") from error

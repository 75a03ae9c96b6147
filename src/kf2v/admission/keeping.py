"""Bytes that a client sent are kept, or refused in words that the client knows."""

import structlog

from kf2v.blobs import Blobs
from kf2v.errors import Unavailable

log = structlog.get_logger(__name__)


def keep(blobs: Blobs, key: str, data: bytes) -> None:
    """Raises BlobExists, and Unavailable where nothing can be written now, as on a full disk."""
    try:
        blobs.put(key, data)
    except OSError as error:
        log.warning("a frame could not be kept", reason=str(error))
        raise Unavailable(f"{Unavailable.sentence} The server could not keep what was sent.") from error

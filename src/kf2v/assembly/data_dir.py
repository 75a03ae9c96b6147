"""What is kept in the data directory, opened."""

import secrets
from typing import TYPE_CHECKING

from kf2v.blobs import Blobs
from kf2v.kept_file import kept_secret
from kf2v.settings import Settings
from kf2v.settings.secrecy import bare

if TYPE_CHECKING:
    from kf2v.store.sqlite import SqliteStore


def prepare_data_dir(settings: Settings) -> None:
    """Make the data directory, for its owner only."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


def signing_secret(settings: Settings) -> bytes:
    """What keys are hashed and links are signed with: one per data directory."""
    return bytes.fromhex(kept_secret(settings.secret_file, lambda: secrets.token_hex(32)))


def owner_key(settings: Settings) -> str:
    """The key that exists at start: the one that was set, else one made once and kept for its owner to read."""
    return bare(settings.api_key) or kept_secret(settings.owner_key_file, lambda: f"sk-{secrets.token_hex(16)}")


async def open_store(settings: Settings) -> "SqliteStore":
    """The rows of the data directory. Raises StoreInUse while another process has them."""
    from kf2v.store.sqlite import SqliteStore

    prepare_data_dir(settings)
    return await SqliteStore.open(settings.database)


def open_blobs(settings: Settings) -> Blobs:
    from kf2v.blobs.local import LocalBlobs

    return LocalBlobs(settings.data_dir / "blobs")

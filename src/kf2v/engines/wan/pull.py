"""Fetching weights from the hub: what is to come, how much, on what terms; then file by file, going on where it broke.

Knows nothing of what is in the files. huggingface_hub owns the hub's API, its tokens, its cache and the offline mode;
importing this module does not load it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from kf2v.engines.wan.weights import Download, hub_cache

#: told a file's name and how much of everything is here (0 … 1)
Tell: TypeAlias = Callable[[str, float], None]

#: from this size on a file that came in part is kept for the next attempt: huggingface_hub itself throws it away
WORTH_RESUMING = 64 << 20
#: how the name of such a file ends
PART = ".kf2v-part"
#: bytes that stay free on the disk
SPARE = 256 << 20


class PullFailed(Exception):
    """Nothing more can be fetched: why, and what would do."""

    def __init__(
        self,
        kind: Literal["package", "network", "offline", "refused", "missing", "disk", "hub"],
        message: str,
        fix: str,
    ) -> None:
        self.kind = kind
        self.message = message
        self.fix = fix
        super().__init__(f"{message}; {fix}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file."""

    name: str
    bytes: int
    #: whether it is in the cache already
    here: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one repository is to give."""

    repository: str
    commit: str
    #: as the repository's card says it today; empty if it says nothing
    licence: str
    items: tuple[Item, ...]

    @property
    def bytes(self) -> int:
        """Everything, here or not."""
        return sum(item.bytes for item in self.items)

    @property
    def to_come(self) -> int:
        """Bytes that are not here yet."""
        return sum(item.bytes for item in self.items if not item.here)


def plan(downloads: Iterable[Download]) -> tuple[Plan, ...]:
    """Ask the hub what ``downloads`` come to. Raises PullFailed."""
    return tuple(_plan(download) for download in downloads)


def fetch(plans: tuple[Plan, ...], tell: Tell, *, worth_resuming: int = WORTH_RESUMING) -> tuple[Path, ...]:
    """Fetch what is not here, and give the directory of each repository. Raises PullFailed.

    A connection that breaks is taken up again where it broke, several times; a file that was begun by an earlier,
    interrupted call is continued if it is large; whole files are never fetched twice.
    """
    check_room(plans)
    total = sum(each.bytes for each in plans) or 1
    count = _Count(done=sum(each.bytes - each.to_come for each in plans), total=total, tell=tell)
    return tuple(_fetch_all(each, count, worth_resuming) for each in plans)


def check_room(plans: tuple[Plan, ...]) -> None:
    """Raises PullFailed if the disk of the cache is too small for what is to come."""
    cache = hub_cache()
    there = next(path for path in (cache, *cache.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    wanted = sum(max(0, each.to_come - _begun(each.repository)) for each in plans)
    if wanted and wanted + SPARE > free:
        raise PullFailed(
            "disk",
            f"{_gigabytes(wanted)} are to come and {_gigabytes(free)} are free at {cache}",
            "free some space, or set HF_HOME to a larger disk",
        )


def _blobs(repository: str) -> Path:
    """Where the cache has the contents of files.

    Layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
    """
    return hub_cache() / f"models--{repository.replace('/', '--')}" / "blobs"


def _begun(repository: str) -> int:
    """Bytes of files that came in part."""
    return sum(part.stat().st_size for part in _blobs(repository).glob(f"*{PART}"))


def _plan(download: Download) -> Plan:
    with _explained(download.repository):
        from huggingface_hub import HfApi, try_to_load_from_cache
        from huggingface_hub.utils import filter_repo_objects

        hub = HfApi()
        info = hub.model_info(download.repository)
        commit = str(info.sha)
        tree = hub.list_repo_tree(download.repository, recursive=True, revision=commit)
        sizes = {entry.path: int(size) for entry in tree if (size := getattr(entry, "size", None)) is not None}
        wanted = sorted(filter_repo_objects(sizes, allow_patterns=list(download.patterns)))
        here = {name: try_to_load_from_cache(download.repository, name, revision=commit) for name in wanted}
    items = tuple(Item(name=name, bytes=sizes[name], here=isinstance(here[name], str)) for name in wanted)
    missing = [name for name in download.patterns if name.endswith(".safetensors") and name not in sizes]
    if missing or not items:
        found = f"{download.repository} has no {', '.join(missing) or 'file that is asked for'}"
        raise PullFailed("missing", found, "check the name; if it is of kf2v models list, upgrade kf2v")
    licence = str(getattr(info.card_data, "license", None) or "")
    return Plan(repository=download.repository, commit=commit, licence=licence, items=items)


@dataclass(slots=True, kw_only=True)
class _Count:
    """How much is here, told whenever something comes."""

    done: int
    total: int
    tell: Tell
    name: str = ""

    def add(self, count: float) -> None:
        self.done += int(count)
        self.tell(self.name, min(1.0, max(0.0, self.done / self.total)))


def _fetch_all(each: Plan, count: _Count, worth_resuming: int) -> Path:
    with _explained(each.repository):
        from huggingface_hub import hf_hub_download

        folder = Path()
        for item in each.items:
            count.name = item.name
            bar = _bar(count)
            if not item.here and item.bytes >= worth_resuming:
                _fetch_large(each, item, bar)
            path = Path(hf_hub_download(each.repository, item.name, revision=each.commit, tqdm_class=bar))
            folder = path.parents[len(Path(item.name).parts) - 1]
        _remember(folder, each.commit)
    return folder


def _remember(folder: Path, commit: str) -> None:
    """Let ``main`` be the state that was fetched, as huggingface_hub writes it when it is asked for ``main``."""
    reference = folder.parents[1] / "refs" / "main"
    if folder.parent.name == "snapshots" and (not reference.exists() or reference.read_text() != commit):
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)


def _fetch_large(each: Plan, item: Item, bar: type[Any]) -> None:
    """Put ``item`` among the cache's blobs, continuing what an interrupted call left. Leaves Xet's files to Xet."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(each.repository, item.name, revision=each.commit)
    told = get_hf_file_metadata(url)
    by_xet = told.xet_file_data is not None and find_spec("hf_xet") and not constants.HF_HUB_DISABLE_XET
    if not told.etag or not told.size or by_xet:
        return
    blob = _blobs(each.repository) / told.etag
    if blob.exists() or Path(told.etag).name != told.etag:
        return
    headers = build_hf_headers()
    if urlsplit(told.location).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)  # storage is another host, and the token is not for it
    blob.parent.mkdir(parents=True, exist_ok=True)
    part = blob.with_name(f"{blob.name}{PART}")
    with part.open("ab") as file:
        _alone(file, part)
        begun = file.tell()
        if begun > told.size:
            file.truncate(begun := 0)
        http_get(told.location, file, resume_size=begun, headers=headers, expected_size=told.size, tqdm_class=bar)
    if begun and not _sound(part, told.etag):
        part.unlink()
        raise PullFailed("hub", f"{item.name} changed while it was fetched", "run the same command again")
    part.replace(blob)


def _alone(file: Any, part: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PullFailed("hub", f"{part.name} is being fetched by another process", "wait for it to end") from None


def _sound(path: Path, etag: str) -> bool:
    """Whether a file put together from several attempts is the one; large files' tags are their SHA-256."""
    if not re.fullmatch(r"[0-9a-f]{64}", etag):
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == etag


def _bar(count: _Count) -> type[Any]:
    """What huggingface_hub takes for a progress bar."""

    class Bar:
        def __init__(self, *_: Any, initial: float = 0, **__: Any) -> None:
            count.add(initial)

        def update(self, n: float | None = 1) -> None:
            count.add(n or 0)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def __getattr__(self, name: str) -> Callable[..., None]:
            if name.startswith("_") or name == "update_transfer":
                raise AttributeError(name)
            return lambda *_, **__: None

    return Bar


@contextmanager
def _explained(repository: str) -> Iterator[None]:
    """What the hub and the system say, as PullFailed."""
    try:
        from huggingface_hub import errors
    except ImportError:
        raise PullFailed("package", "huggingface_hub is not installed", "pip install 'kf2v[wan]'") from None
    from huggingface_hub import constants

    hub = str(constants.ENDPOINT)
    try:
        yield
    except errors.OfflineModeIsEnabled as error:
        raise PullFailed("offline", "HF_HUB_OFFLINE is set, so nothing is fetched", "unset it") from error
    except errors.GatedRepoError as error:
        fix = f"accept its terms at {hub}/{repository}, and set HF_TOKEN to a token of that account"
        raise PullFailed("refused", f"{repository} is gated", fix) from error
    except errors.RepositoryNotFoundError as error:
        message = f"{hub} has no {repository}, or shows it only to others"
        raise PullFailed("missing", message, "if it is private, set HF_TOKEN; else see: kf2v models list") from error
    except errors.LocalEntryNotFoundError as error:  # it is the hub that was not found
        raise _unreachable(hub, error) from error
    except (errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise PullFailed("missing", f"{repository}: {_first_line(error)}", "run the same command again") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        kind = "refused" if status in (401, 403) else "hub"
        fix = "set HF_TOKEN to a token with the right to read it" if kind == "refused" else "try again later"
        raise PullFailed(kind, f"{hub} answered {status} for {repository}", fix) from error
    except (ConnectionError, TimeoutError) as error:
        raise _unreachable(hub, error) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fix = "free some space, or set HF_HOME to a larger disk; what is here is kept"
            raise PullFailed("disk", f"the disk of {hub_cache()} is full", fix) from error
        if error.errno is None:
            raise _unreachable(hub, error) from error
        found = f"{hub_cache()} cannot be written: {error.strerror}"
        raise PullFailed("disk", found, "set HF_HOME to a place of yours") from error
    except ValueError as error:
        raise PullFailed("hub", f"{repository}: {_first_line(error)}", "pip install hf_xet, or upgrade") from error
    except Exception as error:
        if not _is_network(error):
            raise
        raise _unreachable(hub, error) from error


def _is_network(error: BaseException) -> bool:
    """Whether it is the HTTP client's; which client that is depends on huggingface_hub's version."""
    return any(
        kind.__module__.partition(".")[0].startswith(("httpx", "httpcore", "requests")) for kind in type(error).__mro__
    )


def _unreachable(hub: str, error: BaseException) -> PullFailed:
    fix = "check the network (HTTPS_PROXY, HF_ENDPOINT) and run the same command again: what is here is kept"
    return PullFailed("network", f"{hub} cannot be reached: {_first_line(error)}", fix)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"

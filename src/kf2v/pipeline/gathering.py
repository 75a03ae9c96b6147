"""The two pictures of a task: fetched or uploaded, kept, and checked."""

from dataclasses import dataclass
from typing import Protocol

from kf2v.blobs import BlobExists, Blobs, NoSuchBlob
from kf2v.errors import InvalidUrl, about_frame
from kf2v.pipeline.prepare import decode
from kf2v.pipeline.progress import Progress
from kf2v.tasks import FrameSource, Lease
from kf2v.video import Frame


class Fetches(Protocol):
    """Gets the bytes behind a stranger's URL. Raises FrameError."""

    def fetch(self, url: str) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture that passed every check."""

    #: as it came
    data: bytes
    #: decoded, in the size it came in
    frame: Frame


class Gathering:
    """Gets pictures; what was fetched is kept, so that another attempt sees the same."""

    def __init__(self, fetcher: Fetches, blobs: Blobs) -> None:
        self._fetcher = fetcher
        self._blobs = blobs

    def pictures(self, lease: Lease, progress: Progress) -> tuple[Picture, Picture]:
        """The first and the last one. Raises FrameError."""
        progress.report("fetch", 0.0)
        with about_frame("first_frame_url"):
            first = self._picture(lease.job.first, f"inputs/{lease.task_id}/first")
        progress.report("fetch", 0.5)
        with about_frame("last_frame_url"):
            last = self._picture(lease.job.last, f"inputs/{lease.task_id}/last")
        progress.report("fetch", 1.0)
        return first, last

    def _picture(self, source: FrameSource, kept_as: str) -> Picture:
        data = self._bytes_of(source, kept_as)
        return Picture(data=data, frame=decode(data))

    def _bytes_of(self, source: FrameSource, kept_as: str) -> bytes:
        """The frame's bytes; fetched ones are kept, so that another attempt sees the same, changed or gone since."""
        if source.kind == "blob":
            try:
                return self._blobs.read(source.place)
            except NoSuchBlob as error:
                raise InvalidUrl(f"{InvalidUrl.sentence} The uploaded file is there no longer.") from error
        try:
            return self._blobs.read(kept_as)
        except NoSuchBlob:
            data = self._fetcher.fetch(source.place)
        try:
            self._blobs.put(kept_as, data)
        except BlobExists:
            return self._blobs.read(kept_as)
        return data

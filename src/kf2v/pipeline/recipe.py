"""How one video is made, from a lease to a file that is kept; the story is :meth:`Recipe.produce`.

Knows no server, no store and no queue: whoever holds the lease says how it ended.
"""

import errno
import hashlib
import io
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog
from PIL import Image

from kf2v.blobs import BlobExists, Blobs, NoSuchBlob
from kf2v.engines import Engine, EngineUnavailable, Scene, Watch
from kf2v.errors import AlgorithmError, FrameError, InvalidUrl, ResultUploadError, RewriteFailed
from kf2v.metering import usage_of
from kf2v.pipeline.prepare import decode
from kf2v.pipeline.progress import Progress
from kf2v.rewriting import Rewriter
from kf2v.tasks import FrameSource, Job, Lease, Outcome, Video
from kf2v.video import Clip, Frame, Size, mp4
from kf2v.video.frames import fit
from kf2v.video.retime import retime
from kf2v.video.size import output_size
from kf2v.video.watermark import Text, Watermark

FPS, COUNT = 30, 150
#: what a disk says when it is the disk's fault
DISK_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})

log = structlog.get_logger(__name__)


class Fetches(Protocol):
    """Gets the bytes behind a stranger's URL. Raises FrameError."""

    def fetch(self, url: str) -> bytes: ...


class Recipe:
    """Makes videos, one at a time per call; holds nothing between two of them."""

    def __init__(
        self,
        *,
        engines: Mapping[str, Engine],
        rewriter: Rewriter,
        fetcher: Fetches,
        blobs: Blobs,
        watermark_text: Text,
        scratch: Path,
        keeps_prompts: bool = False,
    ) -> None:
        #: ``scratch`` is a directory for unfinished files, best on the file system of ``blobs``; ``keeps_prompts`` says
        #: that a prompt which could not be rewritten stays as it is, where a task would fail otherwise
        self._engines = engines
        self._rewriter = rewriter
        self._fetcher = fetcher
        self._blobs = blobs
        self._watermark_text: Text = watermark_text
        self._scratch = scratch
        self._keeps_prompts = keeps_prompts

    @property
    def engines(self) -> frozenset[str]:
        """The engines whose jobs can be made here."""
        return frozenset(self._engines)

    def produce(self, lease: Lease, progress: Progress) -> Outcome:
        """Make the video of ``lease`` and keep it.

        Raises ApiError for what the client may be told, and Canceled when ``progress`` calls the work off.
        """
        watch = _Window(progress, self._blobs, f"previews/{lease.task_id}/{lease.attempt}")
        if lease.flaw is not None:
            return Outcome(failure=lease.flaw)
        job = lease.job
        first, last = self._gather(lease, watch)
        size = output_size(first.shape[1], first.shape[0], job.area)
        first, last = fit(first, size), fit(last, size)
        actual_prompt = self._rewrite(lease, first, last, watch)
        scene = _scene(job, first, last, job.prompt if actual_prompt is None else actual_prompt)
        clip = retime(self._generate(job.engine, scene, watch), fps=FPS, count=COUNT)
        clip = self._marked(clip) if job.watermark else clip
        with self._encoded(lease, clip, size) as path:
            watch.report("keep", 0.0)
            video = self._keep(lease, path, size)
        return Outcome(video=video, actual_prompt=actual_prompt, usage=usage_of(job))

    def discard(self, outcome: Outcome) -> None:
        """Throw away what ``outcome`` brought: its lease was gone before it could be told."""
        if outcome.video is not None:
            self._blobs.delete(outcome.video.key)

    def _gather(self, lease: Lease, watch: Watch) -> tuple[Frame, Frame]:
        """Both frames, decoded, in the sizes they came in."""
        watch.report("fetch", 0.0)
        with _named("first_frame_url"):
            first = decode(self._bytes_of(lease.job.first, f"inputs/{lease.task_id}/first"))
        watch.report("fetch", 0.5)
        with _named("last_frame_url"):
            last = decode(self._bytes_of(lease.job.last, f"inputs/{lease.task_id}/last"))
        watch.report("fetch", 1.0)
        return first, last

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

    def _rewrite(self, lease: Lease, first: Frame, last: Frame, watch: Watch) -> str | None:
        if not lease.job.prompt_extend:
            return None
        watch.report("rewrite", 0.0)
        with structlog.contextvars.bound_contextvars(task_id=lease.task_id):
            try:
                return self._rewriter.rewrite(lease.job.prompt, first, last, partial(watch.report, "rewrite"))
            except RewriteFailed as error:
                if not self._keeps_prompts:
                    raise
                reason = str(error.__cause__ or error)
                log.warning("prompt was kept as it is", rewriter=self._rewriter.name, reason=reason)
                watch.note(f"The prompt was kept as it is, because it could not be rewritten: {reason}")
                return lease.job.prompt

    def _generate(self, engine: str, scene: Scene, watch: Watch) -> Clip:
        """Raises AlgorithmError where the engine has nothing to make this scene of; its owner reads why in the log."""
        try:
            return self._engines[engine].generate(scene, watch)
        except EngineUnavailable as error:
            log.error("engine cannot make this", engine=engine, model=scene.model, reason=error.reason, fix=error.fix)
            raise AlgorithmError from error

    def _marked(self, clip: Clip) -> Clip:
        mark = Watermark(self._watermark_text, clip.size)
        return replace(clip, frames=map(mark.apply, clip.frames))

    @contextmanager
    def _encoded(self, lease: Lease, clip: Clip, size: Size) -> Generator[Path]:
        """The clip as a checked file in ``scratch``, gone afterwards, with whatever a dead attempt left there."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        for leftover in self._scratch.glob(f"{lease.task_id}-*.mp4"):
            leftover.unlink(missing_ok=True)
        path = self._scratch / f"{lease.task_id}-{lease.attempt}.mp4"
        try:
            with _kept():
                mp4.write(path, clip)
            _check(path, size)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _keep(self, lease: Lease, path: Path, size: Size) -> Video:
        key = f"videos/{lease.task_id}/{lease.attempt}-{secrets.token_hex(8)}.mp4"
        with _kept():
            digest, length = _digest(path)
            self._blobs.adopt(key, path)
        return Video(key=key, digest=digest, size=length, width=size.width, height=size.height)


def _scene(job: Job, first: Frame, last: Frame, prompt: str) -> Scene:
    return Scene(
        first=first,
        last=last,
        prompt=prompt,
        negative_prompt=job.negative_prompt,
        seed=job.seed,
        model=job.model,
    )


class _Window:
    """The engine's watch: reports go on, previews are kept as JPEG files, numbered from 0."""

    def __init__(self, progress: Progress, blobs: Blobs, place: str) -> None:
        self._progress = progress
        self._blobs = blobs
        self._place = place
        self._shown = 0

    def report(self, phase: str, done: float) -> None:
        self._progress.report(phase, done)

    def note(self, text: str) -> None:
        self._progress.note(text)

    def show(self, preview: Frame) -> None:
        file = io.BytesIO()
        Image.fromarray(preview).save(file, "JPEG", quality=85)
        try:
            self._blobs.put(f"{self._place}-{self._shown}.jpg", file.getvalue())
        except (OSError, BlobExists) as error:
            # Nothing depends on a preview, and a full disk will be told where the video is kept.
            log.warning("preview was not kept", place=self._place, reason=str(error))
        self._shown += 1


def _check(path: Path, size: Size) -> None:
    """Raises AlgorithmError unless the file at ``path`` is what the API promises."""
    found = mp4.facts(path)
    promised = replace(
        found,
        codec="h264",
        pixel_format="yuv420p",
        width=size.width,
        height=size.height,
        fps=FPS,
        steady=True,
        frames=COUNT,
        faststart=True,
        has_audio=False,
    )
    if found != promised:
        raise AlgorithmError from ValueError(f"the file should be {promised}, not {found}")


def _digest(path: Path) -> tuple[str, int]:
    """SHA-256 (hexadecimal) and length in bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


@contextmanager
def _named(field: str) -> Generator[None]:
    """Frame errors from inside say which frame they are about."""
    try:
        yield
    except FrameError as error:
        raise type(error)(f"{error.message} ({field})") from error


@contextmanager
def _kept() -> Generator[None]:
    """A disk that does not take a video is no fault of the engine's."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_TROUBLE:
            raise ResultUploadError from error
        raise

"""How one video is made, from a lease to a file that is kept; the story is :meth:`Recipe.produce`.

Knows no server, no store and no queue: whoever holds the lease says how it ended.
"""

import io
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog
from PIL import Image

from kf2v.blobs import BlobExists, Blobs
from kf2v.catalog.models import FPS, FRAMES
from kf2v.engines import Engine, EngineUnavailable, Scene, Watch
from kf2v.errors import AlgorithmError, ApiError, DataInspectionFailed, OutOfOrder, RewriteFailed
from kf2v.metering import usage_of
from kf2v.moderation.panel import Panel
from kf2v.pipeline.gathering import Fetches, Gathering
from kf2v.pipeline.inspecting import exhibit
from kf2v.pipeline.keeping import disk_trouble_told, forget, keep, unfinished
from kf2v.pipeline.progress import Progress
from kf2v.rewriting import Rewriter
from kf2v.tasks import Job, Lease, Outcome
from kf2v.video import Clip, Frame, Size, mp4
from kf2v.video.frames import fit
from kf2v.video.retime import retime
from kf2v.video.size import output_size
from kf2v.video.watermark import Text, Watermark

log = structlog.get_logger(__name__)


class Recipe:
    """Makes videos, one at a time per call; holds nothing between two of them."""

    def __init__(
        self,
        *,
        engines: Mapping[str, Engine],
        rewriter: Rewriter,
        panel: Panel,
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
        self._panel = panel
        self._gathering = Gathering(fetcher, blobs)
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
        watch = _Window(progress, self._blobs, lease, self._panel)
        if lease.flaw is not None:
            return Outcome(failure=lease.flaw)
        try:
            return self._produced(lease, watch)
        except DataInspectionFailed:
            forget(self._blobs, lease)
            raise

    def _produced(self, lease: Lease, watch: "_Window") -> Outcome:
        job = lease.job
        first, last = (picture.frame for picture in self._gathering.pictures(lease, watch))
        self._inspect_frames(lease, first, last, watch)
        size = output_size(first.shape[1], first.shape[0], job.area)
        first, last = fit(first, size), fit(last, size)
        actual_prompt = self._rewrite(lease, first, last, watch)
        scene = _scene(job, first, last, job.prompt if actual_prompt is None else actual_prompt)
        clip = retime(self._generate(job, scene, watch), fps=FPS, count=FRAMES)
        clip = self._marked(clip) if job.watermark else clip
        clip = self._inspected(lease, clip, watch)
        with self._encoded(lease, clip, size) as path:
            watch.report("keep", 0.0)
            video = keep(self._blobs, lease, path, size)
        return Outcome(video=video, actual_prompt=actual_prompt, usage=usage_of(job))

    def discard(self, outcome: Outcome) -> None:
        """Throw away what ``outcome`` brought: its lease was gone before it could be told."""
        if outcome.video is not None:
            self._blobs.delete(outcome.video.key)

    def abandon(self, lease: Lease) -> None:
        """Nothing: what was made here ends with the work."""
        del lease

    def _inspect_frames(self, lease: Lease, first: Frame, last: Frame, watch: "_Window") -> None:
        """Both frames as they came. Raises DataInspectionFailed."""
        if not self._panel.looks("input", lease.job.inspect):
            return
        watch.report("moderate", 0.0)
        self._panel.look(first, exhibit(lease, "first_frame"), watch.tick, watch.note)
        watch.report("moderate", 0.5)
        self._panel.look(last, exhibit(lease, "last_frame"), watch.tick, watch.note)
        watch.report("moderate", 1.0)

    def _rewrite(self, lease: Lease, first: Frame, last: Frame, watch: "_Window") -> str | None:
        """Raises DataInspectionFailed too: what the rewriter adds is shown to the engine and to the caller."""
        if not lease.job.prompt_extend:
            return None
        watch.report("rewrite", 0.0)
        prompt = lease.job.prompt
        with structlog.contextvars.bound_contextvars(task_id=lease.task_id):
            try:
                actual = self._rewriter.rewrite(prompt, first, last, partial(watch.report, "rewrite"))
            except RewriteFailed as error:
                if not self._keeps_prompts:
                    raise
                reason = str(error.__cause__ or error)
                log.warning("prompt was kept as it is", rewriter=self._rewriter.name, reason=reason)
                watch.note(f"The prompt was kept as it is, because it could not be rewritten: {reason}")
                return prompt
        if actual != prompt and self._panel.reads("input", lease.job.inspect):
            self._panel.read(actual, exhibit(lease, "actual_prompt"), watch.tick, watch.note)
        return actual

    def _generate(self, job: Job, scene: Scene, watch: Watch) -> Clip:
        """Raises OutOfOrder where the engine has nothing to make this scene of; its owner reads why in the log."""
        try:
            return self._engines[job.engine].generate(scene, watch)
        except EngineUnavailable as error:
            tell = log.warning if job.fallbacks else log.error
            tell("engine cannot make this", engine=job.engine, model=job.model, reason=error.reason, fix=error.fix)
            raise OutOfOrder(error.reason) from error

    def _marked(self, clip: Clip) -> Clip:
        mark = Watermark(self._watermark_text, clip.size)
        return replace(clip, frames=map(mark.apply, clip.frames))

    def _inspected(self, lease: Lease, clip: Clip, watch: "_Window") -> Clip:
        """The same clip; taking a frame from it raises DataInspectionFailed where that may not pass."""
        if not self._panel.looks("output", lease.job.inspect):
            return clip

        def passing() -> Iterator[Frame]:
            for number, frame in enumerate(clip.frames):
                if self._panel.samples(number, of=FRAMES):
                    self._panel.look(frame, exhibit(lease, "frame", number), watch.tick, watch.note)
                yield frame

        return replace(clip, frames=passing())

    @contextmanager
    def _encoded(self, lease: Lease, clip: Clip, size: Size) -> Generator[Path]:
        """The clip as a checked file in ``scratch``, gone afterwards, with whatever a dead attempt left there."""
        path = unfinished(self._scratch, lease)
        try:
            with disk_trouble_told():
                mp4.write(path, clip)
            _check(path, size)
            yield path
        finally:
            path.unlink(missing_ok=True)


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
    """The engine's watch: reports go on, previews that may be seen are kept as JPEG files, numbered from 0."""

    def __init__(self, progress: Progress, blobs: Blobs, lease: Lease, panel: Panel) -> None:
        self._progress = progress
        self._blobs = blobs
        self._lease = lease
        self._panel = panel
        self._place = f"previews/{lease.task_id}/{lease.attempt}"
        self._shown = 0
        self._last = ("fetch", 0.0)

    def report(self, phase: str, done: float) -> None:
        self._last = (phase, done)
        self._progress.report(phase, done)

    def tick(self) -> None:
        """Say the last report again, for whoever waits without getting any further."""
        self._progress.report(*self._last)

    def note(self, text: str) -> None:
        self._progress.note(text)

    def show(self, preview: Frame) -> None:
        if not self._may_be_seen(preview):
            return
        file = io.BytesIO()
        Image.fromarray(preview).save(file, "JPEG", quality=85)
        try:
            self._blobs.put(f"{self._place}-{self._shown}.jpg", file.getvalue())
        except (OSError, BlobExists) as error:
            # Nothing depends on a preview, and a full disk will be told where the video is kept.
            log.warning("preview was not kept", place=self._place, reason=str(error))
        self._shown += 1

    def _may_be_seen(self, preview: Frame) -> bool:
        """An objection to a rough picture is no verdict on the film, so it only keeps the picture back."""
        if not self._panel.looks("output", self._lease.job.inspect):
            return True
        try:
            self._panel.look(preview, exhibit(self._lease, "preview"), self.tick, self.note)
        except ApiError:
            return False
        return True


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
        frames=FRAMES,
        faststart=True,
        has_audio=False,
    )
    if found != promised:
        raise AlgorithmError from ValueError(f"the file should be {promised}, not {found}")

"""One video with no server at all: the same rules and the same recipe, in this process."""

import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

import structlog

from kf2v.admission.jobs import job_of
from kf2v.admission.rules import check, model_of
from kf2v.assembly.panel import build_panel
from kf2v.assembly.production import build_recipe, build_rehearsal, build_relay
from kf2v.blobs.memory import MemoryBlobs
from kf2v.catalog.regions import REGIONS
from kf2v.errors import AlgorithmError, OutOfOrder
from kf2v.moderation import Exhibit
from kf2v.pipeline.progress import overall
from kf2v.settings import REMOTE, Settings
from kf2v.tasks import FrameSource, Job, Lease, Outcome
from kf2v.wire import Submission

log = structlog.get_logger(__name__)


class _Told:
    """A Watch that passes on how far the whole is."""

    def __init__(self, tell: Callable[[str, float], None]) -> None:
        self._tell = tell

    def report(self, phase: str, done: float) -> None:
        whole = overall(phase, done)
        if whole is not None:
            self._tell(phase, whole)

    def note(self, text: str) -> None:
        log.info("note", text=text)


def make_video(
    settings: Settings,
    submission: Submission,
    *,
    first: bytes,
    last: bytes,
    out: Path,
    on_progress: Callable[[str, float], None],
) -> tuple[Job, Outcome]:
    """Write the video of ``submission`` between the pictures ``first`` and ``last`` to ``out``, all of it or none.

    ``on_progress`` hears the phase and how far the whole is, 0 … 1. Returns what was made and how it ended. Raises
    ApiError.
    """
    model = model_of(REGIONS[settings.region], submission.model)
    check(submission, model)
    engine = settings.routing.get(model.name, settings.routing["*"])[0]
    job = job_of(
        submission,
        model,
        route=(engine, ()),
        first=FrameSource(kind="blob", place="inputs/solo/first"),
        last=FrameSource(kind="blob", place="inputs/solo/last"),
    )
    panel = build_panel(settings)
    if panel.reads("input"):
        panel.read(job.prompt, Exhibit(side="input", part="prompt", model=job.model), lambda: None)
    blobs = MemoryBlobs()
    blobs.put(job.first.place, first)
    blobs.put(job.last.place, last)
    with tempfile.TemporaryDirectory(prefix="kf2v-") as scratch:
        build = build_relay if job.engine == REMOTE else build_recipe
        lease = Lease(task_id=f"solo-{secrets.token_hex(8)}", attempt=1, worker="solo", until=0, job=job)
        try:
            outcome = build(settings, blobs=blobs, scratch=Path(scratch)).produce(lease, _Told(on_progress))
        except OutOfOrder as error:  # who asks is the owner, who may know why
            raise AlgorithmError(f"{error.sentence} {error.reason}") from error
    if outcome.video is not None:
        _write_whole(out, blobs.read(outcome.video.key))
    return job, outcome


def preview_of_rewrite(settings: Settings, prompt: str, *, first: bytes, last: bytes) -> str:
    """What ``prompt`` becomes between the pictures ``first`` and ``last``, as a task of these settings has it.

    Raises FrameError, and RewriteFailed whatever ``rewrite_on_failure`` says.
    """
    rehearsal = build_rehearsal(settings)
    return rehearsal.rewrite(prompt, rehearsal.decode(first), rehearsal.decode(last))


def _write_whole(out: Path, data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}-", delete=False) as file:
        unfinished = Path(file.name)
        try:
            file.write(data)
            file.flush()
            unfinished.chmod(0o644)
            unfinished.replace(out)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise

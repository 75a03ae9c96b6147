"""How one video is made elsewhere, from a lease to a file that is kept; the story is :meth:`Relay.produce`.

Nothing is ordered twice, whatever dies in between: what is about to be ordered is on the disk before the far side
hears of it, and so is the far side's task id as soon as it is known. Who finds the one without the other asks first
what became of it. And what was ordered is seen to its end, however long the far side is away meanwhile: the video is
paid for. Only before that may another engine be asked instead.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock, Thread
from typing import TypeVar

import structlog

from kf2v.blobs import Blobs
from kf2v.catalog.models import FPS, FRAMES
from kf2v.clock import SECOND, Clock
from kf2v.engines.remote import NAME, Line, Remote
from kf2v.engines.remote.pace import pauses
from kf2v.engines.remote.verdict import Verdict, judge
from kf2v.errors import AlgorithmError, DataInspectionFailed, IPInfringementSuspect, OutOfOrder
from kf2v.metering import usage_of
from kf2v.moderation.panel import Panel
from kf2v.net.dashscope import Standing
from kf2v.net.remote_error import Garbled, RemoteError
from kf2v.pipeline.gathering import Fetches, Gathering, Picture
from kf2v.pipeline.heeding import heeding, rest, taken
from kf2v.pipeline.inspecting import exhibit
from kf2v.pipeline.keeping import disk_trouble_told, forget, keep, unfinished
from kf2v.pipeline.orders import Order, Orders
from kf2v.pipeline.prepare import recognise
from kf2v.pipeline.progress import Progress
from kf2v.tasks import Failure, Lease, Outcome
from kf2v.video import Frame, Size, mp4

#: seconds that a far side may be too busy for a task before another engine is asked, and the most it may wish for
BUSY = 600.0
#: how often in a row the far side may say that it does not know a task, refuse to say, or have something other than a
#: video behind its link, before that is believed
BELIEF = 3
#: tries to get a finished video, with growing pauses: about five minutes
TRIES = 25
#: milliseconds by which the far side's clock may be behind
SKEW = 60 * SECOND
#: bytes; five seconds of video have a hundredth of it
LARGEST = 512 * 2**20
#: letters that are kept of why there is no video; the API's own sentences have a fifth of it
LONGEST_CODE, LONGEST_MESSAGE = 200, 2000
#: what this API's videos are; others are kept as well, and the log says so
#: codes of contents that may not pass
FORBIDDEN = frozenset({DataInspectionFailed.code, IPInfringementSuspect.code})

T = TypeVar("T")

log = structlog.get_logger(__name__)


class _Refusal(Exception):
    """The far side will not make this one, because of what was submitted."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.code)


class _Unheard:
    """The progress of what another thread waits for, and reports on."""

    def report(self, phase: str, done: float) -> None:
        del phase, done

    def note(self, text: str) -> None:
        del text


class Relay:
    """Has videos made by a far side. For several threads, each with a lease of its own."""

    def __init__(
        self,
        *,
        remote: Remote,
        panel: Panel,
        fetcher: Fetches,
        blobs: Blobs,
        scratch: Path,
        clock: Clock,
        patience: float,
        pauses: Callable[[], Iterator[float]] = pauses,
    ) -> None:
        """``patience`` is how many seconds a far side may be away before another engine is asked."""
        self._remote = remote
        self._panel = panel
        self._gathering = Gathering(fetcher, blobs)
        self._blobs = blobs
        self._orders = Orders(blobs)
        self._scratch = scratch
        self._clock = clock
        self._patience = patience
        self._pauses = pauses
        self._submitting = Lock()

    @property
    def engines(self) -> frozenset[str]:
        return frozenset({NAME})

    def produce(self, lease: Lease, progress: Progress) -> Outcome:
        """Have the video of ``lease`` made and keep it.

        Raises OutOfOrder where the far side cannot and nothing was begun there, ApiError for what the client may be
        told, and Canceled when ``progress`` calls the work off.
        """
        if lease.flaw is not None:
            return Outcome(failure=lease.flaw)
        try:
            with self._remote.line() as line:
                far_id = self._orders.far_id(lease.task_id) or self._ordered(lease, line, progress)
                progress.note(f"Forwarded as {far_id}.")
                standing = self._followed(far_id, line, progress)
                if standing.status != "SUCCEEDED":
                    return self._failed(lease, _failure(standing))
                with self._received(lease, standing, line, progress) as path:
                    size = _examined(path, lease)
                    actual_prompt = _actual_prompt(lease, standing)
                    self._inspect_result(lease, path, actual_prompt, progress)
                    progress.report("keep", 0.0)
                    video = keep(self._blobs, lease, path, size)
        except DataInspectionFailed:
            forget(self._blobs, lease)
            raise
        except _Refusal as refusal:
            return self._failed(lease, refusal.failure)
        except RemoteError as error:  # there is not even a line
            begun = self._orders.order(lease.task_id) is not None
            raise (AlgorithmError() if begun else OutOfOrder(_described(error))) from error
        return Outcome(video=video, actual_prompt=actual_prompt, usage=usage_of(lease.job))

    def _failed(self, lease: Lease, failure: Failure) -> Outcome:
        """What the far side does not let pass is as forbidden here, also what another engine has shown of it before."""
        if failure.code in FORBIDDEN:
            forget(self._blobs, lease)
        return Outcome(failure=failure)

    def discard(self, outcome: Outcome) -> None:
        """Throw away what ``outcome`` brought: its lease was gone before it could be told."""
        if outcome.video is not None:
            self._blobs.delete(outcome.video.key)

    def abandon(self, lease: Lease) -> None:
        """The task has ended otherwise: call it off at the far side as well, if it has not begun there.

        Returns at once: the far side may take its time, and the worker is wanted elsewhere.
        """
        Thread(target=self._call_off, args=(lease,), name="calling off").start()

    def _call_off(self, lease: Lease) -> None:
        with self._submitting:  # what is being submitted is soon known
            far_id = self._orders.far_id(lease.task_id)
        if far_id is None:
            return
        try:
            with self._remote.line() as line:
                status = line.look(far_id).status
                if status == "PENDING":
                    line.cancel(far_id)
        except RemoteError as error:
            log.warning("far task could not be called off", task_id=lease.task_id, far=far_id, reason=str(error))
        else:
            log.info("far task left alone", task_id=lease.task_id, far=far_id, was=status, canceled=status == "PENDING")

    def _ordered(self, lease: Lease, line: Line, progress: Progress) -> str:
        """The far side's id of a task that stands for ``lease``: the one there is, or a new one."""
        order = self._orders.order(lease.task_id)
        if order is not None:
            return self._submitted(lease, order, progress, doubtful=True)
        gather = partial(self._gathering.pictures, lease, _Unheard())
        pictures = heeding(gather, partial(progress.report, "fetch", 0.0))
        self._inspect_pictures(lease, pictures, progress)
        order = self._drawn_up(lease, pictures, line, progress)
        if not self._orders.intend(lease.task_id, order):
            return self._ordered(lease, line, progress)
        return self._submitted(lease, order, progress, doubtful=False)

    def _inspect_pictures(self, lease: Lease, pictures: tuple[Picture, Picture], progress: Progress) -> None:
        """Before they leave this machine. Raises DataInspectionFailed."""
        if not self._panel.looks("input", lease.job.inspect):
            return
        tick = partial(progress.report, "moderate", 0.0)
        tick()
        for part, picture in zip(("first_frame", "last_frame"), pictures, strict=True):
            self._panel.look(picture.frame, exhibit(lease, part), tick, progress.note)

    def _inspect_result(self, lease: Lease, path: Path, actual_prompt: str | None, progress: Progress) -> None:
        """Before anybody sees it. Raises DataInspectionFailed."""
        tick = partial(progress.report, "receive", 1.0)
        if actual_prompt is not None and self._panel.reads("input", lease.job.inspect):
            self._panel.read(actual_prompt, exhibit(lease, "actual_prompt"), tick, progress.note)
        if not self._panel.looks("output", lease.job.inspect):
            return
        for number, frame, is_last in _numbered(_decoded(path)):
            tick()
            if is_last or self._panel.samples(number, of=FRAMES):
                self._panel.look(frame, exhibit(lease, "frame", number), tick, progress.note)

    def _drawn_up(self, lease: Lease, pictures: tuple[Picture, Picture], line: Line, progress: Progress) -> Order:
        """The pictures lie at the far side, so that both sides see the same bytes; nothing is asked for yet."""
        model = self._remote.named(lease.job.model)
        urls: list[str] = []
        for which, picture in zip(("first", "last"), pictures, strict=True):
            name = f"{which}.{recognise(picture.data).name.lower()}"
            heed = partial(progress.report, "send", len(urls) / 2)
            upload = partial(line.upload, picture.data, name=name, model=model)
            urls.append(self._patiently(lease, partial(heeding, upload, heed), heed))
        request = self._remote.request(lease.job, *urls)
        return Order(base_url=self._remote.base_url, request=request, at=self._clock.now())

    def _submitted(self, lease: Lease, order: Order, progress: Progress, *, doubtful: bool) -> str:
        """Submit ``order``, unless that was done; ``doubtful`` says that it may have been."""
        if order.base_url != self._remote.base_url:
            log.error("task may be at another far side", task_id=lease.task_id, there=order.base_url)
            raise AlgorithmError

        def submit() -> str:
            nonlocal doubtful
            # one at a time: what another has submitted and not yet written down would look like a task of nobody's
            with taken(self._submitting, heed), self._remote.line() as line:
                heed()  # from here on whoever calls it off waits for what becomes of it
                far_id = self._found(lease, order, line) if doubtful else None
                if far_id is None:
                    doubtful = doubtful and line.repeats_safely  # then the next answer tells; else the list did
                    try:
                        far_id = line.submit(order.request, key=lease.task_id)
                    except RemoteError as error:
                        doubtful = doubtful or error.doubtful
                        raise
                self._orders.begun(lease.task_id, far_id)
            return far_id

        # not cut off: what is left before its answer is paid for and unknown
        heed = partial(progress.report, "send", 1.0)
        far_id = self._patiently(lease, partial(heeding, submit, heed, cut_off=False), heed, doubtful=lambda: doubtful)
        log.info("task forwarded", task_id=lease.task_id, far=far_id, to=self._remote.base_url)
        return far_id

    def _found(self, lease: Lease, order: Order, line: Line) -> str | None:
        """The far task that an earlier try made without hearing of it; None if asking again is safe.

        Raises RemoteError, and AlgorithmError where that cannot be told.
        """
        if (far_id := self._orders.far_id(lease.task_id)) is not None:
            return far_id
        known = self._orders.known()
        listed = line.listed(order.request.model, since=order.at - SKEW)
        strangers = [row.task_id for row in listed if row.task_id not in known]
        if line.repeats_safely or not strangers:
            return None
        if len(strangers) == 1:
            log.warning("far task found again", task_id=lease.task_id, far=strangers[0])
            return strangers[0]
        log.error("any of these far tasks may be this one, so none is taken", task_id=lease.task_id, far=strangers)
        raise AlgorithmError

    def _patiently(
        self,
        lease: Lease,
        ask: Callable[[], T],
        heed: Callable[[], None],
        *,
        doubtful: Callable[[], bool] = lambda: False,
    ) -> T:
        """What ``ask`` returns, tried again as long as that may help, and for ever while something may have begun.

        Raises _Refusal, OutOfOrder while nothing can have begun, and else AlgorithmError.
        """
        limits = {Verdict.WAIT: BUSY, Verdict.AWAY: self._patience}
        began = time.monotonic()
        for pause in self._pauses():
            try:
                return ask()
            except RemoteError as error:
                verdict, lasted = judge(error), time.monotonic() - began
                if verdict is Verdict.TELL:
                    raise _Refusal(_told(error.code, error.message)) from error
                limit = math.inf if doubtful() else limits.get(verdict, 0.0)
                if lasted >= limit:
                    raise OutOfOrder(_described(error)) from error
                if verdict is Verdict.CLOSED:
                    log.error("far side refuses to say", task_id=lease.task_id, reason=_described(error))
                    raise AlgorithmError from error
                log.info("far side has to be asked again", task_id=lease.task_id, reason=_described(error))
                rest(min(_wished(error, pause), limit - lasted), heed)
        raise AssertionError("pauses end")

    def _followed(self, far_id: str, line: Line, progress: Progress) -> Standing:
        """How the far task ended."""
        heed = partial(progress.report, "forward", 0.0)
        doubts = 0
        for pause in self._pauses():
            wait = pause
            try:
                standing = heeding(partial(line.look, far_id), heed)
            except RemoteError as error:
                wait = _wished(error, pause)
                doubts += judge(error) is Verdict.CLOSED
                if doubts > BELIEF:
                    log.error("far side refuses to say how a task is", far=far_id, reason=_described(error))
                    raise AlgorithmError from error
            else:
                doubts = doubts + 1 if standing.status == "UNKNOWN" else 0
                if standing.ended and (not doubts or doubts > BELIEF):
                    return standing
                heed = partial(progress.report, "forward", 0.0 if standing.status == "PENDING" else 0.5)
            rest(wait, heed)
        raise AssertionError("pauses end")

    @contextmanager
    def _received(self, lease: Lease, standing: Standing, line: Line, progress: Progress) -> Generator[Path]:
        """The finished file in ``scratch``, whole, gone afterwards."""
        path = unfinished(self._scratch, lease)
        try:
            with disk_trouble_told():
                self._download(standing, path, line, progress)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _download(self, standing: Standing, path: Path, line: Line, progress: Progress) -> None:
        """The video at ``path``; each try asks for the link anew, because links end."""

        def heed(done: int = 0, total: int | None = None) -> None:
            if done > LARGEST:
                raise AlgorithmError from ValueError(f"a video of more than {LARGEST} bytes")
            progress.report("receive", done / total if total else 0.0)

        for attempt, pause in enumerate(self._pauses(), start=1):
            try:
                link = standing.video_url if attempt == 1 else line.look(standing.task_id).video_url
                with path.open("wb") as file:
                    heeding(partial(line.download, link, file, heed), heed)
                if attempt <= BELIEF and not _begins_as_film(path):
                    raise Garbled("UnexpectedAnswer", "what came is no video")
                return
            except RemoteError as error:
                log.warning("far video could not be had", far=standing.task_id, reason=_described(error))
                if attempt == TRIES:
                    raise AlgorithmError from error
            rest(pause, heed)


def _begins_as_film(path: Path) -> bool:
    """Whether the file at ``path`` is neither empty nor a page that excuses itself."""
    with path.open("rb") as file:
        return file.read(8)[4:] == b"ftyp"


def _examined(path: Path, lease: Lease) -> Size:
    """The size of the video at ``path``. Raises AlgorithmError unless it is one that every player plays."""
    try:
        found = mp4.facts(path)
    except (mp4.CodecError, ValueError) as error:
        raise AlgorithmError from error
    if found.codec != "h264" or found.frames < 1:
        raise AlgorithmError from ValueError(f"the far side's file is {found}")
    usual = replace(found, pixel_format="yuv420p", fps=FPS, frames=FRAMES, steady=True, faststart=True, has_audio=False)
    if found != usual:
        log.warning("far video is unlike ours", task_id=lease.task_id, found=str(found))
    return Size(width=found.width, height=found.height)


def _decoded(path: Path) -> Iterator[Frame]:
    """The frames of the video at ``path``. Raises AlgorithmError where they cannot be read."""
    try:
        yield from mp4.read_frames(path)
    except mp4.CodecError as error:
        raise AlgorithmError from error


def _numbered(frames: Iterator[Frame]) -> Iterator[tuple[int, Frame, bool]]:
    """Each with its number, from 0, and whether it is the last: a film from elsewhere may have any number of them."""
    coming = enumerate(frames)
    held = next(coming, None)
    while held is not None:
        after = next(coming, None)
        yield *held, after is None
        held = after


def _actual_prompt(lease: Lease, standing: Standing) -> str | None:
    told: object = standing.answer["output"].get("actual_prompt")
    return told if lease.job.prompt_extend and isinstance(told, str) else None


def _failure(standing: Standing) -> Failure:
    """Why there is no video, in the far side's words where it had any."""
    if standing.status == "FAILED" and standing.code:
        return _told(standing.code, standing.message)
    told = {
        "UNKNOWN": "The endpoint that was to make the video does not know the task any longer.",
        "CANCELED": "The task was canceled at the endpoint that was to make the video.",
    }
    why = told.get(standing.status, "The endpoint that was to make the video does not say why it has none.")
    return Failure(code=AlgorithmError.code, message=f"{AlgorithmError.sentence} {why}")


def _told(code: str, message: str) -> Failure:
    """The far side's own words; there may be any number of them."""
    return Failure(code=code[:LONGEST_CODE], message=message[:LONGEST_MESSAGE])


def _wished(error: RemoteError, pause: float) -> float:
    """Seconds until the far side is asked again: as it wishes, within reason."""
    return min(max(pause, error.retry_after or 0.0), BUSY)


def _described(error: RemoteError) -> str:
    """For the owner's log."""
    return f"{'' if error.status is None else f'{error.status} '}{error.code}: {error.message}"[:LONGEST_MESSAGE]

"""A relay orders once, follows to the end, and keeps what it gets, whatever the far side does meanwhile."""

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assignments import a_job, a_lease, a_task
from backroom import PATIENCE, backroom
from endpoint import KEY, ROW, Answer, Endpoint
from gallery import COLD, WARM, picture
from kf2v.blobs.memory import MemoryBlobs
from kf2v.clock import ManualClock
from kf2v.engines import Scene
from kf2v.engines.remote import Remote
from kf2v.engines.remote.pace import Pace
from kf2v.engines.still import Still
from kf2v.errors import AlgorithmError, Canceled, DataInspectionFailed, FrameError, InvalidImageFormat, OutOfOrder
from kf2v.moderation import Exhibit, Objection, Part, Tick
from kf2v.moderation.panel import Panel
from kf2v.pipeline import relay
from kf2v.pipeline.heeding import heeding, rest, taken
from kf2v.pipeline.orders import Order, Orders
from kf2v.pipeline.prepare import decode
from kf2v.pipeline.progress import Progress
from kf2v.pipeline.relay import BELIEF, Relay
from kf2v.tasks import Failure, FrameSource, Lease, Outcome, Usage
from kf2v.video import Clip, Frame, mp4
from kf2v.video.frames import fit
from kf2v.video.size import Size
from kf2v.wire.v1 import inspection
from kf2v.worker.loop import Loop
from kf2v.worker.pools.inline import InlineLedger

CREATE = "/api/v1/services/aigc/image2video/video-synthesis"
POLL, LIST, FILM = "/api/v1/tasks/task-1", "/api/v1/tasks", "/files/video.mp4"
SIZE = Size(width=64, height=48)


class Log:
    """A progress that writes down, and calls off when it has seen ``until``."""

    def __init__(self, until: str | None = None) -> None:
        self.seen: list[str] = []
        self.notes: list[str] = []
        self._until = until

    def report(self, phase: str, done: float) -> None:
        assert 0 <= done <= 1
        self.seen.append(phase)
        if phase == self._until:
            raise Canceled

    def note(self, text: str) -> None:
        self.notes.append(text)


class Impatient(Log):
    """Has enough of a phase when it hears of it for the fifth time."""

    def __init__(self, phase: str) -> None:
        super().__init__()
        self._phase = phase

    def report(self, phase: str, done: float) -> None:
        super().report(phase, done)
        if self.seen.count(self._phase) >= 5:
            raise Canceled


class NoWeb:
    def fetch(self, url: str) -> bytes:
        raise InvalidImageFormat(f"nothing at {url}")


class Depot:
    """A relay, its far side, and what lies on its disk."""

    def __init__(self, far: Endpoint, folder: Path) -> None:
        self.far = far
        self.clock = ManualClock()
        self.blobs = MemoryBlobs()
        self.blobs.put("uploads/first", picture(WARM, width=400, height=400))
        self.blobs.put("uploads/last", picture(COLD, width=400, height=400))
        self.orders = Orders(self.blobs)
        self.folder = folder
        self.relay = self.another()

    def another(
        self, *, base_url: str | None = None, key: str = KEY, patience: float = 0.0, panel: Panel | None = None
    ) -> Relay:
        remote = Remote(
            base_url=base_url or self.far.base_url,
            api_key=key,
            models={"wan2.2-kf2v-flash": "wan-of-theirs-kf2v"},
            timeout=PATIENCE,
            pace=Pace(10_000.0),
        )
        return Relay(
            remote=remote,
            panel=panel or Panel(),
            fetcher=NoWeb(),
            blobs=self.blobs,
            scratch=self.folder / "scratch",
            clock=self.clock,
            patience=patience,
            pauses=lambda: itertools.repeat(0.0),
        )

    def make(self, lease: Lease | None = None, progress: Progress | None = None) -> Outcome:
        return self.relay.produce(lease or a_lease(), progress or Log())

    def failure(self, lease: Lease | None = None) -> Failure:
        outcome = self.make(lease)
        assert outcome.video is None
        assert outcome.failure is not None
        return outcome.failure

    def abandon(self) -> None:
        """Let the relay give a task up, and wait until it has."""
        self.relay.abandon(a_lease())
        all_called_off()

    def submitted(self) -> int:
        return len(self.far.of("POST", "/video-synthesis"))

    def leave_in_doubt(self) -> None:
        """As an attempt that died between asking and writing down the answer."""
        self.far.instead["POST", CREATE] = [Answer(0, b"")]
        with pytest.raises(Canceled):
            self.relay.produce(a_lease(), _CalledOffInDoubt(self.far))
        assert self.orders.order("a-task") is not None
        assert self.orders.far_id("a-task") is None


class _CalledOffInDoubt:
    def __init__(self, far: Endpoint) -> None:
        self._far = far

    def report(self, phase: str, done: float) -> None:
        if self._far.of("POST", "/video-synthesis"):
            raise Canceled

    def note(self, text: str) -> None: ...


def calling_off() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "calling off"]


def all_called_off() -> None:
    for thread in calling_off():
        thread.join(PATIENCE)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Five seconds, small."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    first, last = (fit(decode(picture(colour, width=400, height=400)), SIZE) for colour in (WARM, COLD))

    class Nobody:
        def report(self, phase: str, done: float) -> None: ...

        def note(self, text: str) -> None: ...

        def show(self, preview: Any) -> None: ...

    scene = Scene(first=first, last=last, prompt="", negative_prompt="", seed=0)
    mp4.write(path, Still().generate(scene, Nobody()))
    return path.read_bytes()


@pytest.fixture
def depot(tmp_path: Path, film: bytes) -> Iterator[Depot]:
    with Endpoint() as far:
        far.video = film
        yield Depot(far, tmp_path)


def test_a_lease_becomes_the_far_sides_video(depot: Depot, film: bytes) -> None:
    depot.far.states[-1]["actual_prompt"] = "a cat at dawn"
    lease = a_lease(prompt="a cat", negative_prompt="blur", prompt_extend=True, watermark=True)
    log = Log()
    outcome = depot.make(lease, log)
    assert outcome.video is not None
    assert depot.blobs.read(outcome.video.key) == film
    assert (outcome.video.width, outcome.video.height, outcome.video.size) == (64, 48, len(film))
    assert outcome.actual_prompt == "a cat at dawn"
    assert outcome.usage == Usage(video_duration=5, video_count=1, sr=480)
    assert set(log.seen) == {"fetch", "send", "forward", "receive", "keep"}
    assert log.notes == ["Forwarded as task-1."]
    [asked] = depot.far.of("POST", "/video-synthesis")
    assert asked.headers["idempotency-key"] == "a-task"
    assert asked.json() == {
        "model": "wan-of-theirs-kf2v",
        "input": {
            "prompt": "a cat",
            "negative_prompt": "blur",
            "first_frame_url": "oss://dashscope-instant/1/first.png",
            "last_frame_url": "oss://dashscope-instant/2/last.png",
        },
        "parameters": {"resolution": "480P", "seed": 7, "prompt_extend": True, "watermark": True},
    }
    assert [posted.form()["file"] for posted in depot.far.of("POST", "/bucket")] == [
        depot.blobs.read("uploads/first"),
        depot.blobs.read("uploads/last"),
    ]
    assert not list((depot.folder / "scratch").iterdir())


def test_without_rewriting_there_is_no_rewritten_prompt(depot: Depot) -> None:
    depot.far.states[-1]["actual_prompt"] = "uncalled for"
    assert depot.make().actual_prompt is None


def test_a_mistake_found_at_submission_is_not_forwarded(depot: Depot) -> None:
    flaw = Failure(code="InvalidParameter", message="no")
    lease = Lease(task_id="a-task", attempt=1, worker="w", until=0, job=a_lease().job, flaw=flaw)
    assert depot.failure(lease) == flaw
    assert depot.far.asked == []


def test_a_picture_that_will_not_do_is_told_without_asking_anybody(depot: Depot) -> None:
    with pytest.raises(FrameError, match="last_frame_url"):
        depot.make(a_lease(last=FrameSource(kind="url", place="https://example.com/x.png")))
    assert depot.far.asked == []


def test_another_attempt_follows_the_task_there_is(depot: Depot) -> None:
    with pytest.raises(Canceled):
        depot.make(progress=Log(until="forward"))
    asked = len(depot.far.asked)
    assert depot.make(a_lease(attempt=2)).video is not None
    assert depot.submitted() == 1
    assert not [one for one in depot.far.asked[asked:] if one.method == "POST"]


def test_a_task_that_was_heard_but_not_answered_for_is_found_again(depot: Depot) -> None:
    depot.leave_in_doubt()
    depot.far.rows = [row("theirs", depot.clock.now() - 3_600_000), row("task-1", depot.clock.now() + 20)]
    assert depot.make(a_lease(attempt=2)).video is not None
    assert depot.submitted() == 1


@pytest.mark.parametrize("silent", [{"gmt_create"}, {"model_name"}, {"gmt_create", "model_name", "status", "region"}])
def test_a_far_side_that_tells_less_of_its_tasks_is_not_asked_twice_either(depot: Depot, silent: set[str]) -> None:
    depot.leave_in_doubt()
    told = row("task-1", depot.clock.now() + 20)
    depot.far.rows = [{name: value for name, value in told.items() if name not in silent}]
    assert depot.make(a_lease(attempt=2)).video is not None
    assert depot.submitted() == 1


def test_a_connection_that_breaks_while_submitting_does_not_order_twice(depot: Depot) -> None:
    depot.far.instead["POST", CREATE] = [Answer(0, b"")]
    depot.far.rows = [row("task-1", depot.clock.now() + 20)]
    assert depot.make().video is not None
    assert depot.submitted() == 1


def test_a_task_that_was_not_heard_is_submitted_again_word_for_word(depot: Depot) -> None:
    depot.leave_in_doubt()
    assert depot.make(a_lease(attempt=2)).video is not None
    first, second = depot.far.of("POST", "/video-synthesis")
    assert (first.body, first.headers["idempotency-key"]) == (second.body, second.headers["idempotency-key"])


def test_the_list_is_looked_through_to_its_end(depot: Depot) -> None:
    depot.leave_in_doubt()
    for number in range(60):
        depot.orders.begun(f"other-{number}", f"known-{number}")
    depot.far.rows = [row(f"known-{number}", depot.clock.now()) for number in range(60)]
    depot.far.rows.append(row("task-1", depot.clock.now()))
    assert depot.make(a_lease(attempt=2)).video is not None
    assert depot.submitted() == 1


def test_while_one_is_being_submitted_no_other_looks_for_a_task_of_nobodys(depot: Depot) -> None:
    with taken(depot.relay._submitting, lambda: None), pytest.raises(Canceled):  # pyright: ignore[reportPrivateUsage]
        depot.make(progress=Impatient("send"))
    assert depot.submitted() == 0
    assert depot.make().video is not None


def test_of_several_that_it_could_be_none_is_taken_and_nothing_is_ordered(depot: Depot) -> None:
    depot.leave_in_doubt()
    depot.far.rows = [row("task-1", depot.clock.now()), row("task-2", depot.clock.now())]
    with pytest.raises(AlgorithmError) as caught:
        depot.make(a_lease(attempt=2))
    assert not isinstance(caught.value, OutOfOrder)
    assert depot.submitted() == 1


def test_another_kf2v_is_simply_asked_again_because_it_counts_a_key_once(depot: Depot) -> None:
    depot.far.software = "kf2v"
    depot.leave_in_doubt()
    depot.far.rows = [row("task-1", depot.clock.now()), row("task-2", depot.clock.now())]
    assert depot.make(a_lease(attempt=2)).video is not None
    assert depot.submitted() == 2


def test_while_it_may_have_begun_no_other_engine_is_asked(depot: Depot) -> None:
    depot.leave_in_doubt()
    depot.far.fail_once("GET", LIST, 503, "ModelUnavailable", "busy")
    depot.far.instead["GET", LIST].append(Answer(0, b""))
    assert depot.make(a_lease(attempt=2)).video is not None
    depot.orders.intend("b-task", Order(base_url=depot.far.base_url, request=_order(depot).request, at=0))
    depot.far.fail_once("GET", LIST, 401, "InvalidApiKey", "Invalid API-key provided.")
    with pytest.raises(AlgorithmError) as caught:
        depot.make(a_lease(task_id="b-task"))
    assert not isinstance(caught.value, OutOfOrder)


def test_a_task_of_another_far_side_is_not_ordered_here(depot: Depot) -> None:
    depot.leave_in_doubt()
    elsewhere = depot.another(base_url=depot.far.base_url.replace("127.0.0.1", "localhost"))
    with pytest.raises(AlgorithmError):
        elsewhere.produce(a_lease(attempt=2), Log())
    assert depot.submitted() == 1


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("InvalidParameter", "Range of seed should be [0, 2147483647]"),
        ("DataInspectionFailed", "Input data may contain inappropriate content."),
        ("IPInfringementSuspect", "Input data is suspected of being involved in IP infringement."),
    ],
)
def test_a_refusal_of_what_was_submitted_is_the_callers(depot: Depot, code: str, message: str) -> None:
    depot.far.fail_once("POST", CREATE, 400, code, message)
    assert depot.failure() == Failure(code=code, message=message)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, "InvalidApiKey", "Invalid API-key provided."),
        (403, "AccessDenied", "Access denied."),
        (403, "AllocationQuota.FreeTierOnly", "The free tier of the model has been exhausted."),
        (429, "Throttling.AllocationQuota", "Allocated quota exceeded, please increase your quota limit."),
        (400, "Arrearage", "Access denied, please make sure your account is in good standing."),
        (400, "InvalidParameter", "Model not exist."),
        (404, "NotFound", "Not found!"),
        (503, "ModelUnavailable", "Model is unavailable, please try again later."),
    ],
)
@pytest.mark.parametrize("path", [("POST", CREATE), ("GET", "/api/v1/uploads")])
def test_a_far_side_that_serves_us_not_is_out_of_order_and_callers_hear_nothing_of_it(
    depot: Depot, path: tuple[str, str], status: int, code: str, message: str
) -> None:
    depot.far.fail_once(*path, status, code, message)
    with pytest.raises(OutOfOrder) as caught:
        depot.make()
    assert code in caught.value.reason
    assert (caught.value.code, caught.value.message) == (AlgorithmError.code, AlgorithmError.sentence)


def test_a_far_side_that_nobody_answers_at_is_out_of_order(depot: Depot) -> None:
    depot.far.close()
    with pytest.raises(OutOfOrder):
        depot.make()
    assert depot.orders.order("a-task") is None


@pytest.mark.parametrize("base_url", ["http://", "http://[::1"])
def test_an_address_that_cannot_be_asked_is_out_of_order(depot: Depot, base_url: str) -> None:
    with pytest.raises(OutOfOrder):
        depot.another(base_url=base_url).produce(a_lease(), Log())


def test_a_short_outage_is_waited_for(depot: Depot) -> None:
    depot.far.fail_once("POST", CREATE, 500, "InternalError", "oops")
    depot.far.fail_once("GET", "/api/v1/uploads", 502, "InternalError", "oops")
    depot.relay = depot.another(patience=PATIENCE)
    assert depot.make().video is not None


def test_too_many_requests_are_made_later(depot: Depot) -> None:
    for _ in range(3):
        depot.far.fail_once("POST", CREATE, 429, "Throttling.RateQuota", "Requests rate limit exceeded")
    assert depot.make().video is not None
    assert depot.submitted() == 4


def test_a_queue_that_is_full_over_there_is_waited_for(depot: Depot) -> None:
    body = b'{"code": "Throttling.AllocationQuota", "message": "1 tasks may wait", "request_id": "r"}'
    depot.far.instead["POST", CREATE] = [Answer(429, body, headers={"Retry-After": "1"})]
    assert depot.make().video is not None
    assert depot.submitted() == 2


@pytest.mark.parametrize("path", [("POST", CREATE), ("GET", POLL)])
def test_a_pause_that_is_asked_for_is_kept(depot: Depot, path: tuple[str, str]) -> None:
    body = b'{"code": "Throttling.RateQuota", "message": "slowly", "request_id": "r"}'
    depot.far.instead[path] = [Answer(429, body, headers={"Retry-After": "86400"})]

    class Once(Log):
        def report(self, phase: str, done: float) -> None:
            super().report(phase, done)
            if self.seen.count(phase) > 4 and depot.far.of(path[0], path[1]):
                raise Canceled

    with pytest.raises(Canceled):
        depot.make(progress=Once())
    assert len(depot.far.of(*path)) == 1


def test_a_far_side_that_wishes_for_longer_than_it_may_be_busy_is_out_of_order(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "BUSY", 0.3)
    body = b'{"code": "Throttling.RateQuota", "message": "slowly", "request_id": "r"}'
    depot.far.instead["POST", CREATE] = [Answer(429, body, headers={"Retry-After": "86400"})] * 1000
    with pytest.raises(OutOfOrder):
        depot.make()


def test_nobody_waits_for_ever_because_a_poll_was_refused(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "BUSY", 0.3)
    depot.far.instead["GET", POLL] = [Answer(503, b"{}", headers={"Retry-After": "9" * 400})]
    assert depot.make().video is not None


def test_a_sermon_from_the_far_side_is_cut_short(depot: Depot) -> None:
    depot.far.states = [{"task_status": "FAILED", "code": "C" * 10_000, "message": "m" * 100_000}]
    failure = depot.make().failure
    assert failure == Failure(code="C" * 200, message="m" * 2000)


def test_polls_that_go_wrong_are_polled_again(depot: Depot) -> None:
    for status in (429, 500, 503):
        depot.far.fail_once("GET", POLL, status, "Throttling", "no")
    depot.far.instead["GET", POLL] += [
        Answer(200, b"<html>"),
        Answer(200, b'"\xff"'),
        Answer(400, b"\xff"),
        Answer(0, b""),
        Answer(504, b"<html>", "text/html"),
    ]
    assert depot.make().video is not None


@pytest.mark.parametrize("status", [401, 404])
def test_a_far_side_that_goes_on_refusing_to_tell_ends_it(depot: Depot, status: int) -> None:
    for _ in range(BELIEF + 1):
        depot.far.fail_once("GET", POLL, status, "InvalidApiKey", "no")
    with pytest.raises(AlgorithmError) as caught:
        depot.make()
    assert not isinstance(caught.value, OutOfOrder)


def test_a_failure_over_there_is_a_failure_here_word_for_word(depot: Depot) -> None:
    depot.far.states = [{"task_status": "FAILED", "code": "InvalidURL.Timeout", "message": "Download timeout"}]
    assert depot.failure() == Failure(code="InvalidURL.Timeout", message="Download timeout")


@pytest.mark.parametrize(("status", "told"), [("UNKNOWN", "does not know"), ("CANCELED", "was canceled")])
def test_a_task_that_got_lost_over_there_fails_and_says_so(depot: Depot, status: str, told: str) -> None:
    depot.far.states = [{"task_status": status}]
    failure = depot.failure()
    assert failure.code == "InternalError.Algo"
    assert told in failure.message


def test_a_task_that_is_not_known_yet_is_given_a_moment(depot: Depot) -> None:
    depot.far.states = [{"task_status": "UNKNOWN"}, {"task_status": "UNKNOWN"}, *depot.far.states]
    assert depot.make().video is not None


def test_a_download_that_breaks_is_begun_again_under_a_fresh_link(depot: Depot) -> None:
    depot.far.fail_once("GET", FILM, 403, "AccessDenied", "The link is invalid or has expired.")
    depot.far.instead["GET", FILM].append(Answer(0, b""))
    polls = len(depot.far.states)
    assert depot.make().video is not None
    assert len(depot.far.of("GET", POLL)) == polls + 2


def test_a_page_in_place_of_a_video_is_asked_about_again(depot: Depot) -> None:
    depot.far.instead["GET", FILM] = [Answer(200, b"", "video/mp4"), Answer(200, b"<html>Busy</html>", "text/html")]
    assert depot.make().video is not None
    assert len(depot.far.of("GET", FILM)) == 3


def test_a_file_that_is_no_video_is_not_kept(depot: Depot) -> None:
    depot.far.video = b"<html>not today</html>" * 100
    with pytest.raises(AlgorithmError):
        depot.make()
    assert not [blob.key for blob in depot.blobs.walk("videos/")]
    assert not list((depot.folder / "scratch").iterdir())


@pytest.mark.parametrize("phase", ["fetch", "send", "forward", "receive", "keep"])
def test_it_can_be_called_off_in_every_phase(depot: Depot, phase: str) -> None:
    with pytest.raises(Canceled):
        depot.make(progress=Log(until=phase))
    assert not [blob.key for blob in depot.blobs.walk("videos/")]


@pytest.mark.parametrize(("status", "canceled"), [("PENDING", 1), ("RUNNING", 0), ("SUCCEEDED", 0)])
def test_a_task_that_is_over_is_called_off_over_there_if_it_waits_there(
    depot: Depot, status: str, canceled: int
) -> None:
    depot.orders.begun("a-task", "task-1")
    depot.far.states = [{"task_status": status}]
    depot.abandon()
    assert len(depot.far.of("POST", "/cancel")) == canceled


def test_a_worker_does_not_wait_until_a_far_side_that_hangs_has_called_it_off(depot: Depot) -> None:
    depot.orders.begun("a-task", "task-1")
    answers = depot.far.held["GET", POLL] = threading.Event()
    depot.relay.abandon(a_lease())
    assert calling_off()
    answers.set()
    depot.abandon()
    assert depot.far.of("POST", "/cancel")


def test_what_is_called_off_before_its_submission_is_answered_is_called_off_over_there(depot: Depot) -> None:
    depot.far.states = [{"task_status": "PENDING"}]
    answers = depot.far.held["POST", CREATE] = threading.Event()
    with pytest.raises(Canceled):
        depot.make(progress=_CalledOffInDoubt(depot.far))
    depot.relay.abandon(a_lease())
    assert calling_off()
    answers.set()
    depot.abandon()
    assert depot.orders.far_id("a-task") == "task-1"
    assert depot.far.of("POST", "/cancel")


def test_an_attempt_that_finds_a_submission_under_way_takes_what_comes_of_it(depot: Depot) -> None:
    answers = depot.far.held["POST", CREATE] = threading.Event()
    with pytest.raises(Canceled):
        depot.make(progress=_CalledOffInDoubt(depot.far))
    threading.Timer(0.1, answers.set).start()
    assert depot.make(a_lease(attempt=2)).video is not None
    assert depot.submitted() == 1


def test_what_was_never_sent_is_not_called_off(depot: Depot) -> None:
    depot.abandon()
    assert depot.far.asked == []


def test_calling_off_harms_nobody_where_the_far_side_is_away(depot: Depot) -> None:
    depot.orders.begun("a-task", "task-1")
    depot.far.close()
    depot.abandon()


def test_an_outcome_nobody_wants_is_thrown_away(depot: Depot) -> None:
    outcome = depot.make()
    assert outcome.video is not None
    depot.relay.discard(outcome)
    assert not [blob.key for blob in depot.blobs.walk("videos/")]


def test_waiting_ends_when_it_is_called_off_though_nobody_answers() -> None:
    answered, asked = threading.Event(), threading.Event()

    def ask() -> None:
        asked.set()
        answered.wait()

    with pytest.raises(Canceled):
        heeding(ask, lambda: _raise() if asked.is_set() else None)
    with pytest.raises(Canceled):
        rest(PATIENCE, _raise)
    answered.set()


def test_what_is_called_off_already_is_not_asked_however_quick_the_answer() -> None:
    asked: list[int] = []
    with pytest.raises(Canceled):
        heeding(lambda: asked.append(1), _raise)
    assert not asked


def test_what_is_asked_in_another_thread_comes_back_whatever_it_is() -> None:
    assert heeding(lambda: 7, lambda: None) == 7
    with pytest.raises(TimeoutError):
        heeding(_late, lambda: None)


def _late() -> None:
    raise TimeoutError


def _raise() -> None:
    raise Canceled


def _order(depot: Depot) -> Order:
    order = depot.orders.order("a-task")
    assert order is not None
    return order


def row(task_id: str, at: int) -> dict[str, Any]:
    return {**ROW, "task_id": task_id, "gmt_create": at, "model_name": "wan-of-theirs-kf2v"}


@pytest.mark.parametrize(("status", "canceled"), [("PENDING", 1), ("RUNNING", 0)])
def test_a_task_that_is_stopped_here_is_called_off_there_while_it_waits_there(
    depot: Depot, status: str, canceled: int
) -> None:
    depot.far.states = [{"task_status": status}]
    with backroom() as room:
        task = room.order(a_task(submitted_at=room.clock.now(), job=a_job(engine="remote")))
        ledger = InlineLedger(room.desk, room.home)
        loop = Loop("r.1", ledger=ledger, production=depot.relay, heartbeat_every=0.01)
        worker = threading.Thread(target=loop.run)
        worker.start()
        deadline = time.monotonic() + PATIENCE
        while not depot.far.of("GET", POLL) and time.monotonic() < deadline:
            time.sleep(0.01)
        room.run(room.store.stop(task.id, now=room.clock.now()))
        while not loop.idle and time.monotonic() < deadline:
            time.sleep(0.01)
        loop.stop(0)
        worker.join(PATIENCE)
        assert not worker.is_alive()
    all_called_off()
    assert depot.submitted() == 1
    assert len(depot.far.of("POST", "/cancel")) == canceled


class Strict:
    """Objects to one part, and writes down what it was shown."""

    name = "strict"

    def __init__(self, part: Part) -> None:
        self._part = part
        self.shown: list[tuple[str, int | None]] = []

    def reads(self) -> bool:
        return True

    def looks(self) -> bool:
        return True

    def read(self, text: str, exhibit: Exhibit, tick: Tick) -> Objection | None:
        return self._verdict(exhibit)

    def look(self, picture: Frame, exhibit: Exhibit, tick: Tick) -> Objection | None:
        return self._verdict(exhibit)

    def _verdict(self, exhibit: Exhibit) -> Objection | None:
        self.shown.append((exhibit.part, exhibit.number))
        return Objection(ground="inappropriate", reason="no") if exhibit.part == self._part else None


@pytest.mark.parametrize("part", ["first_frame", "last_frame"])
def test_a_picture_that_may_not_pass_never_leaves(depot: Depot, part: Part) -> None:
    depot.relay = depot.another(panel=Panel([Strict(part)]))
    with pytest.raises(DataInspectionFailed, match="Input data"):
        depot.make()
    assert depot.far.asked == []


def test_a_film_that_may_not_pass_is_not_kept(depot: Depot) -> None:
    depot.relay = depot.another(panel=Panel([Strict("frame")]))
    depot.blobs.put(f"videos/{a_lease().task_id}/1-0badc0de.mp4", b"of an attempt that died before it was told")
    with pytest.raises(DataInspectionFailed, match="Output data"):
        depot.make()
    assert not [blob.key for blob in depot.blobs.walk("videos/")]
    assert not list((depot.folder / "scratch").iterdir())


@pytest.mark.parametrize("code", ["DataInspectionFailed", "IPInfringementSuspect", "InternalError.Algo"])
@pytest.mark.parametrize("when", ["at submission", "in the task"])
def test_of_a_film_that_the_far_side_blocks_nothing_stays_that_was_shown_before(
    depot: Depot, code: str, when: str
) -> None:
    shown = f"previews/{a_lease().task_id}/1-0.jpg"
    depot.blobs.put(shown, b"of an engine that gave up")
    if when == "at submission":
        depot.far.fail_once("POST", CREATE, 400, code, "Output data may contain inappropriate content.")
    else:
        depot.far.states = [{"task_status": "FAILED", "code": code, "message": "no"}]
    with contextlib.suppress(AlgorithmError, OutOfOrder):
        depot.failure(a_lease(attempt=2))
    kept = {blob.key for blob in depot.blobs.walk("previews/")}
    assert kept == ({shown} if code.startswith("Internal") else set())


@pytest.mark.parametrize("wished", [(), ("output",), ("input", "output")])
def test_a_callers_wish_for_inspection_is_passed_on(depot: Depot, wished: Any) -> None:
    depot.make(a_lease(inspect=wished))
    [asked] = depot.far.of("POST", "/video-synthesis")
    told = asked.headers.get("x-dashscope-datainspection")
    assert inspection.parse(told) == wished
    assert (told is None) == (not wished)


def test_what_the_far_side_made_of_the_prompt_is_read(depot: Depot) -> None:
    depot.far.states[-1]["actual_prompt"] = "something else entirely"
    depot.relay = depot.another(panel=Panel([Strict("actual_prompt")]))
    with pytest.raises(DataInspectionFailed):
        depot.make(a_lease(prompt_extend=True))


def test_of_a_film_as_many_frames_are_looked_at_as_of_one_made_here(depot: Depot) -> None:
    strict = Strict("preview")
    depot.relay = depot.another(panel=Panel([strict], every=50))
    assert depot.make().video is not None
    assert [number for part, number in strict.shown if part == "frame"] == [0, 50, 100, 149]


@pytest.mark.parametrize(("count", "looked_at"), [(1, [0]), (81, [0, 50, 80]), (101, [0, 50, 100])])
def test_a_far_film_is_looked_at_to_its_end_however_long_it_is(
    depot: Depot, tmp_path: Path, count: int, looked_at: list[int]
) -> None:
    grey = np.full((SIZE.height, SIZE.width, 3), 90, np.uint8)
    mp4.write(tmp_path / "odd.mp4", Clip(frames=iter([grey] * count), fps=16.0, count=count, size=SIZE))
    depot.far.video = (tmp_path / "odd.mp4").read_bytes()
    strict = Strict("preview")
    depot.relay = depot.another(panel=Panel([strict], every=50))
    assert depot.make().video is not None
    assert [number for part, number in strict.shown if part == "frame"] == looked_at


def test_a_far_film_that_cannot_be_looked_at_is_not_kept(depot: Depot, film: bytes) -> None:
    begins = film.index(b"mdat") + 4
    depot.far.video = film[:begins] + bytes(len(film) - begins)
    depot.relay = depot.another(panel=Panel([Strict("preview")]))
    with pytest.raises(AlgorithmError):
        depot.make()
    assert not [blob.key for blob in depot.blobs.walk("videos/")]

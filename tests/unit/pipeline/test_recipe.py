import errno
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assignments import a_lease
from gallery import COLD, WARM, picture
from kf2v.blobs.memory import MemoryBlobs
from kf2v.engines import Engine, EngineUnavailable, Scene, Watch
from kf2v.engines.still import Still
from kf2v.errors import (
    AlgorithmError,
    Canceled,
    DataInspectionFailed,
    DownloadTimeout,
    FrameError,
    InvalidImageFormat,
    InvalidUrl,
    ResultUploadError,
    RewriteFailed,
)
from kf2v.moderation import Exhibit, Objection, Tick
from kf2v.moderation.panel import Panel
from kf2v.pipeline.progress import SHARES, overall
from kf2v.pipeline.recipe import Recipe
from kf2v.rewriting import Report
from kf2v.rewriting.verbatim import Verbatim
from kf2v.tasks import Failure, FrameSource, Lease, Usage
from kf2v.video import Clip, Frame, Size
from kf2v.video.mp4 import facts, read_frames

#: a small target, because these tests are not about large videos
AREA = 320 * 192
URLS = {
    "first": FrameSource(kind="url", place="https://example.com/first"),
    "last": FrameSource(kind="url", place="https://example.com/last"),
}


class Log:
    """A watch that writes down, and calls off when it has seen ``until``."""

    def __init__(self, until: str | None = None) -> None:
        self.seen: list[tuple[str, float]] = []
        self.notes: list[str] = []
        self._until = until

    def report(self, phase: str, done: float) -> None:
        self.seen.append((phase, done))
        if phase == self._until:
            raise Canceled

    def note(self, text: str) -> None:
        self.notes.append(text)


class Pictures:
    """A web of pictures that counts its visitors."""

    def __init__(self, **rooms: bytes | FrameError) -> None:
        self.rooms = rooms
        self.visits: list[str] = []

    def fetch(self, url: str) -> bytes:
        self.visits.append(url)
        found = self.rooms[url.rpartition("/")[2]]
        if isinstance(found, FrameError):
            raise found
        return found


class Attentive:
    """``Still``, remembering the scenes it was given."""

    name = "attentive"

    def __init__(self) -> None:
        self.scenes: list[Scene] = []

    def generate(self, scene: Scene, watch: Watch) -> Clip:
        self.scenes.append(scene)
        return Still().generate(scene, watch)


class Poet:
    """A rewriter with one idea."""

    name = "poet"

    def rewrite(self, prompt: str, first: Frame, last: Frame, report: Report) -> str:
        report(0.5)
        return f"{prompt}, at dawn"


class Studio:
    """A recipe and what it works with; pictures lie in ``blobs`` already."""

    def __init__(
        self,
        folder: Path,
        *,
        engine: Engine | None = None,
        blobs: MemoryBlobs | None = None,
        first: bytes | None = None,
        last: bytes | None = None,
        fetcher: Pictures | None = None,
        panel: Panel | None = None,
    ) -> None:
        self.scratch = folder / "scratch"
        self.blobs = blobs or MemoryBlobs()
        self.blobs.put("uploads/first", first or picture(WARM))
        self.blobs.put("uploads/last", last or picture(COLD))
        self.fetcher = fetcher or Pictures()
        self.recipe = Recipe(
            engines={"still": engine or Still()},
            rewriter=Poet(),
            panel=panel or Panel(),
            fetcher=self.fetcher,
            blobs=self.blobs,
            watermark_text="AI-generated",
            scratch=self.scratch,
        )

    def make(self, lease: Lease, watch: Watch | None = None) -> Any:
        return self.recipe.produce(lease, watch or Log())

    def unfinished(self) -> list[str]:
        return [path.name for path in self.scratch.glob("*")] if self.scratch.exists() else []

    def frames(self, key: str, folder: Path) -> list[Frame]:
        copy = folder / "copy.mp4"
        copy.write_bytes(self.blobs.read(key))
        return list(read_frames(copy))


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def lease(attempt: int = 1, **changes: Any) -> Lease:
    return a_lease(attempt=attempt, **{"area": AREA, **changes})


def near(frame: Frame, colour: tuple[int, int, int]) -> bool:
    """Whether the corner of ``frame`` has ``colour``, give or take what coding costs."""
    return bool(np.abs(frame[2:10, 2:10].astype(int) - colour).max() <= 6)


def test_a_lease_becomes_a_kept_video_that_says_what_it_is(studio: Studio, tmp_path: Path) -> None:
    outcome = studio.make(lease(attempt=2))
    video = outcome.video
    data = studio.blobs.read(video.key)
    assert video.key.startswith("videos/a-task/2-")
    assert (video.digest, video.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (video.width, video.height) == (320, 176)
    assert outcome.usage == Usage(video_duration=5, video_count=1, sr=480)
    assert (outcome.failure, outcome.actual_prompt) == (None, None)
    frames = studio.frames(video.key, tmp_path)
    assert len(frames) == 150
    assert near(frames[0], WARM)
    assert near(frames[-1], COLD)
    assert studio.unfinished() == []


def test_the_first_frame_decides_the_shape(tmp_path: Path) -> None:
    studio = Studio(tmp_path, first=picture(WARM, width=400, height=800), last=picture(COLD, width=900, height=400))
    video = studio.make(lease()).video
    assert (video.width, video.height) == (160, 336)


def test_the_same_lease_gives_the_same_bytes(studio: Studio) -> None:
    one, other = studio.make(lease(attempt=1)).video, studio.make(lease(attempt=2)).video
    assert one.key != other.key
    assert one.digest == other.digest


def test_a_flaw_found_at_submission_is_all_there_is(studio: Studio) -> None:
    flaw = Failure(code="InvalidParameter", message="duration must be 5")
    watch = Log()
    outcome = studio.make(replace(lease(), flaw=flaw), watch)
    assert (outcome.failure, outcome.video, outcome.usage) == (flaw, None, None)
    assert watch.seen == []


def test_a_prompt_is_rewritten_only_where_that_was_asked_for(tmp_path: Path) -> None:
    engine = Attentive()
    studio = Studio(tmp_path, engine=engine)
    assert studio.make(lease(prompt="a cat", prompt_extend=True)).actual_prompt == "a cat, at dawn"
    assert studio.make(lease(prompt="a cat", prompt_extend=False)).actual_prompt is None
    assert [scene.prompt for scene in engine.scenes] == ["a cat, at dawn", "a cat"]


def test_a_rewriter_that_changes_nothing_still_says_what_was_used(tmp_path: Path) -> None:
    recipe = Recipe(
        engines={"still": Still()},
        rewriter=Verbatim(),
        panel=Panel(),
        fetcher=Pictures(),
        blobs=Studio(tmp_path).blobs,
        watermark_text="AI-generated",
        scratch=tmp_path,
    )
    assert recipe.produce(lease(prompt="", prompt_extend=True), Log()).actual_prompt == ""


def test_an_engine_is_given_what_was_ordered(tmp_path: Path) -> None:
    engine = Attentive()
    Studio(tmp_path, engine=engine).make(lease(prompt="a cat", negative_prompt="dogs", seed=11))
    (scene,) = engine.scenes
    assert (scene.prompt, scene.negative_prompt, scene.seed) == ("a cat", "dogs", 11)
    assert scene.model == lease().job.model
    assert scene.first.shape == scene.last.shape == (176, 320, 3)


class Sketcher:
    """``Still``, showing what it has in mind beforehand."""

    name = "sketcher"

    def generate(self, scene: Scene, watch: Watch) -> Clip:
        for grey in (40, 200):
            watch.show(np.full((16, 24, 3), grey, np.uint8))
        return Still().generate(scene, watch)


def test_previews_are_kept_as_pictures_in_their_order(tmp_path: Path) -> None:
    studio = Studio(tmp_path, engine=Sketcher())
    order = lease(attempt=2)
    studio.make(order)
    kept = sorted(blob.key for blob in studio.blobs.walk("previews/"))
    assert kept == [f"previews/{order.task_id}/2-{index}.jpg" for index in (0, 1)]
    for key, grey in zip(kept, (40, 200), strict=True):
        shown = np.asarray(Image.open(io.BytesIO(studio.blobs.read(key))))
        assert shown.shape == (16, 24, 3)
        assert abs(int(shown.mean()) - grey) < 3


def test_a_preview_that_cannot_be_kept_stops_nothing(tmp_path: Path) -> None:
    studio = Studio(tmp_path, engine=Sketcher())
    order = lease()
    studio.blobs.put(f"previews/{order.task_id}/1-0.jpg", b"of an attempt that was told twice")
    assert studio.make(order).video is not None


class Censor:
    """Objects to what a test says, and remembers what it was shown."""

    name = "censor"
    elsewhere = False

    def __init__(self, objects: Callable[[Exhibit], bool], *, ground: Any = "inappropriate") -> None:
        self.shown: list[Exhibit] = []
        self.pictures: list[Frame] = []
        self.texts: list[str] = []
        self._objects = objects
        self._ground = ground

    def reads(self) -> bool:
        return True

    looks = reads

    def read(self, text: str, exhibit: Exhibit, tick: Tick) -> Objection | None:
        self.texts.append(text)
        return self._say(exhibit)

    def look(self, picture: Frame, exhibit: Exhibit, tick: Tick) -> Objection | None:
        tick()
        self.pictures.append(picture)
        return self._say(exhibit)

    def _say(self, exhibit: Exhibit) -> Objection | None:
        self.shown.append(exhibit)
        return Objection(ground=self._ground, reason="so it is") if self._objects(exhibit) else None


def nothing(exhibit: Exhibit) -> bool:
    return False


def test_moderators_see_both_frames_as_they_came_and_the_film_as_it_is_kept(tmp_path: Path) -> None:
    censor = Censor(nothing)
    studio = Studio(tmp_path, panel=Panel([censor], every=50))
    outcome = studio.make(lease(watermark=True, prompt="a cat", prompt_extend=True))
    parts = [(seen.part, seen.side, seen.number) for seen in censor.shown]
    assert parts == [
        ("first_frame", "input", None),
        ("last_frame", "input", None),
        ("actual_prompt", "input", None),
        *(("frame", "output", number) for number in (0, 50, 100, 149)),
    ]
    assert {seen.task_id for seen in censor.shown} == {"a-task"}
    assert censor.texts == ["a cat, at dawn"]
    assert censor.pictures[0].shape == (480, 832, 3)
    assert near(censor.pictures[1], COLD)
    film = studio.frames(outcome.video.key, tmp_path)
    for seen, kept in zip(censor.pictures[2:], (film[0], film[50], film[100], film[149]), strict=True):
        assert np.abs(seen.astype(int) - kept).mean() < 4


@pytest.mark.parametrize("part", ["first_frame", "last_frame", "actual_prompt", "frame"])
@pytest.mark.parametrize(
    ("ground", "code", "inward", "outward"),
    [
        (
            "inappropriate",
            "DataInspectionFailed",
            "Input data may contain inappropriate content.",
            "Output data may contain inappropriate content.",
        ),
        (
            "ip",
            "IPInfringementSuspect",
            "Input data is suspected of being involved in IP infringement.",
            "Output data is suspected of being involved in IP infringement",
        ),
    ],
)
def test_an_objection_fails_the_task_in_the_vendors_words(
    tmp_path: Path, part: str, ground: str, code: str, inward: str, outward: str
) -> None:
    studio = Studio(tmp_path, panel=Panel([Censor(lambda exhibit: exhibit.part == part, ground=ground)]))
    with pytest.raises(DataInspectionFailed) as caught:
        studio.make(lease(prompt_extend=True))
    if part == "frame":
        assert (caught.value.code, caught.value.message) == ("DataInspectionFailed", outward)
    else:
        assert (caught.value.code, caught.value.message) == (code, inward)


@pytest.mark.parametrize("number", [0, 70, 149])
def test_nothing_is_left_of_a_blocked_film_but_its_frames(tmp_path: Path, number: int) -> None:
    fetcher = Pictures(first=picture(WARM), last=picture(COLD))
    censor = Censor(lambda exhibit: exhibit.part == "frame" and exhibit.number == number)
    studio = Studio(tmp_path, engine=Sketcher(), fetcher=fetcher, panel=Panel([censor], every=10))
    for earlier in ("previews/a-task/1-0.jpg", "videos/a-task/1-0badc0de.mp4"):
        studio.blobs.put(earlier, b"of an attempt that died")
    for other in ("previews/a-task/3-0.jpg", "videos/a-task/3-feedbeef.mp4", "previews/a-task-2/1-0.jpg"):
        studio.blobs.put(other, b"of a later attempt, of another task")
    with pytest.raises(DataInspectionFailed):
        studio.make(lease(attempt=2, **URLS))
    assert {blob.key for blob in studio.blobs.walk() if not blob.key.startswith("uploads/")} == {
        "inputs/a-task/first",
        "inputs/a-task/last",
        "previews/a-task-2/1-0.jpg",
        "previews/a-task/3-0.jpg",
        "videos/a-task/3-feedbeef.mp4",
    }
    assert studio.unfinished() == []


def test_a_blocked_film_is_not_made_to_its_end(tmp_path: Path) -> None:
    made: list[int] = []

    class Counting:
        name = "counting"

        def generate(self, scene: Scene, watch: Watch) -> Clip:
            clip = Still().generate(scene, watch)

            def counted() -> Iterator[Frame]:
                for number, frame in enumerate(clip.frames):
                    made.append(number)
                    yield frame

            return replace(clip, frames=counted())

    censor = Censor(lambda exhibit: exhibit.number == 20)
    with pytest.raises(DataInspectionFailed):
        Studio(tmp_path, engine=Counting(), panel=Panel([censor], every=10)).make(lease())
    assert len(made) < 30


def test_a_preview_that_is_objected_to_is_not_shown_and_stops_nothing(tmp_path: Path) -> None:
    censor = Censor(lambda exhibit: exhibit.part == "preview" and len(censor.shown) == 3)  # after both frames
    studio = Studio(tmp_path, engine=Sketcher(), panel=Panel([censor]))
    assert studio.make(lease()).video is not None
    (kept,) = studio.blobs.walk("previews/")
    assert abs(int(np.asarray(Image.open(io.BytesIO(studio.blobs.read(kept.key)))).mean()) - 200) < 3


@pytest.mark.parametrize(
    ("sides", "wished", "seen"),
    [
        ({"input"}, (), {"first_frame", "last_frame"}),
        ({"output"}, (), {"frame"}),
        (set(), (), set()),
        (set(), ("output",), {"frame"}),
        ({"input"}, ("input", "output"), {"first_frame", "last_frame", "frame"}),
    ],
)
def test_what_the_owner_inspects_and_what_the_caller_wishes_is_inspected(
    tmp_path: Path, sides: Any, wished: Any, seen: Any
) -> None:
    censor = Censor(nothing)
    Studio(tmp_path, panel=Panel([censor], sides=frozenset(sides))).make(lease(inspect=wished))
    assert {exhibit.part for exhibit in censor.shown} == seen


def test_a_rewriter_that_changes_nothing_gives_nothing_more_to_read(tmp_path: Path) -> None:
    censor = Censor(nothing)
    studio = Studio(tmp_path, panel=Panel([censor]))
    studio.make(lease(prompt_extend=False))
    assert censor.texts == []


def test_whoever_waits_for_a_verdict_hears_that_the_work_was_called_off(tmp_path: Path) -> None:
    studio = Studio(tmp_path, panel=Panel([Censor(nothing)]))
    with pytest.raises(Canceled):
        studio.make(lease(), Log(until="moderate"))


def test_fetched_frames_are_kept_so_that_another_attempt_sees_the_same(tmp_path: Path) -> None:
    studio = Studio(tmp_path, fetcher=Pictures(first=picture(WARM), last=picture(COLD)))
    one = studio.make(lease(attempt=1, **URLS)).video
    studio.fetcher.rooms.clear()
    other = studio.make(lease(attempt=2, **URLS)).video
    assert studio.fetcher.visits == ["https://example.com/first", "https://example.com/last"]
    assert one.digest == other.digest
    assert studio.blobs.read("inputs/a-task/first") == picture(WARM)


@pytest.mark.parametrize("which", ["first", "last"])
def test_an_unusable_picture_is_named(tmp_path: Path, which: str) -> None:
    studio = Studio(tmp_path, **{which: b"no picture at all"})
    with pytest.raises(InvalidImageFormat, match=rf"\({which}_frame_url\)$"):
        studio.make(lease())


@pytest.mark.parametrize("which", ["first", "last"])
def test_a_picture_that_cannot_be_had_is_named(tmp_path: Path, which: str) -> None:
    rooms: dict[str, bytes | FrameError] = {"first": picture(), "last": picture(), which: DownloadTimeout()}
    studio = Studio(tmp_path, fetcher=Pictures(**rooms))
    with pytest.raises(DownloadTimeout, match=rf"^{DownloadTimeout.sentence} \({which}_frame_url\)$"):
        studio.make(lease(**URLS))


def test_an_upload_that_was_forgotten_meanwhile_is_named(studio: Studio) -> None:
    studio.blobs.delete("uploads/last")
    with pytest.raises(InvalidUrl, match=r"\(last_frame_url\)$"):
        studio.make(lease())


def test_the_mark_is_there_only_where_it_was_asked_for(studio: Studio, tmp_path: Path) -> None:
    plain = studio.frames(studio.make(lease(watermark=False)).video.key, tmp_path)[30].astype(int)
    marked = studio.frames(studio.make(lease(watermark=True)).video.key, tmp_path)[30].astype(int)
    differs = np.abs(plain - marked).max(axis=2) > 60
    assert differs[88:, 160:].any()
    assert not differs[:88].any()


class Slideshow:
    """Four frames in two seconds."""

    name = "slideshow"

    def generate(self, scene: Scene, watch: Watch) -> Clip:
        height, width = scene.first.shape[:2]
        frames = iter([scene.first, scene.first, scene.last, scene.last])
        return Clip(size=Size(width=width, height=height), fps=2, count=4, frames=frames)


def test_an_engine_may_have_its_own_rate(tmp_path: Path) -> None:
    studio = Studio(tmp_path, engine=Slideshow())
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(studio.blobs.read(studio.make(lease()).video.key))
    found = facts(copy)
    assert (found.frames, found.fps, found.duration) == (150, 30, 5.0)


class Small:
    """Half as wide and high as it should."""

    name = "small"

    def generate(self, scene: Scene, watch: Watch) -> Clip:
        half = np.ascontiguousarray(scene.first[::2, ::2])
        return Still().generate(replace(scene, first=half, last=half), watch)


def test_a_file_that_is_not_what_was_promised_is_not_kept(tmp_path: Path) -> None:
    studio = Studio(tmp_path, engine=Small())
    with pytest.raises(AlgorithmError):
        studio.make(lease())
    assert list(studio.blobs.walk("videos/")) == []
    assert studio.unfinished() == []


class Broken:
    """Breaks in the middle."""

    name = "broken"

    def generate(self, scene: Scene, watch: Watch) -> Clip:
        def frames() -> Iterator[Frame]:
            yield scene.first
            raise ZeroDivisionError

        height, width = scene.first.shape[:2]
        return Clip(size=Size(width=width, height=height), fps=30, count=150, frames=frames())


def test_an_engine_that_breaks_leaves_nothing_behind(tmp_path: Path) -> None:
    studio = Studio(tmp_path, engine=Broken())
    with pytest.raises(ZeroDivisionError):
        studio.make(lease())
    assert studio.unfinished() == []
    assert list(studio.blobs.walk("videos/")) == []


class Unequipped:
    """An engine without weights."""

    name = "unequipped"

    def generate(self, scene: Scene, watch: Watch) -> Clip:
        raise EngineUnavailable(f"{scene.model} has no weights here.", fix="Fetch them.")


def test_an_engine_that_has_nothing_to_make_it_of_fails_the_task(tmp_path: Path) -> None:
    with pytest.raises(AlgorithmError) as caught:
        Studio(tmp_path, engine=Unequipped()).make(lease())
    assert caught.value.message == AlgorithmError.sentence, "what is missing here is no business of the caller's"


@pytest.mark.parametrize("phase", ["fetch", "rewrite", "render", "keep"])
def test_work_can_be_called_off_in_every_phase_and_leaves_nothing_behind(studio: Studio, phase: str) -> None:
    with pytest.raises(Canceled):
        studio.make(lease(prompt_extend=True), Log(until=phase))
    assert studio.unfinished() == []
    assert list(studio.blobs.walk("videos/")) == []


class FullDisk(MemoryBlobs):
    """Takes pictures, but no videos."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self._code = code

    def adopt(self, key: str, path: Path) -> None:
        raise OSError(self._code, "no")


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    studio = Studio(tmp_path, blobs=FullDisk(errno.ENOSPC))
    with pytest.raises(ResultUploadError):
        studio.make(lease())
    assert studio.unfinished() == []


def test_what_a_dead_attempt_left_is_cleared_away(studio: Studio) -> None:
    studio.scratch.mkdir()
    for name in ("a-task-1.mp4", "another-task-1.mp4"):
        (studio.scratch / name).write_bytes(b"half a video")
    studio.make(lease(attempt=2))
    assert studio.unfinished() == ["another-task-1.mp4"]


def test_a_video_nobody_wants_is_thrown_away(studio: Studio) -> None:
    outcome = studio.make(lease())
    studio.recipe.discard(outcome)
    assert list(studio.blobs.walk("videos/")) == []


def test_the_whole_never_goes_back_and_nearly_reaches_its_end(studio: Studio) -> None:
    watch = Log()
    studio.make(lease(prompt_extend=True), watch)
    figures = [overall(phase, done) for phase, done in watch.seen]
    assert None not in figures
    assert figures == sorted(figures, key=lambda figure: figure or 0.0)
    assert figures[0] == 0.0
    assert (figures[-1] or 0.0) > 0.95


def test_the_phases_fill_the_whole() -> None:
    before, after = ["fetch", "moderate", "rewrite"], ["keep"]
    for made_in in (["analyse", "render"], ["load", "encode", "denoise", "decode"]):
        course = [SHARES[phase] for phase in (*before, *made_in, *after)]
        assert [begin for begin, _ in course] == [0.0, *(end for _, end in course[:-1])]
    assert overall("keep", 1.0) == 1.0
    assert overall("daydream", 0.5) is None
    assert overall("render", 7.0) == overall("render", 1.0)


class Speechless:
    """A rewriter that has no answer."""

    name = "speechless"

    def rewrite(self, prompt: str, first: Frame, last: Frame, report: Report) -> str:
        raise RewriteFailed from OSError("nobody answers")


@pytest.mark.parametrize("keeps", [True, False])
def test_a_prompt_that_cannot_be_rewritten_is_kept_and_noted_or_fails_the_task(tmp_path: Path, keeps: bool) -> None:
    recipe = Recipe(
        engines={"still": Still()},
        rewriter=Speechless(),
        panel=Panel(),
        fetcher=Pictures(),
        blobs=Studio(tmp_path).blobs,
        watermark_text="AI-generated",
        scratch=tmp_path,
        keeps_prompts=keeps,
    )
    log = Log()
    if not keeps:
        with pytest.raises(RewriteFailed):
            recipe.produce(lease(prompt="a cat", prompt_extend=True), log)
        assert log.notes == []
        return
    assert recipe.produce(lease(prompt="a cat", prompt_extend=True), log).actual_prompt == "a cat"
    assert log.notes == ["The prompt was kept as it is, because it could not be rewritten: nobody answers"]

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from kf2v.video import Clip, Frame, Size, mp4
from kf2v.video.retime import retime
from kf2v.video.watermark import Watermark
from scenery import Held, clip_of, landscape, plain, snow

SIZE = Size(width=160, height=96)


def travel(size: Size = SIZE, *, count: int = 150) -> Iterator[Frame]:
    """The camera moves two pixels a frame."""
    wide = landscape(Size(width=size.width + 2 * count, height=size.height))
    for i in range(count):
        yield np.ascontiguousarray(wide[:, 2 * i : 2 * i + size.width])


def drift(size: Size = SIZE, *, count: int = 150) -> Iterator[Frame]:
    """Another heap of noise in every frame."""
    for i in range(count):
        yield snow(size, seed=i)


def cut_at_the_end(size: Size = SIZE, *, count: int = 150) -> Iterator[Frame]:
    """Nothing moves until, in the last frame, everything is different and difficult."""
    still, other = landscape(size), snow(size)
    for i in range(count):
        yield still if i < count - 1 else other


def luma(frame: Frame) -> npt.NDArray[np.float64]:
    """Y' of BT.709, 0 … 255."""
    return np.asarray(frame @ np.array([0.2126, 0.7152, 0.0722]))


def psnr(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((a - b) ** 2), 1e-9)))


def ssim(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Wang et al. 2004, Gaussian window of 11 pixels."""

    def mean(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(x, (11, 11), 1.5))

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    top, bottom = (2 * ma * mb + c1) * (2 * cov + c2), (ma * ma + mb * mb + c1) * (va + vb + c2)
    return float(np.mean(top / bottom))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds of travel."""
    path = tmp_path_factory.mktemp("film") / "travel.mp4"
    mp4.write(path, clip_of(travel(), size=SIZE, count=150))
    return path


def test_a_file_is_what_the_api_promises(film: Path) -> None:
    assert mp4.facts(film) == mp4.Facts(
        codec="h264",
        profile="High",
        pixel_format="yuv420p",
        width=160,
        height=96,
        fps=30.0,
        steady=True,
        frames=150,
        duration=5.0,
        primaries=1,
        transfer=1,
        matrix=1,
        full_range=False,
        faststart=True,
        has_audio=False,
    )


def test_a_film_begins_at_once(film: Path) -> None:
    with av.open(film) as container:
        assert next(container.decode(video=0)).pts == 0
        assert container.streams.video[0].start_time == 0


def test_a_file_does_not_say_when_or_with_what_it_was_wrapped(film: Path) -> None:
    with av.open(film) as container:
        assert {"creation_time", "encoder"}.isdisjoint(container.metadata | container.streams.video[0].metadata)


@pytest.mark.parametrize("scene", [travel, drift, cut_at_the_end])
def test_the_same_frames_give_the_same_bytes(tmp_path: Path, scene: Callable[..., Iterator[Frame]]) -> None:
    digests = set()
    for name in ("a.mp4", "b.mp4"):
        mp4.write(tmp_path / name, clip_of(scene(count=40), size=SIZE, count=40))
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_the_number_of_encoder_threads_does_not_come_from_the_machine(film: Path) -> None:
    assert f" threads={mp4.THREADS} ".encode() in film.read_bytes()


@pytest.mark.parametrize("scene", [travel, drift, cut_at_the_end])
def test_both_ends_are_visibly_exact(tmp_path: Path, scene: Callable[..., Iterator[Frame]]) -> None:
    path = tmp_path / "film.mp4"
    size = Size(width=416, height=240)
    frames = list(scene(size, count=60))
    mp4.write(path, clip_of(frames, size=size, count=60))
    shown = list(mp4.read_frames(path))
    for end in (0, -1):
        assert psnr(luma(shown[end]), luma(frames[end])) >= 40
        assert ssim(luma(shown[end]), luma(frames[end])) >= 0.97


def test_what_is_read_is_what_was_written_frame_by_frame(film: Path) -> None:
    for shown, frame in zip(mp4.read_frames(film), travel(), strict=True):
        assert shown.shape == frame.shape
        assert shown.dtype == np.uint8
        assert psnr(luma(shown), luma(frame)) > 34


def test_a_single_frame_is_the_one_that_reading_all_of_them_gives(film: Path) -> None:
    frames = list(mp4.read_frames(film))
    for number in (0, 1, 75, 149):
        assert np.array_equal(mp4.frame(film, number), frames[number])
    assert np.array_equal(mp4.frame(film, None), frames[-1])
    with pytest.raises(IndexError):
        mp4.frame(film, 150)


# Y'CbCr of ITU-R BT.709 with narrow range: Y' = 16 + 219·(.2126 R + .7152 G + .0722 B), C = 128 + 224·(…)
@pytest.mark.parametrize(
    ("colour", "y", "cb", "cr"),
    [
        ((0, 0, 0), 16, 128, 128),
        ((255, 255, 255), 235, 128, 128),
        ((255, 0, 0), 63, 102, 240),
        ((0, 255, 0), 173, 42, 26),
        ((0, 0, 255), 32, 240, 118),
        ((128, 128, 128), 126, 128, 128),
    ],
)
def test_colours_are_those_of_bt_709(tmp_path: Path, colour: tuple[int, int, int], y: int, cb: int, cr: int) -> None:
    path = tmp_path / "colour.mp4"
    size = Size(width=32, height=32)
    mp4.write(path, clip_of([plain(size, colour)] * 3, size=size, count=3))
    with av.open(path) as container:
        planes = next(container.decode(video=0)).to_ndarray()
    assert planes[:32].mean() == pytest.approx(y, abs=1)
    assert planes[32:40].mean() == pytest.approx(cb, abs=1)
    assert planes[40:].mean() == pytest.approx(cr, abs=1)
    assert np.abs(next(mp4.read_frames(path)).astype(int) - colour).max() <= 3


def test_a_frame_is_let_go_before_the_next_one_is_asked_for(tmp_path: Path) -> None:
    held = Held()
    mp4.write(tmp_path / "film.mp4", clip_of(held.passing(travel()), size=SIZE, count=150))
    assert held.most == 1


def test_the_whole_way_from_frames_to_film_holds_a_handful_of_them(tmp_path: Path) -> None:
    held = Held()
    mark = Watermark("AI-generated", SIZE)
    slow = retime(clip_of(held.passing(travel(count=81)), size=SIZE, count=81, fps=16))
    marked = held.passing(mark.apply(frame) for frame in held.passing(slow.frames))
    mp4.write(tmp_path / "film.mp4", clip_of(marked, size=SIZE, count=150))
    assert 2 <= held.most <= 6


@pytest.mark.parametrize("count", [1, 2, 3])
def test_even_a_film_of_a_moment_can_be_written(tmp_path: Path, count: int) -> None:
    path = tmp_path / "short.mp4"
    mp4.write(path, clip_of(travel(count=count), size=SIZE, count=count))
    facts = mp4.facts(path)
    assert (facts.frames, facts.fps, facts.duration) == (count, 30.0, pytest.approx(count / 30))


def test_a_clip_keeps_its_own_rate(tmp_path: Path) -> None:
    path = tmp_path / "slow.mp4"
    mp4.write(path, clip_of(travel(count=32), size=SIZE, count=32, fps=16))
    facts = mp4.facts(path)
    assert (facts.frames, facts.fps, facts.duration) == (32, 16.0, 2.0)


@pytest.mark.parametrize("after", [0, 1, 30])
def test_a_source_that_fails_leaves_its_error_and_no_file(tmp_path: Path, after: int) -> None:
    def broken() -> Iterator[Frame]:
        yield from travel(count=after)
        raise ArithmeticError("the engine broke")

    path = tmp_path / "half.mp4"
    with pytest.raises(ArithmeticError, match="the engine broke"):
        mp4.write(path, clip_of(broken(), size=SIZE, count=150))
    assert list(tmp_path.iterdir()) == []


def lying(frames: Iterator[Frame], *, count: int = 10, size: Size = SIZE) -> Clip:
    return clip_of(frames, size=size, count=count)


@pytest.mark.parametrize(
    ("clip", "sentence"),
    [
        (lying(travel(count=9)), "ended after 9 of 10"),
        (lying(iter(())), "ended after 0 of 10"),
        (lying(travel(count=11)), "goes on after its 10 frames"),
        (lying(travel(Size(width=96, height=160), count=10)), "frame 0 is Size"),
    ],
)
def test_a_clip_that_is_not_what_it_says_is_refused(tmp_path: Path, clip: Clip, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        mp4.write(tmp_path / "film.mp4", clip)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_error_of_the_file_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        mp4.write(tmp_path / "nowhere" / "film.mp4", clip_of(travel(count=2), size=SIZE, count=2))
    for read in (mp4.facts, lambda path: next(mp4.read_frames(path))):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "nowhere" / "film.mp4")


def test_facts_tell_another_encoders_file_apart(tmp_path: Path) -> None:
    path = tmp_path / "other.mp4"
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=48000)
        for i in range(5):
            container.mux(video.encode(av.VideoFrame.from_ndarray(plain(Size(width=64, height=48), (i, i, i)))))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48000
        container.mux(sound.encode(silence))
        for stream in (video, sound):
            container.mux(stream.encode(None))
    facts = mp4.facts(path)
    assert (facts.codec, facts.frames, facts.fps, facts.primaries) == ("mpeg4", 5, 25.0, 2)
    assert facts.has_audio
    assert not facts.faststart

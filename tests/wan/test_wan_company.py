"""One video on several devices: two processes make what one makes, leave together, and do not outlive each other."""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog.testing
import torch
import torch.distributed as dist

from kf2v.engines import Scene
from kf2v.engines.wan import Options, Wan, Weights
from kf2v.engines.wan.checkpoint import open_bundle
from kf2v.engines.wan.company import Company
from kf2v.engines.wan.fault import CompanyBroken
from kf2v.engines.wan.guidance import Unguided
from kf2v.engines.wan.profiles import choose
from kf2v.engines.wan.readiness import Card, Machine, missing_device, missing_weights
from kf2v.engines.wan.resident import Native
from kf2v.engines.wan.schedule import schedule_of
from kf2v.engines.wan.take import Take
from kf2v.errors import AlgorithmError, Canceled
from kf2v.video import Frame, Size
from scenery import landscape

CPU = torch.device("cpu")
OPTIONS = Options(device="cpu", frames=5, gpus_per_video=2)
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked for in /proc")

#: seconds within which nobody is there any more
SOON = 10.0


class Notes:
    """A watch that counts, and may do something at the n-th block."""

    def __init__(self, at: int = 0, then: Callable[[], None] = lambda: None) -> None:
        self.blocks, self.shown = 0, 0
        self._at, self._then = at, then

    def report(self, phase: str, done: float) -> None:
        if phase == "denoise" and done > 0:
            self.blocks += 1
            if self.blocks == self._at:
                self._then()

    def note(self, text: str) -> None:
        del text

    def show(self, preview: Frame) -> None:
        del preview
        self.shown += 1


def scene(model: str = "flash", *, seed: int = 7) -> Scene:
    size = Size(width=80, height=48)  # 15 tokens a latent frame, 30 in all: 15 for each
    return Scene(
        first=landscape(size),
        last=landscape(size, shift=6),
        prompt="a cat",
        negative_prompt="a dog",
        seed=seed,
        model=model,
    )


@pytest.fixture(scope="module")
def weights(flf2v_dir: Path, a14b_dir: Path) -> dict[str, Weights]:
    return {
        "plus": Weights(model="plus", base=str(flf2v_dir)),
        "flash": Weights(model="flash", base=str(a14b_dir), distilled=True),
    }


@pytest.fixture(scope="module")
def engine(weights: dict[str, Weights]) -> Iterator[Wan]:
    """All takes of this file, with a company that stays as long as nobody breaks it."""
    engine = Wan(weights, OPTIONS, room=lambda _: 1 << 50)
    yield engine
    engine.unload()


def digest(engine: Wan, scene: Scene) -> str:
    return hashlib.sha256(b"".join(frame.tobytes() for frame in engine.generate(scene, Notes()).frames)).hexdigest()


def company_of(engine: Wan) -> Company:
    assert engine._company is not None
    return engine._company


def gone(pid: int) -> bool:
    """Whether nothing of that process runs; one that nobody has waited for yet is gone as well."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state[0] == "Z"


def children() -> list[int]:
    """The processes that this one has started and not waited for."""
    return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


def waiting(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + SOON
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("model", ["plus", "flash"])
def test_two_make_the_latents_that_one_makes(engine: Wan, weights: dict[str, Weights], model: str) -> None:
    """Both families, one and two transformers, classifier-free and attention guidance."""
    bundle = open_bundle(weights[model])
    plan = choose(None, bundle.family, distilled=bundle.distilled)
    alone = Native.load(bundle, plan, OPTIONS, device=CPU, on_load=lambda _: None)
    expected = alone.latents(scene(model), one := Notes(), frames=5)
    engine.generate(scene(model), Notes())
    together = engine._loaded[replace(weights[model], model="")]
    found = together.latents(scene(model), two := Notes(), frames=5)
    assert float((found - expected).norm() / expected.norm()) < 1e-5
    assert (two.blocks, two.shown) == (one.blocks, one.shown)
    assert two.blocks > 0


def test_the_same_scene_is_the_same_and_another_seed_another(engine: Wan) -> None:
    same = digest(engine, scene())
    assert digest(engine, scene()) == same
    assert digest(engine, scene(seed=8)) != same


@pytest.mark.parametrize("block", [1, 5, 8])
def test_all_leave_at_the_same_block_and_are_there_for_the_next_take(engine: Wan, block: int) -> None:
    expected = digest(engine, scene())
    before = company_of(engine).pids

    def enough() -> None:
        raise Canceled

    with pytest.raises(Canceled):
        engine.generate(scene(), notes := Notes(block, enough))
    assert notes.blocks == block
    assert digest(engine, scene()) == expected
    assert company_of(engine).pids == before


def test_a_preview_that_cannot_be_shown_ends_the_take_and_not_the_company(engine: Wan) -> None:
    class Blind(Notes):
        def show(self, preview: Frame) -> None:
            raise RuntimeError("no eyes")

    engine.generate(scene(), Notes())
    before = company_of(engine).pids
    with pytest.raises(RuntimeError, match="no eyes"):
        engine.generate(scene(), Blind())
    engine.generate(scene(), Notes())
    assert company_of(engine).pids == before


def test_a_follower_that_is_killed_ends_the_take_and_the_next_one_has_another(engine: Wan) -> None:
    expected = digest(engine, scene())
    (pid,) = company_of(engine).pids
    killed = 0.0

    def kill() -> None:
        nonlocal killed
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()

    with structlog.testing.capture_logs() as logs, pytest.raises(AlgorithmError):
        engine.generate(scene(), Notes(3, kill))
    assert time.monotonic() - killed < SOON
    (line,) = [line for line in logs if line["log_level"] == "error"]
    assert line["said"] == "cpu: its process ended with status -9"
    assert "KF2V_WAN_GPUS_PER_VIDEO" in line["fix"]
    assert not dist.is_initialized()
    assert digest(engine, scene()) == expected
    assert company_of(engine).pids != [pid]


def test_what_a_follower_died_of_is_told(engine: Wan, weights: dict[str, Weights]) -> None:
    engine.generate(scene(), Notes())
    company = company_of(engine)
    (pid,) = company.pids
    plan = choose(None, open_bundle(weights["flash"]).family, distilled=True)
    others = company.load(Weights(model="", base="/nowhere/at/all"), plan, OPTIONS)
    with pytest.raises(CompanyBroken, match=r"cpu: CheckpointError: /nowhere/at/all: .*\(weights\.py:\d+\)"):
        others.loaded(lambda: None)
    assert company.over
    assert gone(pid)
    with pytest.raises(CompanyBroken):
        company.load(weights["flash"], plan, OPTIONS)


def test_a_follower_that_hangs_is_not_waited_for_longer_than_was_said(weights: dict[str, Weights], engine: Wan) -> None:
    engine.unload()
    bundle = open_bundle(weights["flash"])
    company = Company([CPU, CPU], patience=4.0)
    (pid,) = company.pids
    others = company.load(weights["flash"], choose(None, bundle.family, distilled=True), OPTIONS)
    others.loaded(lambda: None)
    take = Take(
        schedule=schedule_of(bundle.family, distilled_weights=True),
        guidance=Unguided(),
        noise=torch.zeros(1, 16, 2, 6, 10),
        condition=torch.zeros(1, 20, 2, 6, 10),
        words=torch.zeros(1, 512, bundle.shape.text_dim),
        avoided=None,
        seen=None,
    )
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(CompanyBroken, match="no answer within the time given"):
        others.denoised(take, (), lambda *_: None, lambda _: None)
    assert company.over
    assert gone(pid)


def test_work_called_off_while_loading_leaves_nobody_behind(weights: dict[str, Weights], engine: Wan) -> None:
    engine.unload()
    started: list[int] = []

    class Enough(Notes):
        def report(self, phase: str, done: float) -> None:
            if engine._company is not None:
                started.extend(company_of(engine).pids)
                raise Canceled

    with pytest.raises(Canceled):
        engine.generate(scene(), Enough())
    assert engine.loaded == 0
    assert started
    assert all(gone(pid) for pid in started)


def test_work_called_off_before_anybody_came_leaves_nobody_behind(engine: Wan) -> None:
    engine.unload()

    def enough() -> None:
        raise Canceled

    with pytest.raises(Canceled):
        Company([CPU, CPU], on_wait=enough)
    assert not dist.is_initialized()
    assert all(gone(pid) for pid in children())


def test_a_gpu_that_cannot_be_used_is_told_before_anybody_waits_for_it(engine: Wan) -> None:
    engine.unload()
    with pytest.raises(CompanyBroken, match=r"^cuda:63: \w+: .*\.py:\d+\)$"):
        Company([CPU, torch.device("cuda", 63)])
    assert not dist.is_initialized()
    assert all(gone(pid) for pid in children())


def test_giving_memory_back_ends_followers(engine: Wan) -> None:
    clip = engine.generate(scene(), Notes())
    pids = company_of(engine).pids
    engine.unload()
    assert all(gone(pid) for pid in pids)
    assert not dist.is_initialized()
    assert len(list(clip.frames)) == 5


def test_an_engine_that_is_dropped_takes_its_followers_along(weights: dict[str, Weights]) -> None:
    engine = Wan(weights, OPTIONS)
    engine.generate(scene(), Notes())
    pids = company_of(engine).pids
    del engine
    gc.collect()
    assert all(gone(pid) for pid in pids)


def test_followers_end_with_rank_0_however_it_ends(weights: dict[str, Weights]) -> None:
    """Killed in the middle of a take, when nobody can tidy up."""
    code = (
        "import sys, time\n"
        "from wan import test_wan_company as here\n"
        "from kf2v.engines.wan import Wan, Weights\n"
        "engine = Wan({'flash': Weights(model='flash', base=sys.argv[1], distilled=True)}, here.OPTIONS)\n"
        "def stay():\n"
        "    print(*engine._company.pids, flush=True)\n"
        "    time.sleep(60)\n"
        "engine.generate(here.scene(), here.Notes(3, stay))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    worker = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, weights["flash"].base],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    with worker:
        assert worker.stdout is not None
        said = next(line for line in worker.stdout if line.strip().isdigit())
        pid = int(said)
        assert not gone(pid)
        assert os.getpgid(pid) == worker.pid  # so that killing a worker's group reaches it as well
        os.kill(worker.pid, signal.SIGKILL)
    assert waiting(lambda: gone(pid))


# Whether several can work together at all.


def machine(cards: int) -> Machine:
    return Machine(torch="2.11", built_for="13.0", cards=(Card(name="card", memory=80 << 30),) * cards)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(gpus_per_video=4), "4 GPUs for each video, 1 at a time, are 4; this machine has 3"),
        (Options(gpus_per_video=2, seat=1), "2 GPUs for each video, 2 at a time, are 4; this machine has 3"),
        (Options(gpus_per_video=2, device="cuda:1"), "cannot all be cuda:1"),
        (Options(gpus_per_video=2, runtime="diffusers"), "The stock pipeline works on one GPU"),
    ],
    ids=["too few", "too few for all workers", "one in particular", "stock pipeline"],
)
def test_gpus_that_cannot_work_together_are_told(options: Options, said: str) -> None:
    lacking = missing_device(options, lambda: machine(3))
    assert lacking is not None
    assert said in lacking.reason
    assert "KF2V_" in lacking.fix


def test_gpus_that_are_there_are_enough() -> None:
    assert missing_device(Options(gpus_per_video=2, seat=1), lambda: machine(4)) is None


def test_heads_that_cannot_be_shared_evenly_are_told(weights: dict[str, Weights]) -> None:
    assert missing_weights(weights, gpus_per_video=2) == {}
    lacking = missing_weights(weights, gpus_per_video=3)["flash"]
    assert "3 GPUs cannot share its 2 attention heads" in lacking.reason


@pytest.mark.parametrize(("seat", "numbers"), [(0, [0, 1]), (1, [2, 3])])
def test_each_seat_has_gpus_of_its_own(
    seat: int, numbers: list[int], weights: dict[str, Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    engine = Wan(weights, Options(gpus_per_video=2, seat=seat), look=lambda: machine(4))
    assert [device.index for device in engine._devices()] == numbers

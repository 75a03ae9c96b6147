"""The wan engine: a diffusion model imagines what happens between two pictures. Open Wan weights, one device.

Importing this loads no torch, and neither does building an engine: the first scene does. Not run on a GPU yet.
"""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, cast

import structlog

from kf2v.engines import EngineUnavailable, Scene, Watch
from kf2v.engines.wan.checkpoint import Bundle, CheckpointError, open_bundle
from kf2v.engines.wan.fault import CompanyBroken
from kf2v.engines.wan.geometry import FPS, generation_size, resized
from kf2v.engines.wan.profiles import CONTEXT, GB, Options, Plan, choose, fits, needed
from kf2v.engines.wan.readiness import Machine, look, missing_weights
from kf2v.engines.wan.readiness import readiness as lack  # the module keeps its name
from kf2v.engines.wan.weights import Weights
from kf2v.errors import AlgorithmError, ApiError, Canceled, ProcessRuined
from kf2v.video import Clip, Frame
from kf2v.video.frames import size_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from kf2v.engines.wan.company import Company
    from kf2v.engines.wan.resident import Resident
    from kf2v.engines.wan.vae import Vae

__all__ = ["Options", "Wan", "Weights"]

log = structlog.get_logger(__name__)

#: compute capability from which on tensor cores multiply in fp8 (Ada 8.9, Hopper 9.0)
EIGHT_BITS = (8, 9)
#: what to do about memory that ran out
MORE_MEMORY = {
    "gpu": "set KF2V_WAN_PROFILE=low-vram, or ask for a lower resolution",
    "host": "give the machine more memory or swap, or run fewer workers: low-vram would need more of it",
}


class Wan:
    """Open Wan weights, by the model's name; one scene at a time on one device.

    A model is loaded when it is first asked for and stays; where two do not fit, the other goes. After
    ``options.idle_unload`` seconds without work all of them go, until the next scene.
    """

    name = "wan"

    def __init__(
        self,
        weights: Mapping[str, Weights],
        options: Options,
        *,
        look: Callable[[], Machine] = look,
        room: Callable[[torch.device], int | None] | None = None,
        answers: Callable[[torch.device], bool] | None = None,
    ) -> None:
        """Raises EngineUnavailable where nothing of it could work; models without weights are left out and logged.

        ``look`` finds GPUs; ``room`` says how many bytes a device has left, None for one that cannot be asked;
        ``answers`` whether it still works in this process, asked after an error.
        """
        lacking = lack(weights, options, look=look)
        if lacking is not None:
            raise lacking
        self._absent = missing_weights(weights, gpus_per_video=options.gpus_per_video)
        for model, why in self._absent.items():
            log.warning("model cannot be made here", model=model, reason=why.reason, fix=why.fix)
        self._weights = {model: wanted for model, wanted in weights.items() if model not in self._absent}
        self._options = options
        self._room = room or _room
        self._answers = answers or _answers
        #: by weights without the model's name, for two names of one model are one
        self._loaded: dict[Weights, Resident] = {}
        #: with others on further GPUs, where there is more than one for each video
        self._company: Company | None = None
        self._working = threading.Lock()
        self._pause = _Pause(options.idle_unload, weakref.WeakMethod(self._forget_if_idle))
        weakref.finalize(self, self._pause.end)

    @property
    def models(self) -> frozenset[str]:
        """The names of the models that have everything they need."""
        return frozenset(self._weights)

    @property
    def loaded(self) -> int:
        """How many models are in memory now."""
        return len(self._loaded)

    def unload(self) -> None:
        """Give all memory back, but for what a clip under way still needs."""
        with self._working:
            self._forget()

    def generate(self, scene: Scene, watch: Watch) -> Clip:
        """Load what is not loaded and make the scene's latents now; decode its frames when they are asked for.

        81 frames at 16 per second. Raises EngineUnavailable for a model without weights here, AlgorithmError, told in
        the log, where memory or weights do not suffice, and ProcessRuined after a fault that a GPU does not get over.
        """
        wanted = self._wanted(scene.model)
        size = size_of(scene.first)
        made_at = generation_size(size, native=self._options.native_1080p)
        smaller = replace(scene, first=resized(scene.first, made_at), last=resized(scene.last, made_at))
        timed = _Stopwatch(watch)
        with self._working, self._pause.held(), self._told(wanted), self._current():
            resident = self._ready(wanted, timed)
            latents = resident.latents(smaller, timed, frames=self._options.frames)
            timed.lap()
        frames = self._frames(scene, wanted, resident.vae, latents, timed)
        return Clip(size=size, fps=FPS, count=self._options.frames, frames=frames)

    def _frames(self, scene: Scene, wanted: Weights, vae: Vae, latents: Tensor, watch: _Stopwatch) -> Iterator[Frame]:
        from kf2v.engines.wan.colour import Ends
        from kf2v.engines.wan.film import developed

        count = self._options.frames
        ends = Ends(scene.first, scene.last, frames=count, drift=self._options.colour)

        def on_frame(index: int) -> None:
            watch.report("decode", index / count)

        with self._pause.held(), self._told(wanted):
            yield from ends.correct(developed(vae, latents, size_of(scene.first), on_frame=on_frame))
        watch.report("decode", 1.0)
        watch.lap()
        close = {} if ends.closeness is None else {k: round(v, 2) for k, v in asdict(ends.closeness).items()}
        log.info("clip made", model=wanted.model, seconds=watch.seconds, **close, **_peak(self._device()))

    def _wanted(self, model: str) -> Weights:
        """What ``model`` runs on, or the only one there is, where no name is given. Raises EngineUnavailable."""
        if not model and len(self._weights) == 1:
            return next(iter(self._weights.values()))
        if why := self._absent.get(model):
            raise EngineUnavailable(why.reason, fix=why.fix)
        if model not in self._weights:
            raise EngineUnavailable(
                f"There are no Wan weights for {model or 'a scene that names no model'}.",
                fix=f"Ask for one of {', '.join(sorted(self.models))}.",
            )
        return self._weights[model]

    def _ready(self, wanted: Weights, watch: Watch) -> Resident:
        """``wanted`` in memory, whatever has to go for it.

        Raises CheckpointError, CompanyBroken, and Canceled with nothing kept.
        """
        if self._company is not None and (self._company.over or not self._loaded):
            self._forget()
        key = replace(wanted, model="")
        if key in self._loaded:
            return self._loaded[key]
        watch.report("load", 0.0)
        from kf2v.engines.wan.resident import RUNTIMES

        bundle = open_bundle(wanted)
        device = self._device()
        plan = _plan(bundle, self._options, device)
        log.info("model is being loaded", model=wanted.model, plan=plan.sentence)
        if self._loaded and not _beside(plan, bundle, self._options, self._room(device)):
            self._forget()
        runtime = RUNTIMES[self._options.runtime]
        on_load = partial(watch.report, "load")
        company = self._gathered(lambda: on_load(0.0))
        others = None if company is None else company.load(key, plan, self._options)
        try:
            self._loaded[key] = runtime.load(bundle, plan, self._options, device=device, on_load=on_load, others=others)
        except BaseException:
            if company is not None:
                company.close()  # the others still load
            raise
        return self._loaded[key]

    def _gathered(self, on_wait: Callable[[], None]) -> Company | None:
        """Who makes videos together; None for one GPU each. Raises CompanyBroken, and what ``on_wait`` raises."""
        if self._company is None and self._options.gpus_per_video > 1:
            from kf2v.engines.wan.company import Company

            self._company = Company(self._devices(), on_wait=on_wait)
        return self._company

    def _device(self) -> torch.device:
        return self._devices()[0]

    def _devices(self) -> list[torch.device]:
        """Those that work on one video, this process's own first."""
        import torch

        each = self._options.gpus_per_video
        if self._options.device != "auto":
            return [torch.device(self._options.device)] * each
        first, count = self._options.seat * each, torch.cuda.device_count()
        return [torch.device("cuda", (first + rank) % count) for rank in range(each)]

    def _current(self) -> AbstractContextManager[object]:
        """Meanwhile, this thread works on the device: kernels run on the current one, whatever their tensors say."""
        import torch

        device = self._device()
        return torch.cuda.device(device) if device.type == "cuda" else nullcontext()

    def _forget_if_idle(self) -> None:
        """Called when nothing has been asked for a while; work that has just begun goes on."""
        if self._working.acquire(blocking=False):
            try:
                log.info("models are unloaded", models=self.loaded, idle_seconds=self._options.idle_unload)
                self._forget()
            finally:
                self._working.release()

    def _forget(self) -> None:
        self._loaded.clear()
        if self._company is not None:
            self._company.close()
            self._company = None
        gc.collect()
        _empty_cache()

    @contextmanager
    def _told(self, wanted: Weights) -> Generator[None]:
        """What weights, memory and a GPU may do wrong, as a line for the owner and an answer for the caller."""
        model = wanted.model
        try:
            yield
        except CheckpointError as error:
            log.error("weights cannot be used", model=model, where=error.where, found=error.found, fix=error.remedy)
            raise AlgorithmError from error
        except CompanyBroken as error:
            fix = "the next video starts afresh; if it happens again, set KF2V_WAN_GPUS_PER_VIDEO=1"
            log.error("GPUs of one video do not work together", model=model, said=str(error), fix=fix)
            raise AlgorithmError from error
        except ApiError as error:
            if isinstance(error.__cause__, ArithmeticError):
                fix = f"see `kf2v models check {model}`; if they are sound, try KF2V_WAN_LINEAR=native"
                weights = [wanted.base, *wanted.experts, *(lora.file for lora in wanted.loras)]
                log.error("no picture came out", model=model, weights=weights, said=str(error.__cause__), fix=fix)
            raise
        except (Canceled, EngineUnavailable):
            raise
        except Exception as error:
            self._tell(error, model)
            raise

    def _tell(self, error: Exception, model: str) -> None:
        """Raises AlgorithmError where memory did not suffice, and ProcessRuined where no GPU is left to work with."""
        said = (str(error).splitlines() or [""])[0][:200]
        lacking = _lacking_memory(error)
        if lacking is not None:
            log.error("out of memory", model=model, of=lacking, said=said, fix=MORE_MEMORY[lacking])
            self._loaded.clear()  # what the error's own frames still hold goes with it; the next scene starts afresh
            raise AlgorithmError from error
        device = self._device()
        if not self._answers(device):
            fix = "this process ends and another takes its place; see what `nvidia-smi` and the kernel's log say"
            log.error("a GPU has failed", model=model, device=str(device), said=said, fix=fix)
            raise ProcessRuined(f"{device}: {said}") from error


class _Stopwatch:
    """A watch that also takes the time of every phase."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._phase, self._since = "", time.perf_counter()
        #: by phase, in the order they came
        self.seconds: dict[str, float] = {}

    def report(self, phase: str, done: float) -> None:
        if phase != self._phase:
            self.lap(phase)
        self._watch.report(phase, done)

    def note(self, text: str) -> None:
        self._watch.note(text)

    def show(self, preview: Frame) -> None:
        self._watch.show(preview)

    def lap(self, phase: str = "") -> None:
        """The phase that was has ended, and ``phase`` begins, if any."""
        now = time.perf_counter()
        if self._phase:
            self.seconds[self._phase] = round(self.seconds.get(self._phase, 0.0) + now - self._since, 3)
        self._phase, self._since = phase, now


class _Pause:
    """Calls ``then`` once nobody has held this for ``seconds``; never for 0. Its thread lives no longer than that."""

    def __init__(self, seconds: float, then: weakref.WeakMethod[Callable[[], None]]) -> None:
        self._seconds = seconds
        self._then = then
        self._held = 0
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    @contextmanager
    def held(self) -> Generator[None]:
        """There is work to do meanwhile."""
        with self._lock:
            self._held += 1
        self.end()
        try:
            yield
        finally:
            with self._lock:
                self._held -= 1
                if not self._held and self._seconds > 0:
                    self._start()

    def end(self) -> None:
        """Nothing will be called any more, until this was held again; its thread goes at once."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _start(self) -> None:
        self._timer = threading.Timer(self._seconds, _called, [self._then])
        self._timer.name, self._timer.daemon = "wan-idle", True
        self._timer.start()


def _called(method: weakref.WeakMethod[Callable[[], None]]) -> None:
    then = method()
    if then is not None:
        then()


def _plan(bundle: Bundle, options: Options, device: torch.device) -> Plan:
    """Where everything goes on ``device``, of which what is free counts, and what this process could give back."""
    memory = _to_be_had(device)
    planned = partial(choose, memory, bundle.family, distilled=bundle.distilled, native_1080p=options.native_1080p)
    if options.runtime == "diffusers":  # which knows neither eight bits nor offloading here
        return planned(wanted="fast" if bundle.distilled else "quality", eight_bits=False)
    return planned(wanted=options.profile, eight_bits=_eight_bits(options, device))


def _eight_bits(options: Options, device: torch.device) -> bool | None:
    """Whether matrices are to be in eight bits, as ``choose`` takes it: only where products of them work."""
    if options.linear == "native" or (device.type != "cuda" and options.linear == "auto"):
        return False
    from kf2v.engines.wan.ops import LinearKind, tried

    wanted = "fp8_row" if options.linear == "auto" else cast("LinearKind", options.linear)
    kind, passed = tried(wanted, device)
    if kind == "native":
        log.info("no matrices in eight bits", device=str(device), reasons=passed)
        return False
    return None if options.linear == "auto" else True


def _to_be_had(device: torch.device) -> int | None:
    """Bytes of ``device`` for a model that is alone in this process; None for a CPU."""
    import torch

    if device.type != "cuda":
        return None
    # what is free lacks CUDA's own share, which ``fits`` counts once more
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) + round(CONTEXT)


def _beside(plan: Plan, bundle: Bundle, options: Options, room: int | None) -> bool:
    """Whether there is room for one more model; where nobody knows, there is not."""
    need = needed(bundle.family, plan.placement, native_1080p=options.native_1080p)
    return room is not None and fits(need, room)


def _room(device: torch.device) -> int | None:
    """Bytes that are free, or only kept by torch."""
    import torch

    if device.type != "cuda":
        return None
    gc.collect()
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(device)[0]


def _peak(device: torch.device) -> dict[str, float]:
    """The most gigabytes that tensors took since this was asked before; nothing on a CPU."""
    import torch

    if device.type != "cuda":
        return {}
    most = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return {"peak_gigabytes": round(most / GB, 2)}


def _empty_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _answers(device: torch.device) -> bool:
    """Whether ``device`` still computes for this process, which after some errors it never does again."""
    import torch

    if device.type != "cuda":
        return True
    for _ in range(2):  # an error that passes is still reported once
        try:
            torch.ones(1, device=device).add_(1).item()
        except torch.OutOfMemoryError:
            return True
        except RuntimeError:
            continue
        return True
    return False


def _lacking_memory(error: Exception) -> Literal["gpu", "host"] | None:
    """Whose memory ran out: CUDA's, as torch, a kernel or cuBLAS says it, or the host's; None for other errors."""
    said = str(error).lower()
    if isinstance(error, MemoryError) or "can't allocate memory" in said:
        return "host"
    if not isinstance(error, RuntimeError):
        return None
    if type(error).__name__ == "OutOfMemoryError" or "out of memory" in said or "cublas_status_alloc_failed" in said:
        return "gpu"
    return None

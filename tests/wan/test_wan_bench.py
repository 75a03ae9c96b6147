"""What is measured on a GPU is walked here on tiny shapes; and both runtimes make the same latents of one film."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import torch
from bench.wan import __main__ as bench
from bench.wan import autoencoder, film
from bench.wan.card import Taken
from bench.wan.scale import FULL, TARGETS, TINY

from kf2v.cli import bench as command
from kf2v.cli import dispatch
from kf2v.cli.terminal import CommandFailed
from kf2v.engines import EngineUnavailable
from kf2v.engines.wan import limits, rehearsal, vae
from kf2v.engines.wan.checkpoint import CheckpointError
from kf2v.engines.wan.comparison import Comparison, Film, Stopwatch, apart, pictures, with_weights
from kf2v.engines.wan.family import A14B
from kf2v.engines.wan.flops import flops
from kf2v.engines.wan.profiles import Options
from kf2v.engines.wan.schedule import distilled
from kf2v.engines.wan.weights import Weights
from kf2v.errors import AlgorithmError
from kf2v.video import Size

CPU = torch.device("cpu")
SMALL = Film(size=Size(width=64, height=48), frames=9, prompt="a cat walks", seed=7, warm=False)


@pytest.mark.parametrize("family", ["flf2v_dir", "a14b_dir"])
@pytest.mark.parametrize("four", [True, False], ids=["distilled", "guided"])
def test_both_runtimes_make_the_same_latents(family: str, four: bool, request: pytest.FixtureRequest) -> None:
    weights = Weights(model="", base=str(request.getfixturevalue(family)), distilled=four)
    steps = None if four else 6
    options = Options(device="cpu")
    found = with_weights(weights, options, SMALL, runtimes=("native", "diffusers"), steps=steps)
    assert found.max_relative is not None
    assert found.max_relative <= 1e-5
    assert found.relative is not None
    assert found.relative <= 1e-5
    assert [run.runtime for run in found.runs] == ["native", "diffusers"]
    assert found.forwards == (4 if four else 12)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = dispatch(["bench", "wan", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KF2V_WAN_DEVICE", "cpu")
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("tiny")
def test_the_command_says_seconds_ratio_share_and_difference(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capsys, "--weights", "tiny", "--reference", "diffusers", "--cold", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert set(Comparison.__dataclass_fields__) < set(found)
    assert [set(run["stages"]) for run in found["runs"]] == [{"load", "encode", "denoise", "decode"}] * 2
    for run in found["runs"]:
        assert run["seconds"] == pytest.approx(sum(run["stages"].values()) - run["stages"]["load"])
        assert run["share_of_limit"] > 0
    assert found["ratio"] == found["runs"][1]["seconds"] / found["runs"][0]["seconds"]
    assert found["max_relative"] < 1e-5
    assert "native: loading" in err


@pytest.mark.usefixtures("tiny")
def test_the_command_without_a_reference_says_no_ratio_and_no_difference(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capsys, "--weights", "tiny", "--cold", "--quiet", "-m", "wan2.1-kf2v-plus")
    assert (code, err) == (0, "")
    assert "native" in out
    assert "times as long" not in out
    assert "no measure of speed" in out


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(("words", "schedule", "forwards"), [((), "unipc-50", 100), (("--steps", "3"), "unipc-3", 6)])
def test_random_weights_take_the_steps_of_the_variant_or_those_asked_for(
    words: tuple[str, ...], schedule: str, forwards: int, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ("--weights", "tiny", "--frames", "5", "--cold", "--json", "-q", "-m", "wan2.1-kf2v-plus", *words)
    code, out, err = told(capsys, *wanted)
    assert code == 0, err
    found = json.loads(out)
    assert (found["schedule"], found["forwards"]) == (schedule, forwards)


@pytest.mark.usefixtures("tiny")
def test_the_command_runs_on_the_owners_own_weights(
    capsys: pytest.CaptureFixture[str], flf2v_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"wan2.1-kf2v-plus": {"base": str(flf2v_dir), "distilled": True}}
    monkeypatch.setenv("KF2V_WAN_WEIGHTS", json.dumps(said))
    monkeypatch.setitem(film_sizes(), "480P", 64 * 48)
    wanted = ("-m", "wan2.1-kf2v-plus", "--reference", "diffusers", "--frames", "5", "--cold", "--json", "-q")
    code, out, err = told(capsys, *wanted)
    assert code == 0, err
    found = json.loads(out)
    assert (found["weights"], found["family"], found["frames"]) == ("own", "wan2.1-flf2v", 5)
    assert found["max_relative"] < 1e-5


def film_sizes() -> dict[str, int]:
    from kf2v.catalog.models import AREAS

    return AREAS


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--weights", "tiny", "--frames", "8"), 2, "4k + 1"),
        (("--weights", "random", "-r", "4K"), 2, "480P"),
        (("-m", "nobody"), 2, "none of"),
        (("--weights", "tiny", "-r", "999P"), 2, "tiny weights make 64x48"),
        (("--weights", "random", "-r", "999P"), 2, "not 999P"),
        (("--weights", "tiny", "--steps", "3"), 2, "are distilled"),
        ((), 1, "models pull"),
    ],
)
def test_what_the_command_cannot_do_it_says(
    arguments: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, out, err = told(capsys, *arguments)
    assert (found, out) == (code, "")
    assert said in err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (EngineUnavailable("No.", fix="Do."), "EngineUnavailable", "No."),
        (AlgorithmError(), "InternalError.Algo", "algorithm"),
        (CheckpointError("here", "is torn", "mend it"), "WeightsUnavailable", "here: is torn"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "OutOfMemory", "Tried"),
        (ValueError("4k + 1"), "Usage", "4k + 1"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_engine_says_against_it_becomes_a_sentence(error: Exception, code: str, said: str) -> None:
    with pytest.raises(CommandFailed, match=re.escape(said)) as failed, command._translated("m"):
        raise error
    assert failed.value.code == code


def test_one_expert_stands_for_both_in_diffusers_and_all_its_blocks_are_heard() -> None:
    model = rehearsal.diffused(A14B, distilled(A14B), sizes=TINY.sizes, device=CPU, dtype=torch.float32, share=True)
    assert model.stock.pipeline.transformer is model.stock.pipeline.transformer_2
    heard: list[float] = []

    class Notes(Stopwatch):
        def report(self, phase: str, done: float) -> None:
            if phase == "denoise":
                heard.append(done)

    model.latents(SMALL.scene, Notes(CPU), frames=9)
    assert heard == [count / 8 for count in range(9)]


@pytest.mark.parametrize("name", bench.STEPS)
def test_a_step_is_walked_and_what_it_found_can_be_kept(name: str) -> None:
    result = bench.run(name, TINY, CPU, commit="0123456789ab")
    kept = json.loads(json.dumps(result))
    assert kept["step"] == name
    assert kept["versions"]["commit"] == "0123456789ab"
    assert {"torch", "diffusers", "triton"} < set(kept["versions"])
    assert kept["machine"]["gpu"]["name"] == "none: the CPU"
    assert len(bench.table(result).splitlines()) > 2


#: what only pictures, encoders and films need: all that is installed here but PyTorch, Triton, NumPy and structlog
BEYOND = ("cv2", "PIL", "av", "diffusers", "transformers", "accelerate", "safetensors", "sentencepiece", "ftfy")


@pytest.mark.parametrize("name", ["roofline", "dit"])
def test_what_measures_the_transformer_alone_needs_structlog_and_numpy_beside_pytorch(name: str) -> None:
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({(*BEYOND, 'pydantic', 'huggingface_hub', 'typer')}))\n"
        "import torch\n"
        "from bench.wan import __main__ as bench\n"
        "from bench.wan.scale import TINY\n"
        f"bench.run({name!r}, TINY, torch.device('cpu'), commit='0')\n"
    )
    root = Path(__file__).parents[2]
    paths = {"PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root, env={**os.environ, **paths}
    )
    assert done.returncode == 0, done.stderr


def test_a_step_is_kept_under_its_name_its_size_and_its_commit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bench.one("roofline", TINY, CPU, commit="0123456789ab", into=tmp_path)
    assert file == tmp_path / "wan-roofline-tiny-0123456789ab.json"
    assert json.loads(file.read_text())["step"] == "roofline"
    assert f"written to {file}" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured_and_nothing_is_written(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.wan", "--only", "roofline", "--into", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == bench.NO_GPU
    assert "NOTHING WAS MEASURED" in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_that_it_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    bench.dry_run(["roofline"])
    out, _ = capsys.readouterr()
    assert out.startswith("DRY RUN")
    assert "nothing was written" in out.splitlines()[-1]


class AsOnAGpu(vae.Vae):
    """Weights and data with channels last, as on CUDA."""

    def _placed(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.dtype).contiguous(memory_format=torch.channels_last_3d)


def test_the_vae_computes_the_same_with_channels_last() -> None:
    plain = autoencoder_of_random_weights()
    laid_out = AsOnAGpu(rehearsal.vae(TINY.sizes, device=CPU, dtype=torch.float32), device=CPU, dtype=torch.float32)
    vae.channels_last(laid_out._model)
    weights = [weight for weight in laid_out._model.parameters() if weight.ndim > 3]
    assert {weight.is_contiguous() for weight in weights} == {True, False}
    latents = torch.randn(1, 16, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    shown = list(plain.decode(latents))
    for one, other in zip(shown, laid_out.decode(latents), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert torch.allclose(plain.encode(shown), laid_out.encode(shown), atol=1e-4)


def test_four_latents_at_a_time_decode_to_what_one_at_a_time_does() -> None:
    made = autoencoder_of_random_weights()
    latents = torch.randn(1, 16, 6, 6, 8, generator=torch.Generator().manual_seed(0))
    one, four = (torch.cat(list(autoencoder.decoded(made, latents, chunk)), dim=2) for chunk in (1, 4))
    assert torch.allclose(one, four, atol=1e-5)


def autoencoder_of_random_weights() -> vae.Vae:
    model = rehearsal.vae(TINY.sizes, device=CPU, dtype=torch.float32)
    return vae.Vae(model, device=CPU, dtype=torch.float32)


def test_what_is_encoded_is_footage_and_not_what_random_weights_decode_to() -> None:
    model = film.own(TINY, CPU)
    size = TINY.films["tiny"]
    reel = film.Reel(vae=model.vae, footage=film.footage(size, TINY.frames, model.vae))
    latents = torch.randn(1, 16, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    shown = torch.cat(list(reel.decode(latents)), dim=2)
    assert torch.equal(shown, reel.footage)
    assert (shown[:, :, 1:] - shown[:, :, :-1]).abs().mean() > 0.01, "it moves"


def test_a_forward_cannot_be_faster_than_its_products_and_its_attention() -> None:
    count = flops(FULL.shape, (21, 45, 80))
    plain = limits.least_seconds(count, linear="native", attention="cudnn", limits=limits.H100)
    coded = limits.least_seconds(count, linear="fp8_row", attention="cudnn_fp8", limits=limits.H100)
    assert plain == pytest.approx(count.forward / 790e12)
    assert plain > coded > count.forward / 1500e12
    assert coded == pytest.approx((count.linear + count.self_attention) / 1500e12, rel=0.02)
    # four steps at 720P take 33.0 and 17.4 seconds at least
    assert 4 * plain == pytest.approx(33.0, rel=0.01)
    assert 4 * coded == pytest.approx(17.4, rel=0.02)


def test_a_measured_limit_is_what_a_product_reaches() -> None:
    assert set(limits.measured(CPU)) == {"fp32"}
    assert 1e8 < limits.measured(CPU)["fp32"] < 1e14


def test_what_is_told_of_runs_follows_from_their_seconds() -> None:
    taken = Taken.of([0.5, 0.2, 0.25])
    row = taken.told(1e12, 8e12)
    assert (row["ms"], row["ms_least"], row["ms_most"], row["rounds"]) == (250, 200, 500, 3)
    assert (row["tflops"], row["share"]) == (4, 0.5)


@pytest.mark.parametrize(
    ("seconds", "runs"), [(5.0, 2 + 5), (28.0, 2 + 5), (40.0, 1 + 4), (70.0, 1 + 1), (300.0, 1 + 1)]
)
def test_films_are_made_as_often_as_patience_lasts(seconds: float, runs: int) -> None:
    made = []

    def work() -> dict[str, float]:
        made.append(seconds)
        return {"denoise": seconds - 1, "decode": 1.0}

    counted = film.repeated(work, torch.device("cuda"), patience=200)
    assert len(made) == runs
    assert film.summed(counted)["seconds"] == seconds


def test_differences_are_relative_to_the_second() -> None:
    assert apart(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])) == pytest.approx((0.5, 2 / 17**0.5))


def test_the_pictures_of_a_film_are_alike_and_not_the_same() -> None:
    first, last = pictures(Size(width=320, height=192))
    assert first.shape == last.shape == (192, 320, 3)
    assert 2 < abs(first.astype(float) - last).mean() < 100


def test_every_tier_has_a_target_and_a_count_of_the_vaes_work() -> None:
    assert set(FULL.films) == set(TARGETS) == set(autoencoder.FLOPS) == set(film.PEER)


def test_a_wheel_list_stays_under_what_may_be_carried() -> None:
    """Sizes in MB beside each wheel: what has to travel to a machine with PyTorch and no network."""
    lines = (Path(bench.__file__).parent / "wheels.txt").read_text().splitlines()
    rows = [line.split("#") for line in lines if line and not line.startswith("#")]
    assert all("==" in wheel for wheel, _ in rows)
    assert sum(float(size) for _, size in rows) < 64

"""Weights are fetched from a real HTTP server that speaks the hub's API, through broken connections and to the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kf2v.engines.wan.weights import CATALOGUE, Row
from wan import layouts
from wan.hub import COMMIT, Hub, open_hub

ROOT = Path(__file__).parents[2]
BASE = "Wan-AI/Wan2.2-I2V-A14B-Diffusers"
EXPERTS = "lightx2v/Wan2.2-Distill-Models"
MODEL = "wan2.2-kf2v-flash"

#: a file of a size that breaking in it makes sense: huggingface_hub writes 10 MB at a time
LARGE = "text_encoder/model.safetensors"
CHUNK = 10 << 20

#: takes up part files from one byte on, instead of 64 MB
EAGER = """
import sys
from kf2v.engines.wan import pull
plain = pull.fetch
pull.fetch = lambda plans, tell: plain(plans, tell, worth_resuming=1)
from kf2v.cli import main
sys.argv = ["kf2v", *sys.argv[1:]]
main()
"""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Owner:
    """Somebody with an empty cache, who asks ``hub``."""

    hub: Hub
    home: Path

    def kf2v(self, *words: str, eager: bool = False, **environment: str) -> Ran:
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        kept = {name: value for name, value in kept.items() if not name.startswith(("HF_", "KF2V_"))}
        told = {
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(self.home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
            "HOME": str(self.home),
        }
        program = ["-c", EAGER] if eager else ["-m", "kf2v"]
        done = subprocess.run(
            [sys.executable, *program, *words],
            env={**kept, **told, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=self.home,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def blobs(self, pattern: str) -> list[Path]:
        return sorted(self.home.glob(f"hub/models--*/blobs/{pattern}"))


@pytest.fixture
def hub(a14b_dir: Path, flf2v_dir: Path) -> Iterator[Hub]:
    """Both bases, and tiny experts under the names of the real ones."""
    with open_hub() as opened:
        opened.hold(BASE, a14b_dir)
        opened.hold("Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers", flf2v_dir)
        opened.hold(EXPERTS, a14b_dir)
        held = opened.repositories[EXPERTS].files
        held.clear()
        held["README.md"] = b"not needed"
        for name, folder in zip(
            experts_of(CATALOGUE[f"{MODEL}:distilled"]), ("transformer", "transformer_2"), strict=True
        ):
            held[name] = (a14b_dir / folder / layouts.WEIGHTS).read_bytes()
        yield opened


@pytest.fixture
def owner(hub: Hub, tmp_path: Path) -> Owner:
    return Owner(hub, tmp_path)


def experts_of(row: Row) -> list[str]:
    return [expert.partition(":")[2] for expert in row.weights.experts]


def answer(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_a_pull_fetches_what_is_needed_and_nothing_else_and_check_and_list_find_it(
    owner: Owner, a14b_dir: Path
) -> None:
    ran = owner.kf2v("models", "pull", MODEL)
    assert ran.code == 0, ran.err
    assert "community practice" in ran.err
    assert "licence apache-2.0" in ran.err
    folders = [Path(line) for line in ran.out.splitlines()]
    assert [folder.name for folder in folders] == [COMMIT, COMMIT]
    fetched = {str(path.relative_to(folders[0])) for path in folders[0].rglob("*") if path.is_file()}
    assert "transformer/config.json" in fetched
    assert not any(name.startswith("transformer") and name.endswith(".safetensors") for name in fetched)
    assert {"text_encoder/model.safetensors", "vae/diffusion_pytorch_model.safetensors", "model_index.json"} <= fetched
    assert {path.name for path in folders[1].iterdir()} == set(experts_of(CATALOGUE[f"{MODEL}:distilled"]))
    for name in fetched:
        assert (folders[0] / name).read_bytes() == (a14b_dir / name).read_bytes()

    checked = answer(owner.kf2v("models", "check", MODEL, "--quick", "--json"))
    assert checked == {"ok": True, "values": False, "checks": [{"weights": f"{MODEL}:distilled", "ok": True}]}
    listed = {each["name"]: each["here"] for each in answer(owner.kf2v("models", "list", "--json"))["weights"]}
    assert listed[f"{MODEL}:distilled"] == "yes"
    assert listed[f"{MODEL}:distilled-fp8"] == "in part"
    assert listed["wan2.1-kf2v-plus:full"] == "no"


def test_what_is_here_is_not_fetched_again_and_offline_is_honoured(owner: Owner) -> None:
    told = answer(owner.kf2v("models", "pull", "wan2.1-kf2v-plus", "--json"))
    assert [each["licence"] for each in told["repositories"]] == ["apache-2.0"]
    assert told["repositories"][0]["bytes"] > 100_000
    owner.hub.asked.clear()
    ran = owner.kf2v("models", "pull", "wan2.1-kf2v-plus")
    assert "all here" in ran.err
    assert ran.code == 0
    assert [path for method, path, _ in owner.hub.asked if method == "GET" and "/resolve/" in path] == []
    owner.hub.asked.clear()
    ran = owner.kf2v("models", "pull", "wan2.1-kf2v-plus", HF_HUB_OFFLINE="1")
    assert (ran.code, owner.hub.asked) == (6, [])
    assert "HF_HUB_OFFLINE is set" in ran.err


def test_a_repository_that_only_the_settings_know_is_fetched_and_checked(owner: Owner, a14b_dir: Path) -> None:
    owner.hub.hold("someone/finetune", a14b_dir)
    owner.hub.repositories["someone/finetune"].files["assets/film.mp4"] = b"not needed"
    said = {"KF2V_WAN_WEIGHTS": json.dumps({MODEL: "someone/finetune"})}
    ran = owner.kf2v("models", "check", MODEL, "--quick", **said)
    assert f"has not been fetched; fetch it: kf2v models pull {MODEL}" in ran.out
    told = answer(owner.kf2v("models", "pull", MODEL, "--json", **said))
    assert [each["repository"] for each in told["repositories"]] == ["someone/finetune"]
    assert not (Path(told["repositories"][0]["path"]) / "assets").exists()
    assert owner.kf2v("models", "check", MODEL, "--quick", **said).code == 0
    whole = answer(owner.kf2v("models", "pull", "someone/finetune", "--json"))
    assert (Path(whole["repositories"][0]["path"]) / "assets/film.mp4").read_bytes() == b"not needed"
    ran = owner.kf2v("models", "pull", "someone/finetune:none.safetensors")
    assert (ran.code, "someone/finetune has no none.safetensors" in ran.err) == (1, True)


@pytest.fixture
def large(hub: Hub) -> bytes:
    """What is in the large file."""
    content = hub.repositories[BASE].files[LARGE] = os.urandom(2 * CHUNK + 5)
    return content


def test_a_connection_that_breaks_is_taken_up_where_it_broke(owner: Owner, large: bytes) -> None:
    owner.hub.breaks[LARGE] = [CHUNK + 1000, 1000]
    ran = owner.kf2v("models", "pull", MODEL)
    assert ran.code == 0, ran.err
    assert owner.hub.ranges(LARGE) == ["", f"bytes={CHUNK}-", f"bytes={CHUNK}-"]
    assert (Path(ran.out.splitlines()[0]) / LARGE).read_bytes() == large


def test_a_pull_that_gave_up_goes_on_where_it_stopped_when_it_is_run_again(owner: Owner, large: bytes) -> None:
    owner.hub.breaks[LARGE] = [CHUNK + 1000, *[0] * 6]
    ran = owner.kf2v("models", "pull", MODEL, eager=True)
    assert ran.code == 6, ran.err
    assert "NetworkError" in ran.err
    assert "what is here is kept" in ran.err
    (part,) = owner.blobs("*.kf2v-part")
    assert part.stat().st_size == CHUNK
    whole = part.read_bytes()

    part.write_bytes(b"\0" * CHUNK)  # what belongs to another file is noticed at the end
    ran = owner.kf2v("models", "pull", MODEL, eager=True)
    assert ran.code == 1
    assert "changed while it was fetched" in ran.err
    assert owner.blobs("*.kf2v-part") == []

    part.write_bytes(whole)
    owner.hub.asked.clear()
    ran = owner.kf2v("models", "pull", MODEL, eager=True)
    assert ran.code == 0, ran.err
    assert owner.hub.ranges(LARGE) == [f"bytes={CHUNK}-"]
    assert owner.hub.ranges("model_index.json") == []
    assert (Path(ran.out.splitlines()[0]) / LARGE).read_bytes() == large
    assert owner.blobs("*.kf2v-part") == []


def test_no_network_is_said_with_the_address(owner: Owner) -> None:
    ran = owner.kf2v("models", "pull", MODEL, HF_ENDPOINT="http://127.0.0.1:9")
    assert ran.code == 6
    assert "NetworkError: http://127.0.0.1:9 cannot be reached" in ran.err
    assert "fix: check the network" in ran.err
    assert "Traceback" not in ran.err


def test_a_repository_that_is_not_there_is_named(owner: Owner) -> None:
    del owner.hub.repositories[EXPERTS]
    ran = owner.kf2v("models", "pull", MODEL)
    assert ran.code == 1
    assert f"{owner.hub.url} has no {EXPERTS}, or shows it only to others" in ran.err


def test_a_file_that_was_taken_away_is_named(owner: Owner) -> None:
    high, _ = experts_of(CATALOGUE[f"{MODEL}:distilled"])
    del owner.hub.repositories[EXPERTS].files[high]
    ran = owner.kf2v("models", "pull", MODEL)
    assert ran.code == 1
    assert f"{EXPERTS} has no {high}" in ran.err


def test_a_gated_repository_says_where_its_terms_are_and_a_token_opens_it(owner: Owner) -> None:
    owner.hub.repositories[BASE].gated = True
    ran = owner.kf2v("models", "pull", MODEL)
    assert ran.code == 3
    assert f"{BASE} is gated" in ran.err
    assert f"accept its terms at {owner.hub.url}/{BASE}" in ran.err
    assert owner.kf2v("models", "pull", MODEL, HF_TOKEN="hf_abc").code == 0


@pytest.mark.parametrize("status", [500, 403])
def test_a_hub_that_refuses_is_quoted(owner: Owner, status: int) -> None:
    owner.hub.down = status
    ran = owner.kf2v("models", "pull", MODEL)
    assert ran.code == (3 if status == 403 else 1), ran.err
    assert f"answered {status} for {BASE}" in ran.err
    assert "Traceback" not in ran.err


def test_a_disk_that_is_too_small_is_noticed_before_anything_is_fetched(owner: Owner) -> None:
    high, _ = experts_of(CATALOGUE[f"{MODEL}:distilled"])
    owner.hub.claimed[high] = 10**15
    ran = owner.kf2v("models", "pull", MODEL)
    assert ran.code == 1
    assert "1000000.0 GB are to come" in ran.err
    assert "set HF_HOME to a larger disk" in ran.err
    assert [path for method, path, _ in owner.hub.asked if method == "GET" and "/resolve/" in path] == []


def test_a_cache_that_cannot_be_written_is_named(owner: Owner) -> None:
    (owner.home / "hub").write_text("a file where the cache should be")
    ran = owner.kf2v("models", "pull", MODEL)
    assert ran.code == 1
    assert f"{owner.home / 'hub'} cannot be written" in ran.err
    assert "fix: set HF_HOME to a place of yours" in ran.err


def test_a_hub_that_falls_silent_in_between_is_a_matter_of_the_network(owner: Owner) -> None:
    owner.hub.silent.add("tokenizer/tokenizer.json")
    ran = owner.kf2v("models", "pull", MODEL)
    assert ran.code == 6, ran.err
    assert f"{owner.hub.url} cannot be reached" in ran.err
    assert "Traceback" not in ran.err

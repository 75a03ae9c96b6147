"""Linear layers and attention in fewer bits against the reference, at real widths with few tokens."""

from __future__ import annotations

import gc
import logging
import math
import sys
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kf2v.engines.wan.checkpoint import Scaled
from kf2v.engines.wan.ops import Ops, Rows, Unusable, Weights, linear
from kf2v.engines.wan.ops.attention import Chain, Cudnn, CudnnFp8, Sdpa, attention, cast_in_torch, coded, emulated_fp8
from kf2v.engines.wan.ops.linear import E4M3, apply, dense, pack, quantised, quantised_rows
from kf2v.engines.wan.ops.norm import TorchNorms
from wan.drawn import DrawnSource, drawn_block_shape
from wan.test_wan_dit import HeldSource


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def alike(found: Tensor, expected: Tensor) -> float:
    return F.cosine_similarity(found.float().flatten(), expected.float().flatten(), dim=0).item()


def apart(found: Tensor, expected: Tensor) -> float:
    return ((found.float() - expected.float()).norm() / expected.float().norm()).item()


def layer(outputs: int, inputs: int, *, seed: int = 1) -> dict[str, Tensor | Scaled]:
    return {"a.weight": numbers(outputs, inputs, seed=seed) / inputs**0.5, "a.bias": numbers(outputs, seed=seed + 1)}


def packed(tensors: dict[str, Tensor | Scaled], names: list[str], kind: linear.LinearKind) -> Weights:
    return pack(HeldSource(tensors), names, kind, dtype=torch.bfloat16, device="cpu")


@pytest.mark.parametrize(("kind", "least"), [("native", 0.9999), ("fp8_row", 0.999), ("fp8_tensor", 0.999)])
@pytest.mark.parametrize(("outputs", "inputs"), [(1280, 5120), (640, 13824)], ids=["attention", "ffn"])
def test_a_layer_of_real_width_points_where_it_should(
    kind: linear.LinearKind, least: float, outputs: int, inputs: int
) -> None:
    """All input channels, a quarter or less of the outputs, 32 tokens of which some are a hundred times louder."""
    tensors = layer(outputs, inputs)
    x = numbers(32, inputs, seed=5) * torch.logspace(0, 2, 32)[:, None]
    expected = F.linear(x, tensors["a.weight"], tensors["a.bias"])  # type: ignore[arg-type]
    found = apply(x.bfloat16(), packed(tensors, ["a"], kind), torch.bfloat16)
    assert found.dtype == torch.bfloat16
    assert alike(found, expected) >= least


def test_scales_by_row_keep_quiet_tokens_that_one_scale_would_lose() -> None:
    tensors = layer(64, 256)
    x = numbers(32, 256) * torch.logspace(-4, 2, 32)[:, None]
    expected = F.linear(x, tensors["a.weight"])  # type: ignore[arg-type]
    found = {}
    for kind in ("fp8_row", "fp8_tensor"):
        weights = packed(tensors, ["a"], kind)
        found[kind] = apply(x, Weights(weights.weight, weights.scale, None), torch.float32)
    assert alike(found["fp8_row"][0], expected[0]) >= 0.99
    assert alike(found["fp8_tensor"][0], expected[0]) < 0.99


def test_rows_quantised_elsewhere_give_what_rows_quantised_here_give() -> None:
    weights, x = packed(layer(64, 128), ["a"], "fp8_row"), numbers(32, 128, dtype=torch.bfloat16)
    here, there = apply(x, weights, torch.bfloat16), apply(quantised_rows(x), weights, torch.bfloat16)
    assert torch.equal(here, there)


def test_rows_meet_any_kind_of_weights() -> None:
    tensors, x = layer(64, 128), numbers(32, 128, dtype=torch.bfloat16)
    expected = F.linear(x.float(), tensors["a.weight"], tensors["a.bias"])  # type: ignore[arg-type]
    for kind in ("native", "fp8_row", "fp8_tensor"):
        assert alike(apply(quantised_rows(x), packed(tensors, ["a"], kind), torch.bfloat16), expected) >= 0.999


def test_zeros_stay_zeros() -> None:
    assert torch.equal(quantised_rows(torch.zeros(2, 16)).dequantised(torch.float32), torch.zeros(2, 16))
    values, scale = quantised(torch.zeros(2, 16))
    assert torch.equal(values.float() * scale, torch.zeros(2, 16))


def scaled(outputs: int, inputs: int, scale: Tensor, *, seed: int = 3) -> Scaled:
    return Scaled((numbers(outputs, inputs, seed=seed) * 50).clamp(-448, 448).to(E4M3), scale)


@pytest.mark.parametrize("scale", [torch.tensor(0.02), torch.rand(64, 1) + 0.01], ids=["one", "by row"])
@pytest.mark.parametrize("kind", ["fp8_row", "fp8_tensor"])
def test_fp8_weights_of_a_checkpoint_are_multiplied_as_they_are(kind: linear.LinearKind, scale: Tensor) -> None:
    held = scaled(64, 128, scale)
    weights = packed({"a.weight": held, "a.bias": numbers(64)}, ["a"], kind)
    assert torch.equal(weights.weight.float(), held.values.float())
    assert weights.scale is not None
    assert torch.equal(weights.scale.reshape(-1, 1).expand(64, 1), scale.reshape(-1, 1).expand(64, 1))
    x = numbers(32, 128, dtype=torch.bfloat16)
    expected = F.linear(x.float(), held.dequantised(torch.float32), numbers(64))
    assert alike(apply(x, weights, torch.bfloat16), expected) >= 0.999


def test_one_scale_for_a_whole_matrix_stays_one_scale() -> None:
    weights = packed({"a.weight": scaled(64, 128, torch.tensor(0.02)), "a.bias": numbers(64)}, ["a"], "fp8_tensor")
    assert weights.scale is not None
    assert weights.scale.shape == ()


@pytest.mark.parametrize("kind", ["fp8_row", "fp8_tensor"])
def test_fused_layers_with_a_scale_each_keep_them(kind: linear.LinearKind) -> None:
    held = {f"{name}.weight": scaled(32, 64, torch.tensor(s), seed=i) for i, (name, s) in enumerate(SCALES)}
    biases = {f"{name}.bias": numbers(32, seed=9) for name, _ in SCALES}
    weights = packed({**held, **biases}, ["q", "k", "v"], kind)
    assert torch.equal(weights.weight.float(), torch.cat([h.values.float() for h in held.values()]))
    assert weights.scale is not None
    assert weights.scale.flatten().tolist() == pytest.approx([s for _, s in SCALES for _ in range(32)])


SCALES = (("q", 0.01), ("k", 0.02), ("v", 0.03))


def test_fp8_weights_become_plain_numbers_where_the_machine_has_no_fp8() -> None:
    held = scaled(64, 128, torch.tensor(0.02))
    weights = packed({"a.weight": held, "a.bias": numbers(64)}, ["a"], "native")
    assert weights.scale is None
    assert torch.equal(weights.weight, held.dequantised(torch.bfloat16))


@pytest.mark.parametrize("shape", [(60, 64), (64, 60)])
def test_sides_that_fp8_cannot_take_stay_plain(shape: tuple[int, int]) -> None:
    assert packed(layer(*shape), ["a"], "fp8_row").scale is None


@pytest.mark.parametrize("kind", ["native", "fp8_row", "fp8_tensor"])
def test_fused_layers_are_the_layers_side_by_side(kind: linear.LinearKind) -> None:
    source = DrawnSource(drawn_block_shape(heads=1, ffn=64), seed=2)
    names = [f"blocks.0.attn1.to_{which}" for which in "qkv"]
    x = numbers(16, 128)
    fused = apply(x, pack(source, names, kind, dtype=torch.float32, device="cpu"), torch.float32)
    apart_ = [apply(x, pack(source, [n], kind, dtype=torch.float32, device="cpu"), torch.float32) for n in names]
    assert apart(fused, torch.cat(apart_, dim=1)) <= (1e-6 if kind != "fp8_tensor" else 0.04)


class Watched:
    """A source whose readings say whether earlier ones are still there."""

    where = "watched"

    def __init__(self) -> None:
        self._read: list[weakref.ref[Tensor]] = []
        self.most = 0

    def shape(self, name: str) -> tuple[int, ...]:
        return (64, 64) if name.endswith("weight") else (64,)

    def read(self, name: str, device: str = "cpu") -> Tensor:
        made = torch.ones(self.shape(name))
        if name.endswith("weight"):
            gc.collect()
            self._read.append(weakref.ref(made))
            self.most = max(self.most, sum(ref() is not None for ref in self._read))
        return made


@pytest.mark.parametrize("kind", ["native", "fp8_row"])
def test_of_fused_layers_only_one_is_there_twice(kind: linear.LinearKind) -> None:
    source = Watched()
    pack(source, ["q", "k", "v"], kind, dtype=torch.float32, device="cpu")  # type: ignore[arg-type]
    assert source.most == 1


TOKENS, HEADS = 320, 2


def heads(seed: int, *, read: int = TOKENS, shared: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v of real head size; ``shared`` is what all keys have in common, as trained ones do."""
    q, k, v = (numbers(n, HEADS, 128, seed=seed + i) for i, n in enumerate((TOKENS, read, read)))
    return q, k + shared * numbers(1, HEADS, 128, seed=seed + 9), v


def plainly(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The definition, in fp64."""
    query, key, value = (x.double().transpose(0, 1) for x in (q, k, v))
    out = torch.softmax(query @ key.transpose(1, 2) / math.sqrt(q.shape[-1]), dim=-1) @ value
    return out.transpose(0, 1).flatten(-2).float()


@pytest.mark.parametrize("read", [TOKENS, 512])
def test_attention_is_what_it_is_defined_as(read: int) -> None:
    q, k, v = heads(1, read=read)
    assert apart(Sdpa()(q, k, v), plainly(q, k, v)) <= 1e-5


@pytest.mark.parametrize("shared", [0.0, 10.0])
@pytest.mark.parametrize("fp8_output", [True, False])
def test_fp8_attention_points_where_attention_does(shared: float, fp8_output: bool) -> None:
    q, k, v = heads(2, shared=shared)
    found = dense(emulated_fp8(q, k, v, fp8_output=fp8_output), torch.float32)
    assert alike(found, plainly(q, k, v)) >= 0.99


def test_smoothing_keys_is_what_saves_them() -> None:
    """With much in common among keys, fp8 without smoothing loses what tells them apart."""
    q, k, v = heads(2, shared=30.0)

    def unsmoothed(x: Tensor, mean: Tensor | None, descale: Tensor) -> Tensor:
        return cast_in_torch(x, None, x.abs().amax() / 448)

    from kf2v.engines.wan.ops.attention import _emulated

    smooth = _emulated(coded(q, k, v), q.dtype, fp8_output=False)
    scale = k.abs().amax() / 448
    rough = coded(q, k, v, unsmoothed)
    rough = type(rough)(rough.q, rough.k, rough.v, rough.q_descale, scale.reshape(1, 1, 1, 1), rough.v_descale)
    lost = _emulated(rough, q.dtype, fp8_output=False)
    assert alike(dense(smooth, torch.float32), plainly(q, k, v)) >= 0.99
    assert alike(dense(lost, torch.float32), plainly(q, k, v)) < 0.97


def test_a_machine_without_a_card_gets_torchs_attention_and_the_reasons() -> None:
    found, passed = attention("cudnn_fp8", "cpu")
    assert found.name == "sdpa"
    assert [reason.split(":")[0] for reason in passed] == ["cudnn_fp8", "flash", "cudnn"]


class Choosy:
    """An attention for videos of some lengths only."""

    name = "cudnn_fp8"

    def __init__(self, *lengths: int) -> None:
        self._lengths = lengths
        self.asked: list[int] = []

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        self.asked.append(len(q))
        if len(q) not in self._lengths:
            raise Unusable("no plan for this shape")
        return Sdpa()(q, k, v)


def test_a_shape_that_is_refused_goes_to_the_next_and_others_stay(caplog: pytest.LogCaptureFixture) -> None:
    choosy = Choosy(320)
    chain: Any = Chain([choosy, Sdpa()])  # type: ignore[list-item]
    q, k, v = heads(3)
    for length in (320, 64, 64, 320):
        assert torch.equal(chain(q[:length], k, v), Sdpa()(q[:length], k, v))
    assert choosy.asked == [320, 64, 320]
    assert caplog.messages == ["attention of 64×2×128 to 320×2×128: not cudnn_fp8: no plan for this shape; now sdpa"]


def test_the_last_of_a_chain_says_why_there_is_nothing() -> None:
    chain: Any = Chain([Choosy()])  # type: ignore[list-item]
    with pytest.raises(Unusable, match="no plan"):
        chain(*heads(3))


def test_a_cpu_gets_the_reference_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        ops = Ops.best("cpu")
    assert (ops.linear, ops.attend.name, ops.cross.name, ops.norms.name) == ("native", "sdpa", "sdpa", "torch")
    assert caplog.messages == ["operations on cpu: linear native, attention sdpa, norms torch"]


@pytest.mark.parametrize("kind", ["native", "fp8_row", "fp8_tensor"])
def test_what_is_asked_for_is_taken(kind: linear.LinearKind) -> None:
    ops = Ops.best("cpu", linear=kind, attention="emulated_fp8", norm="torch")
    assert (ops.linear, ops.attend.name, ops.norms.name) == (kind, "emulated_fp8", "torch")


def test_what_cannot_be_had_is_named_with_the_reason() -> None:
    ops = Ops.best("cpu", attention="cudnn_fp8", norm="triton")
    assert (ops.attend.name, ops.norms.name) == ("sdpa", "torch")
    assert "cudnn_fp8: cuDNN needs an NVIDIA card, not cpu" in str(ops)
    assert "triton: " in str(ops)


class CudnnInTorch(TorchDispatchMode):
    """torch's operator for cuDNN, as if there were one here; notes which kernels others may use meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed: list[bool] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.ops.aten._scaled_dot_product_cudnn_attention.default:
            return func(*args, **(kwargs or {}))
        self.allowed += [torch.backends.cuda.math_sdp_enabled(), torch.backends.cuda.flash_sdp_enabled()]
        out = F.scaled_dot_product_attention(*args[:3])
        kept = torch.empty(0)
        return out, kept, kept, kept, 24, 24, kept, kept, kept


def test_cudnn_is_asked_without_forbidding_others_their_kernels() -> None:
    """torch's choice among kernels is one for all threads, and the VAE attends in another one."""
    q, k, v = numbers(3 * 24, 4, 64, dtype=torch.bfloat16).chunk(3)
    with CudnnInTorch() as machine:
        found = Cudnn()(q, k, v)
    assert machine.allowed == [True, True]
    assert alike(found, Sdpa()(q, k, v)) > 0.9999
    assert found.shape == (24, 256)


def test_cudnn_where_there_is_none_is_unusable() -> None:
    q = numbers(24, 4, 64, dtype=torch.bfloat16)
    for each in (q, q.float()):
        with pytest.raises(Unusable):
            Cudnn()(each, each, each)


class Wrong(TorchNorms):
    """Does one operation wrongly, as a miscompiled kernel would."""

    name = "triton"

    def __init__(self, operation: str, *, rows: bool = False) -> None:
        def spoiled(*args: Any, **kwargs: Any) -> Any:
            made = getattr(TorchNorms, operation)(self, *args, **kwargs)
            if kwargs.get("rows", False) != rows:
                return made
            first, *others = made if isinstance(made, tuple) else (made,)
            bad = Rows(first.values, first.scale * 1.5) if isinstance(first, Rows) else first * 1.5
            return (bad, *others) if others else bad

        setattr(self, operation, spoiled)


@pytest.mark.parametrize("operation", ["turned", "rms", "rows", "steered", "modulated", "gelu", "added"])
@pytest.mark.parametrize("rows", [False, True])
def test_a_fused_norm_that_is_wrong_is_not_trusted(operation: str, rows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows and operation in ("modulated", "gelu", "added")
    kernels = SimpleNamespace(TritonNorms=lambda: Wrong(operation, rows=rows))
    monkeypatch.setitem(sys.modules, "kf2v.engines.wan.ops.kernels", kernels)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    ops = Ops.best("cpu", attention="sdpa", norm="triton")
    assert ops.norms.name == "torch"
    assert f"on a trial {operation}" in str(ops)


def test_fused_norms_that_are_right_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Right(TorchNorms):
        name = "triton"

    monkeypatch.setitem(sys.modules, "kf2v.engines.wan.ops.kernels", SimpleNamespace(TritonNorms=Right))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert Ops.best("cpu", attention="sdpa", norm="triton").norms.name == "triton"


class Frontend:
    """A double of the package ``cudnn``: takes down the graph it is told and runs it in torch.

    Refuses what Hopper's kernel refuses, as far as its documentation says.
    """

    class data_type:
        FP8_E4M3, FLOAT, BFLOAT16 = "e4m3", "fp32", "bf16"

    class heur_mode:
        A, FALLBACK = "A", "FALLBACK"

    def __init__(self, *, refuse: str = "", old: bool = False) -> None:
        self.refuse, self.old = refuse, old
        self.handles = 0
        self.streams: list[int] = []
        self.graphs: list[Graph] = []

    def create_handle(self) -> str:
        self.handles += 1
        return "handle"

    def set_stream(self, *, handle: str, stream: int) -> None:
        assert handle == "handle"
        self.streams.append(stream)

    def pygraph(self, **kinds: object) -> Graph:
        assert kinds["intermediate_data_type"] == kinds["compute_data_type"] == "fp32"
        self.graphs.append(Graph(self))
        return self.graphs[-1]


class Node:
    """One tensor of a graph."""

    def __init__(self, name: str, **facts: object) -> None:
        self.name, self.facts = name, facts
        self.output = False

    def set_output(self, value: bool) -> Node:
        self.output = value
        return self

    def set_dim(self, dim: list[int]) -> Node:
        self.facts["dim"] = dim
        return self

    def set_stride(self, stride: list[int]) -> Node:
        self.facts["stride"] = stride
        return self

    def set_data_type(self, kind: str) -> Node:
        self.facts["data_type"] = kind
        return self


DTYPES = {"e4m3": E4M3, "fp32": torch.float32, "bf16": torch.bfloat16}


class Graph:
    """One attention."""

    def __init__(self, frontend: Frontend) -> None:
        self.frontend = frontend
        self.built: list[str] = []
        self.runs = 0

    def tensor(self, *, name: str, **facts: object) -> Node:
        return Node(name, **facts)

    def sdpa_fp8(self, **arguments: Any) -> tuple[Node, ...]:
        said = "is_inference" if self.frontend.old else "generate_stats"
        if said not in arguments:
            raise TypeError("unexpected keyword")
        assert arguments.pop(said) is self.frontend.old
        assert not arguments.pop("use_causal_mask")
        self.arguments = arguments
        self.out, self.s_most, self.o_most = Node("o"), Node("amax_s"), Node("amax_o")
        return self.out, Node("stats"), self.s_most, self.o_most

    def validate(self) -> None:
        assert self.out.output

    def build_operation_graph(self) -> None:
        self.built.append("graph")

    def create_execution_plans(self, modes: list[str]) -> None:
        self.built.append("plans")

    def check_support(self) -> None:
        if self.frontend.refuse:
            raise ValueError(self.frontend.refuse)

    def build_plans(self) -> None:
        self.built.append("built")

    def get_workspace_size(self) -> int:
        return 0

    def execute(self, pack: dict[Node, Tensor], workspace: Tensor, *, handle: str) -> None:
        """softmax(q·kᵀ·descale)·v with e4m3 probabilities, into the tensor given for the output."""
        self.runs += 1
        assert self.built == ["graph", "plans", "built"]
        for node, tensor in pack.items():
            dims: Any = node.facts["dim"]
            strides: Any = node.facts["stride"]
            assert list(tensor.shape) == list(dims)
            assert tensor.numel() == 1 or list(tensor.stride()) == list(strides)
            assert tensor.dtype == DTYPES[str(node.facts["data_type"])]
        bound = {key: pack[node] for key, node in self.arguments.items() if isinstance(node, Node)}
        q, k, v = (bound[key].double() * bound[f"descale_{key}"].double() for key in "qkv")
        scores = q @ k.transpose(2, 3) * self.arguments["attn_scale"]
        weights = torch.exp(scores - scores.amax(dim=-1, keepdim=True))
        rounded = (weights * bound["scale_s"]).float().to(E4M3).double() * bound["descale_s"]
        out = rounded @ v / weights.sum(dim=-1, keepdim=True)
        pack[self.out].copy_((out * bound["scale_o"]).float().clamp(-448, 448).to(pack[self.out].dtype))


def on_double(frontend: Frontend, *, fp8_output: bool = True, stream: Callable[[], int] = lambda: 5) -> CudnnFp8:
    return CudnnFp8(frontend, torch.device("cpu"), fp8_output=fp8_output, stream=stream, cast=cast_in_torch)


@pytest.mark.parametrize("fp8_output", [True, False], ids=["hopper", "blackwell"])
@pytest.mark.parametrize("old", [True, False], ids=["before 1.13", "since 1.13"])
def test_the_graph_for_cudnn_computes_attention(fp8_output: bool, old: bool) -> None:
    frontend = Frontend(old=old)
    attend = on_double(frontend, fp8_output=fp8_output)
    qkv = numbers(TOKENS, 3, HEADS, 128, seed=6, dtype=torch.bfloat16)
    q, k, v = qkv.unbind(1)
    found = attend(q, k, v)
    assert isinstance(found, Rows) == fp8_output
    assert alike(dense(found, torch.float32), plainly(q, k, v)) >= 0.99
    assert apart(dense(found, torch.float32), dense(emulated_fp8(q, k, v, fp8_output=fp8_output), torch.float32)) < 0.02


def test_a_graph_is_built_once_for_each_shape_and_run_on_the_stream_of_the_moment() -> None:
    frontend, stream = Frontend(), iter(range(10, 20))
    attend = on_double(frontend, stream=lambda: next(stream))
    for read in (TOKENS, 64, TOKENS):
        q, k, v = (x.bfloat16() for x in heads(7, read=read))
        attend(q, k, v)
    assert [graph.runs for graph in frontend.graphs] == [2, 1]
    assert frontend.handles == 1
    assert frontend.streams == [10, 11, 12, 13, 14]


def test_a_shape_that_cudnn_refuses_is_said_with_its_reason() -> None:
    attend = on_double(Frontend(refuse="sdpa fp8 forward: s_q must be a multiple of 128"))
    q, k, v = (x.bfloat16() for x in heads(8))
    with pytest.raises(Unusable, match="multiple of 128"):
        attend(q, k, v)


def test_fp8_attention_is_not_for_fp32() -> None:
    with pytest.raises(Unusable, match="float32"):
        on_double(Frontend())(*heads(8))


def test_the_largest_outputs_of_fp8_attention_are_not_cut_off() -> None:
    """Queries that each read one key alone: outputs as large as values get."""
    q, k, v = (x.bfloat16() for x in heads(9))
    k = q * 8
    found = dense(emulated_fp8(q, k, v), torch.float32)
    assert alike(found, plainly(q, k, v)) >= 0.99
    assert found.abs().max() >= 0.93 * plainly(q, k, v).abs().max()

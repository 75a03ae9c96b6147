"""Attention over all pairs of tokens, in the variants a machine may offer, each tried before it is trusted.

Knows no model: queries, keys and values come as [tokens, heads, head_dim], of one batch, without a mask.

None of the GPU variants has been run on a GPU yet; the fp8 one is checked against :func:`emulated_fp8` where it can
be, and every variant must agree with torch's own on a small problem before it is used.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from kf2v.engines.wan.ops.linear import E4M3, E4M3_MAX, TINY, Activations, Rows, dense

log = logging.getLogger(__name__)

AttentionName: TypeAlias = Literal["sdpa", "cudnn", "cudnn_fp8", "emulated_fp8", "flash", "sage"]

#: what is tried instead, in this order, when a variant cannot be had
FALLBACKS: Mapping[AttentionName, tuple[AttentionName, ...]] = {
    "cudnn_fp8": ("flash", "cudnn", "sdpa"),
    "flash": ("cudnn", "sdpa"),
    "sage": ("flash", "cudnn", "sdpa"),
    "cudnn": ("sdpa",),
    "emulated_fp8": (),
    "sdpa": (),
}

#: probabilities lie in 0 … 1: the largest power of two that e4m3 can hold spreads them best
P_SCALE = 256.0
#: an output is a mean of values, so the values' own scale would do; half of it leaves room for rounded probabilities
O_MARGIN = 0.5
#: how alike a variant and torch's own must be on the trial problem, as a cosine
TRIAL_COSINE = 0.99


class Unusable(Exception):
    """This variant cannot be had here, or not for these shapes; the message says why."""


class Attention(Protocol):
    """Softmax(q·kᵀ / sqrt(D))·v."""

    @property
    def name(self) -> AttentionName: ...

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Activations:
        """q [L, N, D], k and v [S, N, D] of one dtype → [L, N·D] in that dtype, or in fp8 where the hardware writes
        that (``linear.apply`` takes both). Raises Unusable.
        """
        ...


class Sdpa:
    """Torch's own choice of kernel; runs anywhere."""

    name: AttentionName = "sdpa"

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return _sdpa(q, k, v)


class Cudnn:
    """cuDNN's kernel in bf16 or fp16, through torch.

    Called by its own name: ``sdpa_kernel`` would choose it for all threads of the process, of which others attend
    meanwhile to what it cannot do.
    """

    name: AttentionName = "cudnn"

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if q.dtype not in (torch.bfloat16, torch.float16):
            raise Unusable(f"cuDNN's attention is for bf16 and fp16, not {q.dtype}")
        query, key, value = (_four(x) for x in (q, k, v))  # [1, N, L, D]
        try:
            attend = torch.ops.aten._scaled_dot_product_cudnn_attention
            out = attend(query, key, value, None, False)[0]  # no bias, and nothing kept for a way back
            return out[0].transpose(0, 1).flatten(-2)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise Unusable(f"torch has no cuDNN attention for this: {_first_line(error)}") from error


class Flash:
    """FlashAttention 3 (``flash_attn_interface``) or 2 (``flash_attn``), whichever is installed."""

    name: AttentionName = "flash"

    def __init__(self) -> None:
        module = next((m for m in ("flash_attn_interface", "flash_attn") if importlib.util.find_spec(m)), None)
        if module is None:
            raise Unusable("neither flash_attn_interface nor flash_attn is installed")
        self._attend: Callable[..., Any] = importlib.import_module(module).flash_attn_func

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = self._attend(q[None], k[None], v[None])
        return (out[0] if isinstance(out, tuple) else out)[0].flatten(-2)


class Sage:
    """SageAttention, whichever version is installed."""

    name: AttentionName = "sage"

    def __init__(self) -> None:
        if importlib.util.find_spec("sageattention") is None:
            raise Unusable("sageattention is not installed")
        self._attend: Callable[..., Tensor] = importlib.import_module("sageattention").sageattn

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self._attend(q[None], k[None], v[None], tensor_layout="NHD", is_causal=False)[0].flatten(-2)


@dataclass(frozen=True, slots=True)
class Coded:
    """Queries, keys and values in fp8, each with one scale for all of its numbers (x ≈ coded · descale)."""

    #: [L, N, D] e4m3 each
    q: Tensor
    k: Tensor
    v: Tensor
    #: [1, 1, 1, 1] fp32 each
    q_descale: Tensor
    k_descale: Tensor
    v_descale: Tensor

    @property
    def o_scale(self) -> Tensor:
        return O_MARGIN / self.v_descale


#: (x [L, N, D], its mean [N, D] fp32 to take away or None, descale []) → e4m3 [L, N, D]
Cast: TypeAlias = Callable[[Tensor, Tensor | None, Tensor], Tensor]


def cast_in_torch(x: Tensor, mean: Tensor | None, descale: Tensor) -> Tensor:
    """The reference: in fp32, rounded once."""
    less = x.float() if mean is None else x.float() - mean
    return (less / descale).clamp(-E4M3_MAX, E4M3_MAX).to(E4M3)


def coded(q: Tensor, k: Tensor, v: Tensor, cast: Cast = cast_in_torch) -> Coded:
    """Quantise for fp8 attention; keys lose their mean over tokens first.

    The same is taken from every score of a query, which softmax does not see, and what all keys share no longer
    costs digits of fp8 (SageAttention, arXiv 2410.02367, section 4.2).
    """
    mean = k.mean(dim=0, dtype=torch.float32)  # [N, D]
    low, high = torch.aminmax(k, dim=0)
    descales = [_descale(torch.linalg.vector_norm(x, float("inf"))) for x in (q, v)]
    descales.insert(1, _descale(torch.maximum(high.float() - mean, mean - low.float()).amax()))
    q8, k8, v8 = (cast(x, m, d) for x, m, d in zip((q, k, v), (None, mean, None), descales, strict=True))
    return Coded(q8, k8, v8, *(d.reshape(1, 1, 1, 1) for d in descales))


def emulated_fp8(q: Tensor, k: Tensor, v: Tensor, *, fp8_output: bool = True) -> Activations:
    """What fp8 attention computes, in fp32 with e4m3 rounding wherever the hardware rounds.

    ``fp8_output`` is Hopper's kernel, which can only write e4m3; Blackwell's writes bf16.
    """
    return _emulated(coded(q, k, v), q.dtype, fp8_output=fp8_output)


def _emulated(c: Coded, dtype: torch.dtype, *, fp8_output: bool) -> Activations:
    query, key, value = (x.float().transpose(0, 1) for x in (c.q, c.k, c.v))  # [N, L, D]
    scores = query @ key.transpose(1, 2) * (c.q_descale * c.k_descale / math.sqrt(query.shape[-1])).reshape(())
    weights = torch.exp(scores - scores.amax(dim=-1, keepdim=True))  # 0 … 1, not yet divided by their sum
    total = weights.sum(dim=-1, keepdim=True)
    rounded = (weights * P_SCALE).to(E4M3).float() / P_SCALE
    out = (rounded @ value * c.v_descale.reshape(()) / total).transpose(0, 1).flatten(-2)  # [L, N·D]
    if not fp8_output:
        return out.to(dtype)
    scaled = (out * c.o_scale.reshape(())).clamp(-E4M3_MAX, E4M3_MAX).to(E4M3)
    return _as_rows(scaled, c.o_scale)


def _as_rows(out: Tensor, o_scale: Tensor) -> Rows:
    """out [L, N·D] e4m3 with one scale, as a linear layer takes it: no digit is rounded a second time."""
    return Rows(out, (1 / o_scale).reshape(1, 1).expand(len(out), 1).contiguous())


class EmulatedFp8:
    """fp8 attention without the hardware: slow, for tests."""

    name: AttentionName = "emulated_fp8"

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Activations:
        return emulated_fp8(q, k, v)


class CudnnFp8:
    """cuDNN's fp8 attention through ``nvidia-cudnn-frontend``'s graphs. Not run on a GPU yet.

    A graph is built once per shape. Hopper's kernel writes e4m3 only, Blackwell's also bf16. Front end 1.32 with
    cuDNN 9.28, told of an H100 that was not there, took these graphs at every size from 480P to 1080P up to the
    loading of the kernel, and refused bf16 outputs on it and anything on an Ada card.
    """

    name: AttentionName = "cudnn_fp8"

    def __init__(
        self, frontend: Any, device: torch.device, *, fp8_output: bool, stream: Callable[[], int], cast: Cast
    ) -> None:
        """``frontend`` is the package ``cudnn``; ``stream`` gives the handle of the stream to work on."""
        self._cudnn, self._device, self._fp8_output = frontend, device, fp8_output
        self._stream, self._cast = stream, cast
        self._handle: Any = None
        self._plans: dict[tuple[object, ...], _Plan] = {}
        self._p_scale = torch.full((1, 1, 1, 1), P_SCALE, dtype=torch.float32, device=device)
        self._p_descale = 1 / self._p_scale
        self._one = torch.ones_like(self._p_scale)

    @classmethod
    def on(cls, device: torch.device) -> CudnnFp8:
        """Raises Unusable where the card or the package is missing."""
        if device.type != "cuda" or torch.version.hip is not None:
            raise Unusable(f"cuDNN needs an NVIDIA card, not {device.type}")
        major = torch.cuda.get_device_capability(device)[0]
        if major < 9:
            raise Unusable("fp8 attention needs Hopper (compute capability 9.0) or newer")
        try:
            frontend = importlib.import_module("cudnn")
        except (ImportError, OSError) as error:
            raise Unusable(f"no nvidia-cudnn-frontend: {_first_line(error)}") from error
        return cls(
            frontend,
            device,
            fp8_output=major < 10,
            stream=lambda: torch.cuda.current_stream(device).cuda_stream,
            cast=_fused_cast() or cast_in_torch,
        )

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Activations:
        if q.dtype not in (torch.bfloat16, torch.float16):
            raise Unusable(f"fp8 attention is for bf16 and fp16, not {q.dtype}")
        plan = self._plan(q.shape, k.shape)
        c = coded(q, k, v, self._cast)
        out = torch.empty(q.shape, dtype=E4M3 if self._fp8_output else torch.bfloat16, device=q.device)
        o_scale = c.o_scale if self._fp8_output else self._one
        scales = (c.q_descale, c.k_descale, c.v_descale, self._p_descale, self._p_scale, o_scale)
        plan.run(self._handle_on_this_stream(), (_four(c.q), _four(c.k), _four(c.v)), scales, _four(out))
        flat = out.flatten(-2)
        return _as_rows(flat, o_scale) if self._fp8_output else flat.to(q.dtype)

    def _plan(self, q: torch.Size, k: torch.Size) -> _Plan:
        key = (tuple(q), tuple(k))
        if key not in self._plans:
            out = E4M3 if self._fp8_output else torch.bfloat16
            try:
                self._plans[key] = _Plan(self._cudnn, self._handle_on_this_stream(), q, k, out, self._device)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # the frontend raises classes of its own
                raise Unusable(f"cuDNN builds no fp8 attention for {key}: {_first_line(error)}") from error
        return self._plans[key]

    def _handle_on_this_stream(self) -> Any:
        if self._handle is None:
            self._handle = self._cudnn.create_handle()
        self._cudnn.set_stream(handle=self._handle, stream=self._stream())
        return self._handle


def _fused_cast() -> Cast | None:
    if importlib.util.find_spec("triton") is None:
        return None
    from kf2v.engines.wan.ops.kernels import cast_tokens

    return cast_tokens


class _Plan:
    """A built graph of one fp8 attention."""

    def __init__(
        self, cudnn: Any, handle: Any, q: torch.Size, k: torch.Size, out: torch.dtype, device: torch.device
    ) -> None:
        kind = cudnn.data_type
        graph = cudnn.pygraph(
            io_data_type=kind.FP8_E4M3,
            intermediate_data_type=kind.FLOAT,
            compute_data_type=kind.FLOAT,
            handle=handle,
        )
        self._inputs = [
            graph.tensor(name=name, dim=dims, stride=strides, data_type=kind.FP8_E4M3)
            for name, (dims, strides) in zip("qkv", (_heads_first(q), _heads_first(k), _heads_first(k)), strict=True)
        ]
        names = ("q_descale", "k_descale", "v_descale", "p_descale", "p_scale", "o_scale")
        one = {"dim": [1, 1, 1, 1], "stride": [1, 1, 1, 1], "data_type": kind.FLOAT}
        self._scales = [graph.tensor(name=name, **one) for name in names]
        attend = graph.sdpa_fp8
        arguments = dict(
            zip(("descale_q", "descale_k", "descale_v", "descale_s", "scale_s", "scale_o"), self._scales, strict=True)
        )
        arguments |= dict(zip("qkv", self._inputs, strict=True))
        arguments |= {"attn_scale": 1 / math.sqrt(q[-1]), "use_causal_mask": False, "name": "attention"}
        try:
            output, _, p_most, o_most = attend(**arguments, generate_stats=False)
        except TypeError:  # before 1.13 the same was said the other way round
            output, _, p_most, o_most = attend(**arguments, is_inference=True)
        dims, strides = _heads_first(q)
        output.set_output(True).set_dim(dims).set_stride(strides)
        output.set_data_type(kind.FP8_E4M3 if out == E4M3 else kind.BFLOAT16)
        for most in (p_most, o_most):
            most.set_output(True).set_dim([1, 1, 1, 1]).set_stride([1, 1, 1, 1]).set_data_type(kind.FLOAT)
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        graph.check_support()
        graph.build_plans()
        self._graph, self._output, self._most = graph, output, (p_most, o_most)
        self._workspace = torch.empty(max(1, graph.get_workspace_size()), dtype=torch.uint8, device=device)
        self._ignored = [torch.empty(1, 1, 1, 1, dtype=torch.float32, device=device) for _ in self._most]

    def run(self, handle: Any, inputs: tuple[Tensor, ...], scales: tuple[Tensor, ...], out: Tensor) -> None:
        bound = dict(zip(self._inputs, inputs, strict=True)) | dict(zip(self._scales, scales, strict=True))
        bound |= dict(zip(self._most, self._ignored, strict=True))
        self._graph.execute(bound | {self._output: out}, self._workspace, handle=handle)


class Chain:
    """The first of several variants that can be had, and for shapes that one refuses, the next."""

    def __init__(self, variants: Sequence[Attention]) -> None:
        self._variants = tuple(variants)
        #: which variant a shape has come down to
        self._reached: dict[tuple[torch.Size, torch.Size], int] = {}

    @property
    def name(self) -> AttentionName:
        """Of the first."""
        return self._variants[0].name

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Activations:
        shapes = (q.shape, k.shape)
        while True:
            at = self._reached.get(shapes, 0)
            try:
                return self._variants[at](q, k, v)
            except Unusable as why:
                if at + 1 == len(self._variants):
                    raise
                self._reached[shapes] = at + 1
                gone, other = self._variants[at].name, self._variants[at + 1].name
                log.warning("attention of %s: not %s: %s; now %s", _said(shapes), gone, why, other)


def attention(name: AttentionName, device: torch.device | str) -> tuple[Attention, tuple[str, ...]]:
    """``name``, or what comes nearest to it on ``device``; and why others were passed over.

    Raises Unusable when there is nothing (never for ``sdpa``).
    """
    device = torch.device(device)
    found: list[Attention] = []
    passed: list[str] = []
    for candidate in (name, *FALLBACKS[name]):
        try:
            variant = _BUILDERS[candidate](device)
            _try(variant, device)
            found.append(variant)
        except Unusable as why:
            passed.append(f"{candidate}: {why}")
    if not found:
        raise Unusable("; ".join(passed))
    for reason in passed:
        log.info("attention without %s", reason)
    return (Chain(found) if len(found) > 1 else found[0]), tuple(passed)


def _cudnn(device: torch.device) -> Attention:
    if device.type != "cuda" or torch.version.hip is not None:
        raise Unusable(f"cuDNN needs an NVIDIA card, not {device.type}")
    return Cudnn()


def _on_cuda(device: torch.device, build: Callable[[], Attention]) -> Attention:
    if device.type != "cuda":
        raise Unusable(f"needs a CUDA device, not {device.type}")
    try:
        return build()
    except (ImportError, OSError, AttributeError) as error:  # installed, but for another torch
        raise Unusable(f"cannot be imported: {_first_line(error)}") from error


_BUILDERS: Mapping[AttentionName, Callable[[torch.device], Attention]] = {
    "sdpa": lambda _: Sdpa(),
    "cudnn": _cudnn,
    "cudnn_fp8": CudnnFp8.on,
    "emulated_fp8": lambda _: EmulatedFp8(),
    "flash": lambda device: _on_cuda(device, Flash),
    "sage": lambda device: _on_cuda(device, Sage),
}


def _try(variant: Attention, device: torch.device) -> None:
    """Raises Unusable unless ``variant`` does a small problem as torch does."""
    if device.type != "cuda":
        return
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(384, 2, 128, generator=generator).to(device, torch.bfloat16) for _ in range(3))
    try:
        found, expected = dense(variant(q, k, v), torch.float32), _sdpa(q, k, v).float()
        alike = F.cosine_similarity(found.flatten(), expected.flatten(), dim=0).item()
    except (torch.OutOfMemoryError, Unusable):
        raise
    except Exception as error:  # whatever a foreign library raises
        raise Unusable(f"the trial failed: {_first_line(error)}") from error
    if not alike >= TRIAL_COSINE:
        raise Unusable(f"on a trial its result is wrong (cosine {alike:.4f})")


def _sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    query, key, value = (x.transpose(0, 1)[None] for x in (q, k, v))  # [1, N, L, D]
    return F.scaled_dot_product_attention(query, key, value)[0].transpose(0, 1).flatten(-2)


def _descale(most: Tensor) -> Tensor:
    return most.float().clamp_min(TINY) / E4M3_MAX


def _four(x: Tensor) -> Tensor:
    """[L, N, D] as cuDNN's [1, N, L, D], moving nothing, with the strides of :func:`_heads_first`."""
    return x[None].transpose(1, 2)


def _heads_first(shape: torch.Size) -> tuple[list[int], list[int]]:
    tokens, heads, channels = shape
    return [1, heads, tokens, channels], [tokens * heads * channels, channels, heads * channels, 1]


def _said(shapes: tuple[torch.Size, torch.Size]) -> str:
    return " to ".join("×".join(map(str, shape)) for shape in shapes)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"

"""What a take may cost: the owner's options, the profiles, where everything lies, and which of it suits a card.

Knows no torch and no files. Every number is computed from the models' sizes; none was measured on a GPU yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from kf2v.engines.wan.family import Family

GB = 1_000_000_000

ProfileName: TypeAlias = Literal["fast", "quality", "low-vram"]
#: ``wan`` stretches pictures to the square that CLIP sees, as Wan was trained; ``diffusers`` crops it from the middle
Framing: TypeAlias = Literal["wan", "diffusers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the owner decides about this engine."""

    #: ``auto`` goes by the card's memory and the weights
    profile: Literal["auto"] | ProfileName = "auto"
    #: ``auto`` is the GPU of this seat; ``cuda:1`` a certain one; ``cpu`` works and takes hours
    device: str = "auto"
    #: which of the server's workers this is, from 0: with ``auto`` GPU ``seat`` modulo the number of GPUs is its own
    seat: int = 0
    #: GPUs that work together on every video: with ``auto`` those from ``seat`` times as many on; more than one cannot
    #: be had with a certain GPU or the stock pipeline. On a CPU, as many processes
    gpus_per_video: int = 1
    #: whose forward and loop: kf2v's own, or diffusers' stock pipeline
    runtime: Literal["native", "diffusers"] = "native"
    #: generate 1080P at that size: 4.2 times the work, and larger than anything the models were trained on
    native_1080p: bool = False
    #: whether what the ends lack in colour fades over many frames
    colour: bool = True
    #: seconds without work after which memory is given back; 0: never
    idle_unload: float = 0.0
    #: variants by the names of ``ops``; ``auto`` is the fastest that the card has
    linear: str = "auto"
    attention: str = "auto"
    norm: str = "auto"
    #: how CLIP sees pictures that are no squares
    clip: Framing = "wan"
    #: frames of a take, 4k + 1; anything but 81 is for tests
    frames: int = 81


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where weights lie while a take is made."""

    name: str
    #: the transformers' matrices in eight bits instead of sixteen
    eight_bits: bool
    #: umT5 on the GPU (else it works on the CPU, for seconds)
    text_on_gpu: bool
    #: blocks wait in the host's memory and come one by one
    offload: bool


#: from what computes best to what needs least
PLACEMENTS: tuple[Placement, ...] = (
    Placement(name="bf16", eight_bits=False, text_on_gpu=True, offload=False),
    Placement(name="fp8", eight_bits=True, text_on_gpu=True, offload=False),
    Placement(name="fp8, umT5 on the CPU", eight_bits=True, text_on_gpu=False, offload=False),
    Placement(name="fp8, blocks offloaded", eight_bits=True, text_on_gpu=False, offload=True),
    Placement(name="bf16, blocks offloaded", eight_bits=False, text_on_gpu=False, offload=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the owner wants more of."""

    name: ProfileName
    #: the kind of weights it is meant for: taught to need four steps, or Wan's own; None: either
    distilled: bool | None
    #: the names of the placements it may use, the best first
    placements: tuple[str, ...]
    #: attention and matrices as exact as the weights, even where eight bits would be faster
    exact: bool
    sentence: str


_WHOLE = ("fp8", "fp8, umT5 on the CPU", "bf16")
_OFFLOADED = ("fp8, blocks offloaded", "bf16, blocks offloaded")

PROFILES: dict[ProfileName, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            name="fast",
            distilled=True,
            placements=_WHOLE,
            exact=False,
            sentence="four steps with distilled weights, eight bits, everything in the GPU's memory",
        ),
        Profile(
            name="quality",
            distilled=False,
            placements=("bf16", "fp8", "fp8, umT5 on the CPU"),
            exact=True,
            sentence="Wan's own 40 or 50 steps with guidance, sixteen bits where they fit",
        ),
        Profile(
            name="low-vram",
            distilled=None,
            placements=_OFFLOADED,
            exact=False,
            sentence="blocks come from the host's memory one by one, umT5 works on the CPU",
        ),
    )
}

#: bytes beyond what the formula counts: CUDA's own context, and a tenth for an allocator's gaps
CONTEXT, GAPS = 0.6 * GB, 1.1

#: umT5-xxl's encoder 5.681 B, CLIP ViT-H 0.632 B, VAE 0.127 B, two bytes each
TEXT_BYTES, CLIP_BYTES, VAE_BYTES = 11.36 * GB, 1.26 * GB, 0.25 * GB
#: what a forward of 75,600 tokens (720P) holds at once: about eight tensors of tokens x 5120 in bf16, 0.77 GB each. The
#: VAE's 3 to 5 GB come later and reuse it
ACTIVATION_BYTES = 6 * GB
#: the same at 1080P as it is: 2.25 times the tokens, and half as much again for the VAE, whose pictures grow as well
NATIVE_1080P_BYTES = 20 * GB
#: blocks of each transformer in the GPU's memory at once when they are offloaded: the one at work, the one on its way,
#: and as much again for what never leaves
BLOCKS_AT_ONCE = 3


def needed(family: Family, placement: Placement, *, native_1080p: bool = False) -> int:
    """Bytes of GPU memory for a take at 720P, or at 1080P as it is, computed; with a negative prompt to keep from."""
    shape = family.shape
    each = shape.parameters * (1 if placement.eight_bits else 2)
    experts = family.experts * (each / shape.layers * BLOCKS_AT_ONCE if placement.offload else each)
    text_tokens, image_tokens = 512, shape.image_tokens or 0
    read = 2 * text_tokens + image_tokens  # two prompts, which share the pictures
    contexts = family.experts * shape.layers * 2 * read * shape.width * 2
    encoders = VAE_BYTES + (CLIP_BYTES if family.clip else 0) + (TEXT_BYTES if placement.text_on_gpu else 0)
    return round(experts + contexts + encoders + (NATIVE_1080P_BYTES if native_1080p else ACTIVATION_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How takes of one family are made on one card."""

    profile: Profile
    placement: Placement
    #: why, for people
    sentence: str


def choose(
    memory: int | None,
    family: Family,
    *,
    distilled: bool,
    wanted: Literal["auto"] | ProfileName = "auto",
    eight_bits: bool | None = None,
    native_1080p: bool = False,
) -> Plan:
    """The plan for a card with ``memory`` bytes to be had; None is a CPU.

    ``eight_bits`` True or False: only placements with matrices in eight bits, or in sixteen; None: whatever fits.
    ``wanted`` is a profile's name, which is taken whatever it takes, or ``auto``: the weights' own, if it fits, else
    ``low-vram``.
    """
    if memory is None:
        profile = PROFILES[_own(distilled=distilled) if wanted == "auto" else wanted]
        sentence = f"{profile.name} for {family.id} on the CPU{_unless_meant(profile, family, distilled=distilled)}"
        return Plan(profile=profile, placement=_placement("bf16"), sentence=sentence)
    need = partial(needed, native_1080p=native_1080p)
    plan = partial(_plan, family=family, memory=memory, distilled=distilled, native_1080p=native_1080p)
    candidates: tuple[ProfileName, ...] = (_own(distilled=distilled), "low-vram") if wanted == "auto" else (wanted,)
    for name in candidates:
        profile = PROFILES[name]
        for placement in _possible(profile, eight_bits=eight_bits):
            if fits(need(family, placement), memory):
                return plan(profile, placement)
    profile = PROFILES[candidates[-1]]
    return plan(profile, min(_possible(profile, eight_bits=eight_bits), key=partial(need, family)))


def _plan(
    profile: Profile, placement: Placement, *, family: Family, memory: int, distilled: bool, native_1080p: bool
) -> Plan:
    need, size = needed(family, placement, native_1080p=native_1080p), "1080P" if native_1080p else "720P"
    verdict = "which fits" if fits(need, memory) else "which may not fit"
    sentence = (
        f"{profile.name} for {family.id}: {placement.name}, computed {need / GB:.0f} GB at {size} "
        f"of the card's {memory / GB:.0f} GB, {verdict}{_unless_meant(profile, family, distilled=distilled)}"
    )
    return Plan(profile=profile, placement=placement, sentence=sentence)


def _unless_meant(profile: Profile, family: Family, *, distilled: bool) -> str:
    """A word to whoever asked for a profile that these weights cannot follow: how many steps, they say."""
    if profile.distilled is None or profile.distilled == distilled:
        return ""
    kind, steps = ("distilled", 4) if distilled else ("not distilled", family.steps)
    return f"; its weights are {kind}, so it takes {steps} steps all the same"


def fits(need: int, memory: int) -> bool:
    """Whether ``memory`` bytes suffice for a computed ``need``, gaps and CUDA's own included."""
    return need * GAPS + CONTEXT <= memory


def _own(*, distilled: bool) -> ProfileName:
    """The profile that weights of this kind are meant for."""
    return "fast" if distilled else "quality"


def _possible(profile: Profile, *, eight_bits: bool | None) -> list[Placement]:
    """The profile's placements with such matrices, the best first."""
    placements = [_placement(name) for name in profile.placements]
    return [placement for placement in placements if eight_bits in (None, placement.eight_bits)]


def _placement(name: str) -> Placement:
    return next(placement for placement in PLACEMENTS if placement.name == name)

"""Text encoder, image encoder and VAE of a bundle, whichever layout it has, as transformers' and diffusers' modules."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kf2v.engines.wan.checkpoint import encoders
from kf2v.engines.wan.checkpoint.files import STEM, weights_in
from kf2v.engines.wan.checkpoint.header import read_header
from kf2v.engines.wan.checkpoint.structure import listed
from kf2v.engines.wan.checkpoint.torch_file import read_torch_file
from kf2v.engines.wan.checkpoint.values import ailment_of
from kf2v.engines.wan.fault import CheckpointError

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKLWan
    from torch import Tensor
    from transformers import CLIPVisionModel, UMT5EncoderModel

    from kf2v.engines.wan.checkpoint.bundle import Bundle

#: Wan's own names of these files
TEXT_FILE = "models_t5_umt5-xxl-enc-bf16.pth"
VAE_FILE = "Wan2.1_VAE.pth"
IMAGE_FILE = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
TOKENIZER_FOLDER = "google/umt5-xxl"

#: what transformers calls a model's weights
WEIGHTS = "model"

#: published files have the embedding under one of these names, or under both
EMBEDDINGS = ("shared.weight", "encoder.embed_tokens.weight")

FETCH = "fetch it again: kf2v models pull"


def tokenizer(bundle: Bundle) -> Any:
    """umT5's. Raises CheckpointError."""
    from transformers import AutoTokenizer

    folder = bundle.base / ("tokenizer" if bundle.layout == "diffusers" else TOKENIZER_FOLDER)
    if not folder.is_dir():
        raise CheckpointError(folder, "is not there", FETCH)
    return _translated(folder, lambda: AutoTokenizer.from_pretrained(folder, local_files_only=True))


def text_encoder(bundle: Bundle, dtype: torch.dtype) -> UMT5EncoderModel:
    """umT5, ready to use on the CPU. Raises CheckpointError, also if it reads other embeddings than were loaded.

    Early 5.x versions of transformers left them at zero (transformers #43880, #43992).
    """
    from transformers import UMT5Config, UMT5EncoderModel

    if bundle.layout == "diffusers":
        folder = bundle.base / "text_encoder"
        model = _pretrained(UMT5EncoderModel, folder, dtype)
    else:
        folder = bundle.base / TEXT_FILE
        model = _converted(folder, encoders.text_tensors, encoders.text_config, UMT5EncoderModel, UMT5Config, dtype)
    shared, used = model.shared.weight, model.encoder.embed_tokens.weight
    if used is not shared:
        raise CheckpointError(folder, "was loaded with an embedding apart from its own", "use transformers>=5.2")
    if ailment := ailment_of(used.detach()):
        raise CheckpointError(folder, f"its token embedding {ailment}", FETCH)
    return model.eval()


def image_encoder(bundle: Bundle, dtype: torch.dtype) -> CLIPVisionModel:
    """CLIP's visual half, ready to use on the CPU. Raises CheckpointError."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    if bundle.layout == "diffusers":
        return _pretrained(CLIPVisionModel, bundle.base / "image_encoder", dtype).eval()
    path = bundle.base / IMAGE_FILE
    return _converted(
        path, encoders.image_tensors, encoders.image_config, CLIPVisionModel, CLIPVisionConfig, dtype
    ).eval()


def vae(bundle: Bundle, dtype: torch.dtype) -> AutoencoderKLWan:
    """The VAE, ready to use on the CPU. Raises CheckpointError."""
    from diffusers import AutoencoderKLWan

    if bundle.layout == "diffusers":
        folder = bundle.base / "vae"
        _check_files(folder, STEM)
        model, told = _translated(
            folder,
            lambda: AutoencoderKLWan.from_pretrained(
                folder, torch_dtype=dtype, local_files_only=True, output_loading_info=True
            ),
        )
        _complete(folder, told)
        return model.eval()
    path = bundle.base / VAE_FILE
    theirs = read_torch_file(path)
    ours, config = _named(path, lambda: (encoders.vae_tensors(theirs), encoders.vae_config(theirs)))
    model = _translated(path, lambda: AutoencoderKLWan(**config))
    told = _translated(path, lambda: model.load_state_dict(ours, strict=False))
    _complete(path, {"missing_keys": [*told.missing_keys, *told.unexpected_keys], "mismatched_keys": ()})
    return model.to(dtype).eval()


def present(bundle: Bundle) -> None:
    """Whether the files of encoders and VAE are there and whole. Needs no torch. Raises CheckpointError."""
    for path in _needed(bundle):
        if path.suffix == ".pth":
            if not path.is_file():
                raise CheckpointError(path, "is not there", FETCH)
        elif not path.is_dir() or not any(path.iterdir()):
            raise CheckpointError(path, "is not there" if not path.exists() else "is empty", FETCH)
        elif path.name in ("text_encoder", "image_encoder"):
            _check_files(path, WEIGHTS)
        elif path.name == "vae":
            _check_files(path, STEM)


def ailing_components(bundle: Bundle) -> list[str]:
    """What is wrong with encoders and VAE, each loaded once."""
    import torch

    loads: list[Callable[[], Any]] = [
        lambda: tokenizer(bundle),
        lambda: text_encoder(bundle, torch.bfloat16),
        lambda: vae(bundle, torch.float32),
    ]
    if bundle.family.clip:
        loads.append(lambda: image_encoder(bundle, torch.bfloat16))
    faults: list[str] = []
    for load in loads:
        try:
            loaded = load()
            faults += [f"{type(loaded).__name__}: {fault}" for fault in _ailing(loaded)]
        except CheckpointError as error:
            faults.append(f"{error.where}: {error.found}")
    return faults


def _needed(bundle: Bundle) -> Iterator[Path]:
    if bundle.layout == "diffusers":
        names = ("text_encoder", "tokenizer", "vae", *(("image_encoder",) if bundle.family.clip else ()))
    else:
        names = (TEXT_FILE, TOKENIZER_FOLDER, VAE_FILE, *((IMAGE_FILE,) if bundle.family.clip else ()))
    for name in names:
        yield bundle.base / name


def _ailing(loaded: Any) -> Iterator[str]:
    for name, parameter in getattr(loaded, "named_parameters", lambda: ())():
        if ailment := ailment_of(parameter.detach()):
            yield f"{name} {ailment}"


def _pretrained(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    _check_files(folder, WEIGHTS)
    with _quietly():
        model, told = _translated(
            folder,
            lambda: kind.from_pretrained(folder, dtype=dtype, local_files_only=True, output_loading_info=True),
        )
    _complete(folder, told, tied=EMBEDDINGS)
    return model


def _check_files(folder: Path, stem: str) -> None:
    """Every file named and whole, the config readable. Raises CheckpointError."""
    config = folder / "config.json"
    try:
        if not isinstance(json.loads(config.read_bytes()), dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(config, f"is not there or no config ({error})", FETCH) from error
    for path in weights_in(folder, stem):
        read_header(path)


def _complete(folder: Path, told: Mapping[str, Collection[Any]], tied: tuple[str, ...] = ()) -> None:
    """Libraries fill what is missing with random numbers and say so."""
    missing = sorted(str(name) for name in told["missing_keys"])
    if set(missing) < set(tied):  # one name of two for one tensor
        missing = []
    unlike = sorted(str(entry[0] if isinstance(entry, tuple) else entry) for entry in told["mismatched_keys"])
    if missing or unlike:
        found = (
            f"{len(missing)} tensors are missing: {listed(missing)}" if missing else f"{listed(unlike)} differ in shape"
        )
        raise CheckpointError(folder, found, FETCH)


def _converted(
    path: Path,
    rename: Callable[[Mapping[str, Tensor]], dict[str, Tensor]],
    describe: Callable[[Mapping[str, Tensor]], dict[str, object]],
    kind: Any,
    config: Any,
    dtype: torch.dtype,
) -> Any:
    """A transformers model from one of Wan's files."""
    theirs = read_torch_file(path)

    def both() -> tuple[dict[str, Tensor], dict[str, object]]:
        ours = rename(theirs)
        return ours, describe(ours)

    ours, sizes = _named(path, both)
    with _quietly():
        model, told = _translated(
            path,
            lambda: kind.from_pretrained(
                None, config=config(**sizes), state_dict=ours, dtype=dtype, output_loading_info=True
            ),
        )
    _complete(path, told, tied=EMBEDDINGS)
    return model


def _named(path: Path, convert: Callable[[], tuple[dict[str, Tensor], dict[str, object]]]) -> Any:
    try:
        return convert()
    except KeyError as error:
        raise CheckpointError(path, f"is not what its name says: {error.args[0]} does not fit", FETCH) from error
    except (ValueError, IndexError) as error:
        raise CheckpointError(path, f"has tensors of other shapes than Wan's ({error})", FETCH) from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Without transformers' progress bar, which would go to the log of a server."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _translated(where: Path, work: Callable[[], Any]) -> Any:
    """Whatever a library says about a file that it cannot use, as one CheckpointError."""
    try:
        return work()
    except CheckpointError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(where, f"cannot be loaded: {first}", FETCH) from error

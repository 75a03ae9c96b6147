"""Text encoder, image encoder and VAE of a bundle, whichever layout it has, as transformers' and diffusers' modules."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kf2v.engines.wan.checkpoint import encoders
from kf2v.engines.wan.checkpoint.files import STEM, weights_in
from kf2v.engines.wan.checkpoint.header import read_header
from kf2v.engines.wan.checkpoint.structure import listed, told
from kf2v.engines.wan.checkpoint.torch_file import read_torch_file
from kf2v.engines.wan.checkpoint.values import ailment_of
from kf2v.engines.wan.fault import CheckpointError, readable

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

#: what a tokenizer's vocabulary is in; without either transformers invents one of a few words
VOCABULARIES = ("tokenizer.json", "spiece.model")

#: any two words that any umT5 tells apart
WORDS = ("cat", "bridge")

#: channels of Wan2.1's VAE, which both families have
LATENT_CHANNELS = 16

FETCH = "fetch it again: kf2v models pull"
OTHER = "use the encoders, the tokenizer and the VAE of the same model"


def tokenizer(bundle: Bundle) -> Any:
    """umT5's. Raises CheckpointError, also if it cannot tell words apart."""
    from transformers import AutoTokenizer

    folder = _tokenizer_folder(bundle)
    _check_tokenizer(folder, _vocabulary(bundle))
    loaded = _translated(folder, lambda: AutoTokenizer.from_pretrained(folder, local_files_only=True))
    _check_tokens(folder, len(loaded), _vocabulary(bundle))
    ids = [_translated(folder, lambda word=word: loaded(word).input_ids) for word in WORDS]
    known = [[token for token in each if token not in loaded.all_special_ids] for each in ids]
    if not all(known) or known[0] == known[1]:
        raise CheckpointError(folder, f"knows no difference between {WORDS[0]} and {WORDS[1]}", FETCH)
    return loaded


def text_encoder(bundle: Bundle, dtype: torch.dtype) -> UMT5EncoderModel:
    """umT5, ready to use on the CPU. Raises CheckpointError, also if it reads other embeddings than were loaded,
    or the tokenizer has words that it has no embedding for.

    Early 5.x versions of transformers left them at zero (transformers #43880, #43992).
    """
    from transformers import UMT5Config, UMT5EncoderModel

    if bundle.layout == "diffusers":
        folder = bundle.base / "text_encoder"
        model = _pretrained(UMT5EncoderModel, bundle, folder, dtype)
    else:
        folder = bundle.base / TEXT_FILE
        model = _converted(folder, encoders.text_tensors, encoders.text_config, UMT5EncoderModel, UMT5Config, dtype)
    shared, used = model.shared.weight, model.encoder.embed_tokens.weight
    if used is not shared:
        raise CheckpointError(folder, "was loaded with an embedding apart from its own", "use transformers>=5.2")
    if ailment := ailment_of(used.detach()):
        raise CheckpointError(folder, f"its token embedding {ailment}", FETCH)
    if model.config.d_model != bundle.shape.text_dim:
        raise CheckpointError(folder, _unlike("d_model", model.config.d_model, bundle.shape.text_dim), OTHER)
    if (vocabulary := _tokenizer_folder(bundle) / VOCABULARIES[0]).is_file():
        _check_tokens(vocabulary, _tokens_of(vocabulary), int(used.shape[0]))
    return _sound(model, folder).eval()


def image_encoder(bundle: Bundle, dtype: torch.dtype) -> CLIPVisionModel:
    """CLIP's visual half, ready to use on the CPU. Raises CheckpointError."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    if bundle.layout == "diffusers":
        path = bundle.base / "image_encoder"
        model = _pretrained(CLIPVisionModel, bundle, path, dtype)
    else:
        path = bundle.base / IMAGE_FILE
        model = _converted(
            path, encoders.image_tensors, encoders.image_config, CLIPVisionModel, CLIPVisionConfig, dtype
        )
    return _sound(model, path).eval()


def vae(bundle: Bundle, dtype: torch.dtype) -> AutoencoderKLWan:
    """The VAE, ready to use on the CPU. Raises CheckpointError."""
    from diffusers import AutoencoderKLWan

    if bundle.layout == "diffusers":
        folder = bundle.base / "vae"
        _check_files(bundle, folder, STEM)
        model, said = _translated(
            folder,
            lambda: AutoencoderKLWan.from_pretrained(
                folder, torch_dtype=dtype, local_files_only=True, output_loading_info=True
            ),
        )
        _complete(folder, said)
        return _sound(model, folder).eval()
    path = bundle.base / VAE_FILE
    theirs = read_torch_file(path)
    ours, config = _named(path, lambda: (encoders.vae_tensors(theirs), encoders.vae_config(theirs)))
    model = _translated(path, lambda: AutoencoderKLWan(**config))
    said = _translated(path, lambda: model.load_state_dict(ours, strict=False))
    _complete(path, {"missing_keys": [*said.missing_keys, *said.unexpected_keys], "mismatched_keys": ()})
    return _sound(model.to(dtype), path).eval()


def present(bundle: Bundle) -> None:
    """Whether the files of encoders and VAE are there, whole, and go with the transformer; needs no torch.

    Wan's own .pth files are not opened: what is in them shows when they are loaded. Raises CheckpointError.
    """
    for path in _needed(bundle):
        with readable(path):
            _check_presence(bundle, path)


def _check_presence(bundle: Bundle, path: Path) -> None:
    if path.suffix == ".pth":
        if not path.is_file():
            raise CheckpointError(path, "is not there", FETCH)
    elif not path.is_dir() or not any(path.iterdir()):
        raise CheckpointError(path, "is not there" if not path.exists() else "is empty", FETCH)
    elif path == _tokenizer_folder(bundle):
        _check_tokenizer(path, _vocabulary(bundle))
    else:
        _check_files(bundle, path, STEM if path.name == "vae" else WEIGHTS)


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
            load()
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


def _sound(model: Any, where: Path) -> Any:
    """``model``, if its values are what they can be. Raises CheckpointError."""
    faults = [
        f"{name} {ailment}"
        for name, parameter in model.named_parameters()
        if (ailment := ailment_of(parameter.detach()))
    ]
    if faults:
        raise CheckpointError(where, told(faults), FETCH)
    return model


def _tokenizer_folder(bundle: Bundle) -> Path:
    return bundle.base / ("tokenizer" if bundle.layout == "diffusers" else TOKENIZER_FOLDER)


def _vocabulary(bundle: Bundle) -> int | None:
    """How many tokens the text encoder has embeddings for; None where only its weights say so."""
    if bundle.layout != "diffusers":
        return None
    count = _config(bundle.base / "text_encoder").get("vocab_size")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise CheckpointError(bundle.base / "text_encoder/config.json", f"vocab_size is {count!r}, not a count", FETCH)
    return count


def _check_tokenizer(folder: Path, vocabulary: int | None) -> None:
    """A vocabulary is there and no larger than the encoder's. Raises CheckpointError."""
    if not folder.is_dir():
        raise CheckpointError(folder, "is not there", FETCH)
    files = [folder / name for name in VOCABULARIES if (folder / name).is_file()]
    if not files:
        raise CheckpointError(folder, f"has neither {' nor '.join(VOCABULARIES)}", FETCH)
    if not files[0].stat().st_size:
        raise CheckpointError(files[0], "is empty", FETCH)
    if files[0].name == VOCABULARIES[0]:
        _check_tokens(files[0], _tokens_of(files[0]), vocabulary)


def _tokens_of(path: Path) -> int:
    """How many tokens a tokenizer.json has. Raises CheckpointError."""
    try:
        read = json.loads(path.read_bytes())
        added = [int(token["id"]) + 1 for token in read.get("added_tokens") or ()]
        return max(len(read["model"]["vocab"]), *added, 0)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(path, f"is no tokenizer ({error})", FETCH) from error


def _check_tokens(where: Path, tokens: int, vocabulary: int | None) -> None:
    if vocabulary is not None and tokens > vocabulary:
        raise CheckpointError(where, f"has {tokens} tokens, and the text encoder {vocabulary}", OTHER)


def _unlike(field: str, found: object, wanted: object) -> str:
    return f"{field} is {found!r}, and this transformer needs {wanted}"


def _check_fit(bundle: Bundle, folder: Path, config: Mapping[str, object]) -> None:
    """Whether what this component makes is what the transformer reads. Raises CheckpointError."""
    field, found, wanted = {
        "text_encoder": ("d_model", config.get("d_model"), bundle.shape.text_dim),
        "image_encoder": ("hidden_size", config.get("hidden_size"), bundle.shape.image_dim),
        "vae": ("z_dim", config.get("z_dim", LATENT_CHANNELS), LATENT_CHANNELS),  # the class's own default
    }[folder.name]
    if found != wanted:
        raise CheckpointError(folder / "config.json", _unlike(field, found, wanted), OTHER)


def _pretrained(kind: Any, bundle: Bundle, folder: Path, dtype: torch.dtype) -> Any:
    _check_files(bundle, folder, WEIGHTS)
    with _quietly():
        model, said = _translated(
            folder,
            lambda: kind.from_pretrained(folder, dtype=dtype, local_files_only=True, output_loading_info=True),
        )
    _complete(folder, said, tied=EMBEDDINGS)
    return model


def _config(folder: Path) -> dict[str, object]:
    """Raises CheckpointError."""
    path = folder / "config.json"
    try:
        read = json.loads(path.read_bytes())
        if not isinstance(read, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(path, f"is not there or no config ({error})", FETCH) from error
    return cast("dict[str, object]", read)


def _check_files(bundle: Bundle, folder: Path, stem: str) -> None:
    """Every file named and whole, the config readable and right for the transformer. Raises CheckpointError."""
    _check_fit(bundle, folder, _config(folder))
    with readable(folder):
        paths = weights_in(folder, stem)
    for path in paths:
        read_header(path)


def _complete(folder: Path, said: Mapping[str, Collection[Any]], tied: tuple[str, ...] = ()) -> None:
    """Libraries fill what is missing with random numbers and say so."""
    missing = sorted(str(name) for name in said["missing_keys"])
    if set(missing) < set(tied):  # one name of two for one tensor
        missing = []
    unlike = sorted(str(entry[0] if isinstance(entry, tuple) else entry) for entry in said["mismatched_keys"])
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
        model, said = _translated(
            path,
            lambda: kind.from_pretrained(
                None, config=config(**sizes), state_dict=ours, dtype=dtype, output_loading_info=True
            ),
        )
    _complete(path, said, tied=EMBEDDINGS)
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

"""PyTorch's own files, from which nothing but tensors is taken: what else is in them is not run."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kf2v.engines.wan.checkpoint.header import DAMAGED, IMPOSTORS
from kf2v.engines.wan.fault import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor


def read_torch_file(path: Path) -> Mapping[str, Tensor]:
    """The tensors of ``path``, mapped rather than read where its format allows.

    Raises CheckpointError: not there, damaged, or with anything in it that only unpickling could make.
    """
    import torch

    try:
        with path.open("rb") as file:
            start = file.read(32)
        for beginning, (what, remedy) in IMPOSTORS.items():
            if not beginning.startswith(b"PK") and start.lower().startswith(beginning.lower()):
                raise CheckpointError(path, what, remedy)
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError(path, "is not there", "fetch it: kf2v models pull") from error
    except pickle.UnpicklingError as error:
        reason = _first_line(error).split(". ")[0]
        found = f"holds more than tensors, or is damaged, and was not opened ({reason})"
        raise CheckpointError(path, found, "use the safetensors of these weights") from error
    except Exception as error:  # a damaged pickle fails in whatever way its bytes happen to mean
        raise CheckpointError(path, f"cannot be read: {_first_line(error)}", DAMAGED) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(found, dict) and set(found) == {wrapper}:
            found = found[wrapper]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()) or not found:
        raise CheckpointError(path, "holds something other than named tensors", "name the weights of this model")
    return cast("dict[str, Tensor]", found)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

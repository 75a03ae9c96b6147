"""Everything of a model, read once and looked at."""

from __future__ import annotations

from collections.abc import Iterator

from kf2v.engines.wan.checkpoint.bundle import Bundle
from kf2v.engines.wan.checkpoint.components import ailing_components
from kf2v.engines.wan.checkpoint.source import TensorSource
from kf2v.engines.wan.checkpoint.structure import told
from kf2v.engines.wan.fault import CheckpointError


def verify(bundle: Bundle) -> None:
    """Read every tensor of ``bundle``, encoders and VAE included, once. Raises one CheckpointError naming all faults.

    Minutes for a real model: loading checks what it reads anyway, so this is for ``kf2v models check``.
    """
    faults = [fault for source in bundle.experts for fault in _ailing(source)]
    faults += ailing_components(bundle)
    if faults:
        raise CheckpointError(bundle.base, told(faults), "the files are damaged: fetch them again")


def _ailing(source: TensorSource) -> Iterator[str]:
    for name in source.names():
        try:
            source.read(name)
        except CheckpointError as error:
            yield f"{error.where}: {error.found}"

"""Checkpoints: what lies on a disk, in anybody's layout, becomes tensors under diffusers' names.

Importing this needs no torch, and neither does ``open_bundle``: only reading tensors does.
"""

from kf2v.engines.wan.checkpoint.bundle import Bundle, open_bundle
from kf2v.engines.wan.checkpoint.source import Scaled, Stored, TensorSource
from kf2v.engines.wan.checkpoint.verify import verify
from kf2v.engines.wan.fault import CheckpointError

__all__ = ["Bundle", "CheckpointError", "Scaled", "Stored", "TensorSource", "open_bundle", "verify"]

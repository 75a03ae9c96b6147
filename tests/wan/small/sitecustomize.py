"""Found on PYTHONPATH, this makes every film of a server a very small one, so that a CPU has it in seconds."""

from kf2v.catalog.models import AREAS

AREAS.update({"480P": 96 * 64, "720P": 112 * 64})

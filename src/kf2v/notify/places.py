"""Places that many share, and of which none can take the last: whoever holds as many as are free gets no more.

Whoever is alone may have half of them, nine who want as many as they can get have a tenth each, and as much is always
free for whoever comes next: dynamic thresholds, as switches share their memory between queues (A. K. Choudhury and
E. L. Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches", 1998).
"""

from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

H = TypeVar("H", bound=Hashable)


class Places(Generic[H]):
    """``places`` of them, held under the names of holders."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._held = Counter[H]()

    def open_to(self, holder: H) -> bool:
        """Whether ``holder`` may take one more."""
        return self._held[holder] < self._free

    def take(self, holder: H) -> None:
        self._held[holder] += 1
        self._free -= 1

    def leave(self, holder: H) -> None:
        """Give one back."""
        self._held[holder] -= 1
        if not self._held[holder]:
            del self._held[holder]
        self._free += 1

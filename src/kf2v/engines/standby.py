"""An engine with another behind it, for the scenes that the first one has nothing to make of.

Failures are not hidden: only EngineUnavailable calls the other in, never work that went wrong.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from kf2v.engines import Engine, EngineUnavailable, Scene, Watch

if TYPE_CHECKING:
    from kf2v.video import Clip

log = structlog.get_logger(__name__)


class Standby:
    """``engine``, and ``other`` wherever that says that it cannot work on this machine."""

    def __init__(self, engine: Engine, other: Callable[[], Engine]) -> None:
        """``other`` is called when it is first needed."""
        self.name = engine.name
        self._engine = engine
        self._make = other
        self._other: Engine | None = None

    def generate(self, scene: Scene, watch: Watch) -> "Clip":
        """Raises EngineUnavailable if neither can."""
        try:
            return self._engine.generate(scene, watch)
        except EngineUnavailable as error:
            self._other = self._other or self._make()
            log.warning(
                "engine cannot make this, another does",
                engine=self.name,
                model=scene.model,
                instead=self._other.name,
                reason=error.reason,
                fix=error.fix,
            )
            watch.note(f"The engine {self._other.name} stood in for {self.name}: {error.reason}")
            return self._other.generate(scene, watch)

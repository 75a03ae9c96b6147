"""An engine that cannot work on this machine, in the place of one that could: it says so to every scene."""

from typing import NoReturn

from kf2v.engines import EngineUnavailable, Scene, Watch


class Absent:
    """The engine called ``name``, which ``error`` keeps from working."""

    def __init__(self, name: str, error: EngineUnavailable) -> None:
        self.name = name
        self._error = error

    def generate(self, scene: Scene, watch: Watch) -> NoReturn:
        """Raises EngineUnavailable."""
        del scene, watch
        raise EngineUnavailable(self._error.reason, fix=self._error.fix)

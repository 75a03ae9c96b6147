"""Which engine makes what: an order of engines for each model, past those that are out of order just now.

Each engine has a circuit breaker for each model, because an engine may lack one and have the others. It is closed as
long as things go well. Several failures in a row open it, and new tasks go past the engine. Some time later it lets one
task through, half open: if that is made, it closes; if not, it opens for as long again; and if nothing is heard of it,
because it was canceled or failed for a reason of its own, another one gets to try.

Where all of a model's engines are out of order the last one is used: better slow, or failed in the end, than refused.
What waits already for an engine that is out of order is tried there first, and goes on to the next one from there.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import structlog
from pybreaker import STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN, CircuitBreaker, CircuitBreakerError

from kf2v.clock import Clock

#: stands for every model that is not named
OTHERS = "*"
#: seconds; when a breaker lets a task through is decided here, by a clock that is handed in
NEVER_BY_ITSELF = 10**9
#: the worse, the later
STATES = (STATE_CLOSED, STATE_HALF_OPEN, STATE_OPEN)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Gate:
    """The way to one engine, for one model."""

    breaker: CircuitBreaker
    #: when it opened, or let a task through last; milliseconds
    since: int = 0

    @property
    def state(self) -> str:
        """One of ``STATES``."""
        return self.breaker.current_state


class Routing:
    """The routes of one deployment. Breakers are closed when it starts."""

    def __init__(
        self, routes: Mapping[str, tuple[str, ...]], *, clock: Clock, failures: int = 3, cooldown_ms: int = 60_000
    ) -> None:
        """``routes`` has at least one engine for each model it names, and for ``OTHERS``.

        ``failures`` in a row open a breaker; after ``cooldown_ms`` it lets a task through.
        """
        self._routes = dict(routes)
        self._clock = clock
        self._failures = failures
        self._cooldown = cooldown_ms
        self._gates: dict[tuple[str, str], _Gate] = {}

    def route(self, model: str) -> tuple[str, tuple[str, ...]]:
        """The engine that shall make the next task of ``model``, and those that shall try after it, in order."""
        engines = self._routes.get(model) or self._routes[OTHERS]
        for place, engine in enumerate(engines[:-1]):
            if self._passes(engine, model):
                return engine, engines[place + 1 :]
        return engines[-1], ()

    def worked(self, engine: str, model: str) -> None:
        """``engine`` made a video."""
        gate = self._gate(engine, model)
        if gate.state != STATE_CLOSED:
            log.info("engine is back", engine=engine, model=model)
        gate.breaker.close()

    def failed(self, engine: str, model: str) -> None:
        """``engine`` was out of order."""
        gate = self._gate(engine, model)
        before = gate.state
        with contextlib.suppress(_OutOfOrder, CircuitBreakerError):
            gate.breaker.call(_fail)
        if gate.state == STATE_OPEN != before:
            gate.since = self._clock.now()
            log.warning("engine is left out for a while", engine=engine, model=model, seconds=self._cooldown / 1000)

    def state(self) -> dict[str, str]:
        """Each engine, and the worst of its breakers: ``closed``, ``half-open`` or ``open``."""
        engines = dict.fromkeys(engine for route in self._routes.values() for engine in route)
        found = {name: [gate.state for (engine, _), gate in self._gates.items() if engine == name] for name in engines}
        return {name: max(states, key=STATES.index, default=STATE_CLOSED) for name, states in found.items()}

    def _passes(self, engine: str, model: str) -> bool:
        """Whether ``engine`` may be asked, this once at least."""
        gate, now = self._gate(engine, model), self._clock.now()
        if gate.state == STATE_CLOSED:
            return True
        if now < gate.since + self._cooldown:
            return False
        gate.breaker.half_open()
        gate.since = now
        return True

    def _gate(self, engine: str, model: str) -> _Gate:
        gate = self._gates.get((engine, model))
        if gate is None:
            breaker = CircuitBreaker(
                fail_max=self._failures, reset_timeout=NEVER_BY_ITSELF, throw_new_error_on_trip=False
            )
            gate = self._gates[engine, model] = _Gate(breaker)
        return gate


class _OutOfOrder(Exception):
    """What a breaker counts."""


def _fail() -> NoReturn:
    raise _OutOfOrder

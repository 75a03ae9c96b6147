"""What operators ask: /healthz, /readyz, /metrics and the OpenAPI document.

No key is needed, and nothing secret is told.
"""

from importlib.resources import files

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from kf2v.errors import Unavailable
from kf2v.notify.courier import Result
from kf2v.server.exchange import Answer, Exchange, Reply, reply
from kf2v.server.vitals import Vitals
from kf2v.store import Store
from kf2v.tasks import State


class Metrics:
    """Figures in Prometheus' text format, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "kf2v_http_seconds",
            "Seconds from request to answer.",
            ("route", "status"),
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
        )
        self._tasks = Gauge("kf2v_tasks", "Tasks by state.", ("state",), registry=self.registry)
        deliveries = Counter(
            "kf2v_deliveries", "Events sent, or not any more, by result.", ("result",), registry=self.registry
        )
        self._deliveries = {result: deliveries.labels(result.value) for result in Result}
        self._undelivered = Gauge("kf2v_deliveries_waiting", "Events to be delivered yet.", registry=self.registry)
        self._children: dict[tuple[str, int], Histogram] = {}

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        child = self._children.get((route, status))
        if child is None:
            child = self._children[route, status] = self._seconds.labels(route, str(status))
        child.observe(seconds)

    def count_delivery(self, result: Result) -> None:
        self._deliveries[result].inc()

    async def render(self, store: Store) -> bytes:
        self._undelivered.set(await store.undelivered())
        counts = await store.counts()
        for state in State:
            self._tasks.labels(state.value).set(counts.get(state, 0))
        return generate_latest(self.registry)


class Operations:
    """The operators' routes."""

    def __init__(self, *, vitals: Vitals, metrics: Metrics, store: Store) -> None:
        self._vitals = vitals
        self._metrics = metrics
        self._store = store

    async def healthz(self, exchange: Exchange) -> Reply:
        """Whether the process answers at all."""
        return reply(exchange, {"status": "ok"})

    async def readyz(self, exchange: Exchange) -> Reply:
        """Whether it is worth sending work here. Raises Unavailable, naming what ails."""
        ailments = await self._vitals.ailments()
        if ailments:
            told = "; ".join(f"{part} {ailment}" for part, ailment in sorted(ailments.items()))
            raise Unavailable(f"Not ready: {told}.")
        return reply(exchange, {"status": "ready"})

    async def metrics(self, exchange: Exchange) -> Reply:
        del exchange
        return Answer(await self._metrics.render(self._store), content_type=CONTENT_TYPE_LATEST.encode())

    async def openapi(self, exchange: Exchange) -> Reply:
        del exchange
        return Answer(files("kf2v.server").joinpath("openapi.json").read_bytes())

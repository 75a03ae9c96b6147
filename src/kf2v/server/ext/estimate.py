"""POST ``/kf2v/v1/estimate``: how large a video will be, what it will cost, and how long it will take."""

from decimal import Decimal
from typing import TYPE_CHECKING

from kf2v.admission.keys import Caller, Scope
from kf2v.catalog.models import MODELS, SECONDS
from kf2v.catalog.prices import CURRENCIES, Prices
from kf2v.metering.cost import money
from kf2v.metering.report import price_members
from kf2v.server.exchange import Exchange, Reply, reply
from kf2v.server.ext.trial import Trial
from kf2v.server.forecast import Forecast
from kf2v.server.reception import Reception
from kf2v.server.routes import EXT
from kf2v.server.routing import Route
from kf2v.server.v1.create import BODY_LIMIT
from kf2v.tasks import Task
from kf2v.wire.v1 import create
from kf2v.wire.v1.fields import missing

if TYPE_CHECKING:
    from kf2v.video import Size


class Estimate:
    """Reads a create body, of which most may be absent, and creates nothing."""

    def __init__(self, *, reception: Reception, trial: Trial, prices: Prices, forecast: Forecast) -> None:
        self._reception = reception
        self._trial = trial
        self._prices = prices
        self._forecast = forecast

    def routes(self) -> list[Route]:
        return [Route("POST", f"{EXT}/estimate", self)]

    async def __call__(self, exchange: Exchange) -> Reply:
        caller = await self._reception.caller(exchange, Scope.CREATE)
        examined = create.examine(await exchange.body(BODY_LIMIT), whole=False)
        task = await self._trial.admitted(examined, caller, exchange)
        size = await self._size_of_video(examined, task, caller)
        job, told = task.job, dict[str, object]()
        told |= {"model": job.model, "resolution": job.resolution, "width": size.width, "height": size.height}
        told |= {"seconds": SECONDS, "seed_rule": "random" if examined.submission.seed is None else "given"}
        if examined.submission.seed is not None:
            told["seed"] = job.seed
        told |= {"engine": job.engine, **self._price(task)}
        run = await self._forecast.run_seconds(job.engine, job.resolution)
        wait = await self._forecast.wait_seconds_of_new(caller.account, job.engine, job.resolution)
        expected = {"run_seconds": run, "wait_seconds": wait}
        return reply(exchange, told | {name: round(value, 1) for name, value in expected.items() if value is not None})

    async def _size_of_video(self, examined: create.Examined, task: Task, caller: Caller) -> "Size":
        """From the first frame, or from what is said about it."""
        submission, width, height = examined.submission, examined.width, examined.height
        if submission.first_frame:
            size = await self._trial.measured("first", submission.first_frame, caller, MODELS[task.job.model])
            width, height = size.width, size.height
        if width is None or height is None:
            raise missing("input.first_frame_url", "the URL of an image, or input.width and input.height its size")
        return await self._trial.size_of_video(width, height, task.job.area)

    def _price(self, task: Task) -> dict[str, object]:
        """What the whole video costs, and where that is from; nothing where nobody knows."""
        price = self._prices.find(task.region, task.job.model, task.job.resolution)
        if price is None:
            return {}
        costs = {currency: price.per_second(currency) for currency in CURRENCIES}
        whole = {f"cost_{c.lower()}": money(Decimal(SECONDS) * each) for c, each in costs.items() if each is not None}
        return {**whole, "price": price_members(price)}
